//! One test's own folder, and the binary started in it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::unistd::geteuid;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Finished, Process, until};

/// Says why a test does not apply here, and ends it.
macro_rules! skip {
    ($($reason:tt)*) => {{
        let thread = std::thread::current();
        println!("SKIP {}: {}", thread.name().unwrap_or("test"), format_args!($($reason)*));
        return;
    }};
}
pub(crate) use skip;

/// Ends a test that needs every capability of the perf engine where we have none.
macro_rules! needs_root {
    () => {
        if !$crate::case::is_root() {
            $crate::case::skip!("not root");
        }
    };
}
pub(crate) use needs_root;

/// `nobody`, on every distribution.
pub(crate) const NOBODY: u32 = 65_534;

/// Why an ordinary user has no perf events on this host; `None` when he has.
pub(crate) fn refuses_perf() -> Option<String> {
    let path = "/proc/sys/kernel/perf_event_paranoid";
    let level = fs::read_to_string(path).unwrap_or_default();
    let allows = level.trim().parse::<i32>().is_ok_and(|level| level <= 2);
    (!allows).then(|| format!("kernel.perf_event_paranoid is {}", level.trim()))
}

pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// A fresh folder, removed at the end of the test.
pub(crate) struct Case {
    folder: TempDir,
}

impl Case {
    pub(crate) fn new() -> Case {
        Case { folder: TempDir::new().unwrap() }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// The names of the files in the folder, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The binary, to start in this folder with nothing on standard input.
    pub(crate) fn whyslow(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "WHYSLOW_BIN"] {
            command.env_remove(variable);
        }
        command
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        Process::start(self.whyslow(arguments))
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        self.start(arguments).finish()
    }

    /// Waits until `recorder` has written more than `bytes` of `name`.
    pub(crate) fn until_recorded(&self, recorder: &mut Process, name: &str, bytes: u64) -> u64 {
        let path = self.path(name);
        until("the recording", || {
            recorder.expect_running();
            fs::metadata(&path).ok().map(|file| file.len()).filter(|length| *length > bytes)
        })
    }

    /// Waits until `writer` has written a whole line into `name`, and gives it.
    pub(crate) fn until_line(&self, writer: &mut Process, name: &str) -> String {
        let path = self.path(name);
        until(name, || {
            writer.expect_running();
            let text = fs::read_to_string(&path).ok()?;
            text.split_once('\n').map(|(line, _)| line.to_owned())
        })
    }
}

fn binary() -> PathBuf {
    if let Some(path) = env::var_os("WHYSLOW_BIN") {
        return path.into();
    }
    // This test is target/<profile>/deps/integration-….
    let test = env::current_exe().unwrap();
    let target = test.ancestors().nth(3).expect("cargo puts tests under target");
    let built = ["release", "debug"].map(|profile| target.join(profile).join("whyslow"));
    let written = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    built
        .into_iter()
        .filter(|path| path.is_file())
        .max_by_key(|path| written(path))
        .expect("build the binary first: cargo build --release")
}
