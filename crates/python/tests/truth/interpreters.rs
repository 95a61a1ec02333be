//! The interpreters of this machine: on the path, under pyenv, and in another
//! root, which `WHYSLOW_PYTHON_ROOT` names (made, for example, with `debootstrap
//! --variant=minbase --include=python3.14 sid DIR`). Free-threaded ones are found by
//! their names, `python3.13t` and the like; a build of the sources with `--disable-gil`
//! makes one.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Minor versions that are supported.
pub(crate) const MINORS: std::ops::RangeInclusive<u8> = 8..=15;

/// The first of which there are free-threaded builds.
const FREE_THREADED: u8 = 13;

/// One interpreter.
#[derive(Clone, Debug)]
pub(crate) struct Interpreter {
    pub(crate) minor: u8,
    /// Its threads need no GIL.
    pub(crate) free_threaded: bool,
    /// Itself, as it is named in its root.
    pub(crate) program: PathBuf,
    /// Where it thinks `/` is, when that is not so.
    pub(crate) root: Option<PathBuf>,
}

impl Interpreter {
    /// A command that runs it.
    pub(crate) fn command(&self) -> Command {
        match &self.root {
            None => Command::new(&self.program),
            Some(root) => {
                let mut command = Command::new("chroot");
                command.arg(root).arg(&self.program);
                command
            }
        }
    }

    /// What a program prints.
    pub(crate) fn ask(&self, program: &str) -> Option<String> {
        let output = self.command().args(["-c", program]).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }
}

/// Every interpreter of the minor versions that are supported; there is one at least.
pub(crate) fn all() -> Vec<Interpreter> {
    let mut all: Vec<Interpreter> = MINORS.flat_map(of).collect();
    all.extend(free_threaded());
    assert!(!all.is_empty(), "no python3 on the path");
    all
}

/// Those of one minor version; says so when there is none.
pub(crate) fn of(minor: u8) -> Vec<Interpreter> {
    let name = format!("python3.{minor}");
    let there = env::var_os("WHYSLOW_PYTHON_ROOT").map(PathBuf::from).map(|root| Interpreter {
        minor,
        free_threaded: false,
        program: Path::new("/usr/bin").join(&name),
        root: Some(root),
    });
    let mut found = here(3, minor);
    found.extend(there.filter(works));
    if found.is_empty() {
        println!("NOTE {name}: not on this machine; the memory one left is read instead");
    }
    found
}

/// Those that need no GIL; says so when there is none.
pub(crate) fn free_threaded() -> Vec<Interpreter> {
    let minors = FREE_THREADED..=*MINORS.end();
    let found: Vec<_> =
        minors.flat_map(|minor| named(minor, &format!("python3.{minor}t"))).collect();
    if found.is_empty() {
        println!(
            "NOTE python3.13t: no free-threaded build is on the path, so the memory one left is \
             read instead; build the sources with --disable-gil to have one"
        );
    }
    found
}

/// Those of `major`.`minor` on the path and under pyenv.
pub(crate) fn here(major: u8, minor: u8) -> Vec<Interpreter> {
    named(minor, &format!("python{major}.{minor}"))
}

fn named(minor: u8, name: &str) -> Vec<Interpreter> {
    let programs: BTreeSet<_> = on_path(name).into_iter().chain(under_pyenv(name)).collect();
    let free_threaded = name.ends_with('t');
    let interpreter = |program| Interpreter { minor, free_threaded, program, root: None };
    programs.into_iter().map(interpreter).filter(works).collect()
}

fn works(interpreter: &Interpreter) -> bool {
    // 2.7 has no such flags.
    const KIND: &str = "import sys; kind = 't' * ('t' in getattr(sys, 'abiflags', '')); \
                        sys.stdout.write('%d%s' % (sys.version_info[1], kind))";
    let kind = if interpreter.free_threaded { "t" } else { "" };
    interpreter.ask(KIND) == Some(format!("{}{kind}", interpreter.minor))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // What pyenv puts there is a script.
    let is_shim = |folder: &PathBuf| folder.file_name() == Some(OsStr::new("shims"));
    let mut folders = env::split_paths(&path).filter(|folder| !is_shim(folder));
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.exists()));
    found.and_then(|path| fs::canonicalize(path).ok())
}

fn under_pyenv(name: &str) -> Option<PathBuf> {
    let root = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| env::home_dir().map(|home| home.join(".pyenv")))?;
    let versions = fs::read_dir(root.join("versions")).ok()?;
    let mut programs = versions.flatten().map(|version| version.path().join("bin").join(name));
    programs.find(|program| program.exists())
}
