//! What containers are made of: namespaces, another root, a hidden `/proc`, a
//! quota, files that cannot be written. Here, how programs are put into them.

mod clocks;
mod files;
mod host;
mod inside;
mod numbers;
mod quota;

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    case::Case,
    process::{Process, until},
    report::sound,
};

/// The interpreter itself: what is first in the path may be a script that looks for one.
const PYTHON: &str = "/usr/bin/python3";
/// `nobody`, everywhere.
const ORDINARY: &str = "65534";

/// Compiles `fixtures/hosts/NAME.c` into the folder of `case`; false, and the
/// skip is printed, where there is no compiler.
pub(crate) fn compile(case: &Case, name: &str) -> bool {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fixtures/hosts/{name}.c"));
    let mut cc = Command::new("cc");
    // In another root there are no libraries.
    cc.args(["-static", "-O2", "-g", "-Wall", "-Werror", "-o"]).arg(case.path(name)).arg(source);
    match cc.output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(error) => {
            let thread = std::thread::current();
            println!("SKIP {}: cc: {error}", thread.name().unwrap_or("test"));
            false
        }
    }
}

/// A copy of the binary and a folder that an ordinary user can use, too.
fn open_case() -> Case {
    use std::os::unix::fs::PermissionsExt;
    let case = Case::new();
    fs::copy(case.whyslow(&[]).get_program(), case.path("whyslow")).unwrap();
    fs::set_permissions(case.path("."), fs::Permissions::from_mode(0o777)).unwrap();
    case
}

/// `unshare` with these options, in the folder of `case`.
fn unshare(case: &Case, options: &[&str], command: &[&str]) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(options).arg("--").args(command);
    unshare.current_dir(case.path(".")).stdin(std::process::Stdio::null());
    unshare
}

/// The only child of a process, once it is there.
fn child_of(parent: &str) -> String {
    let path = format!("/proc/{parent}/task/{parent}/children");
    until("a child", || {
        let children = fs::read_to_string(&path).ok()?;
        children.split_ascii_whitespace().next().map(str::to_owned)
    })
}

/// Records the process for a while and gives the report.
fn record(case: &Case, engine: &str, pid: &str) -> Value {
    let options = ["record", "-q", "--force", "--no-inherit", "--engine", engine];
    let rest = ["-d", "600ms", "-o", "r.json", "-p", pid];
    case.run(&[&options[..], &rest].concat()).ended_with(0);
    sound(case.json("r.json"))
}

/// The names of the functions that computed.
fn hot(report: &Value) -> Vec<&str> {
    let rows = report["hot"].as_array().unwrap().iter();
    rows.map(|row| row["function"].as_str().unwrap()).collect()
}

/// Starts what cannot end before the test does.
fn start(command: Command) -> Process {
    Process::start(command)
}
