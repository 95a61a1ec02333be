//! The programs in `fixtures/stacks`: the same things to see in four languages.

use std::{
    fs,
    io::ErrorKind,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    case::Case,
    process::{Process, until},
};

#[derive(Clone, Copy, Debug)]
pub(super) enum Language {
    C,
    Cpp,
    Rust,
    Go,
    /// The same, which can call C.
    Cgo,
}

/// Number of the system call `read` (x86-64).
const READ: &str = "0 ";

impl Language {
    /// Compiler with its options, and the extension of the source.
    fn compiler(self) -> (&'static str, &'static [&'static str], &'static str) {
        const OPTIMIZED: &[&str] = &["-O2", "-fomit-frame-pointer", "-pthread"];
        match self {
            Language::C => ("cc", OPTIMIZED, "c"),
            Language::Cpp => ("c++", OPTIMIZED, "cc"),
            Language::Rust => ("rustc", &["-O"], "rs"),
            Language::Go | Language::Cgo => ("go", &["build"], "go"),
        }
    }

    /// Compiles the program as `calls` into the folder of `case`, with debug
    /// information unless it is `bare`; `None`, and the skip is printed, where
    /// there is no compiler.
    pub(super) fn compile(self, case: &Case, bare: bool) -> Option<()> {
        let (compiler, options, extension) = self.compiler();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/stacks");
        let mut command = Command::new(compiler);
        command.args(options).args((!bare && compiler != "go").then_some("-g"));
        command.arg("-o").arg(case.path("calls"));
        command.arg(sources.join(format!("calls.{extension}")));
        command.args(matches!(self, Language::Cgo).then(|| sources.join("cgo.go")));
        command.env("GOCACHE", case.path("cache"));
        compiled(command)
    }
}

/// Compiles `fixtures/stacks/NAME.c` into the folder of `case`; `None`, and the skip is
/// printed, where there is no compiler.
pub(super) fn compile(case: &Case, name: &str) -> Option<()> {
    let (compiler, options, extension) = Language::C.compiler();
    let source = format!("../fixtures/stacks/{name}.{extension}");
    let mut command = Command::new(compiler);
    command.args(options).arg("-g").arg("-o").arg(case.path(name));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(source));
    compiled(command)
}

fn compiled(mut command: Command) -> Option<()> {
    match command.output() {
        Ok(output) => {
            let complaints = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command:?}: {complaints}");
            Some(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let compiler = command.get_program().to_string_lossy();
            let thread = std::thread::current();
            println!("SKIP {}: no {compiler}", thread.name().unwrap_or("test"));
            None
        }
        Err(error) => panic!("{command:?}: {error}"),
    }
}

/// Starts `calls` with an argument.
pub(super) fn start(case: &Case, argument: &str) -> Process {
    let mut command = Command::new("./calls");
    command.arg(argument).current_dir(case.path(".")).stdin(Stdio::piped());
    Process::start(command)
}

/// Starts `calls` and lets it go to its deepest place, where `readers` threads
/// read what nobody writes.
pub(super) fn asleep(case: &Case, readers: usize) -> Process {
    let mut program = start(case, "block");
    let tasks = format!("/proc/{}/task", program.pid());
    until("the program to block", || {
        program.expect_running();
        let calls = fs::read_dir(&tasks).ok()?.flatten();
        let calls = calls.filter_map(|task| fs::read_to_string(task.path().join("syscall")).ok());
        (calls.filter(|call| call.starts_with(READ)).count() == readers).then_some(())
    });
    program
}
