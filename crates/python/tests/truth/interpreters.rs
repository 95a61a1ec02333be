//! The interpreters of this machine: on the path, under pyenv, and in another
//! root, which `WHYSLOW_PYTHON_ROOT` names (made, for example, with `debootstrap
//! --variant=minbase --include=python3.14 sid DIR`).

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Minor versions that are supported.
pub(crate) const MINORS: std::ops::RangeInclusive<u8> = 8..=15;

/// One interpreter.
#[derive(Clone, Debug)]
pub(crate) struct Interpreter {
    pub(crate) minor: u8,
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
    let all: Vec<Interpreter> = MINORS.flat_map(of).collect();
    assert!(!all.is_empty(), "no python3 on the path");
    all
}

/// Those of one minor version; says so when there is none.
pub(crate) fn of(minor: u8) -> Vec<Interpreter> {
    let name = format!("python3.{minor}");
    let there = env::var_os("WHYSLOW_PYTHON_ROOT").map(PathBuf::from).map(|root| Interpreter {
        minor,
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

/// Those of `major`.`minor` on the path and under pyenv.
pub(crate) fn here(major: u8, minor: u8) -> Vec<Interpreter> {
    let name = format!("python{major}.{minor}");
    let programs: BTreeSet<_> = on_path(&name).into_iter().chain(under_pyenv(&name)).collect();
    let interpreter = |program| Interpreter { minor, program, root: None };
    programs.into_iter().map(interpreter).filter(works).collect()
}

fn works(interpreter: &Interpreter) -> bool {
    let answer = interpreter.ask("import sys; sys.stdout.write(str(sys.version_info[1]))");
    answer == Some(interpreter.minor.to_string())
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
