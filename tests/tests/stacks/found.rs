//! A thread that is asleep when the window begins: of that wait nobody has seen the
//! way into the kernel, and of many of those after it somebody has.

use std::{fs, process::Command};

use crate::{
    case::{Case, needs_root},
    process::{Process, until},
};

/// Number of the system call `clock_nanosleep` (x86-64).
const SLEEP: &str = "230 ";
/// One long sleep, and then many at the same place.
const PROGRAM: &str = "import time\nfor n in range(10**6): time.sleep(0.01 if n else 2)";

#[test]
fn a_wait_that_was_found_goes_into_the_kernel_as_those_after_it() {
    needs_root!();
    let case = Case::new();
    let mut command = Command::new("python3");
    command.args(["-c", PROGRAM]);
    let program = Process::start(command);
    let call = format!("/proc/{}/syscall", program.pid());
    until("the program to sleep", || fs::read_to_string(&call).ok()?.strip_prefix(SLEEP).map(drop));
    case.run(&["record", "-q", "-o", "r.folded", "-d", "3s", "-p", &program.pid()]).ended_with(0);
    let folded = case.text("r.folded");
    let sleeps: Vec<&str> = folded
        .lines()
        .filter_map(|line| line.rsplit_once(' ')?.0.strip_suffix(";[sleep]"))
        .collect();
    // Where the recorder was late they may differ in their Python calls.
    assert!(!sleeps.is_empty(), "{folded}");
    assert!(sleeps.iter().all(|way| way.ends_with("_[k]")), "{sleeps:#?}");
}
