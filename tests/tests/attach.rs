//! `record -p PID`: running programs, and those that cannot be recorded.

use std::{fs, process::Command};

use nix::sys::signal::Signal;

use crate::{
    case::{Case, needs_root, skip},
    process::{Finished, Process, until},
    report::{pids, share, sound, time, verdict},
};

const SPIN: &str = "while :; do :; done";

fn refused(arguments: &[&str]) -> Finished {
    let case = Case::new();
    let finished = case.run(arguments).ended_with(125);
    assert!(case.files().is_empty(), "{:?}", case.files());
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    finished
}

#[test]
fn a_pid_that_does_not_exist_is_named() {
    // Above the largest value the kernel allows for pid_max.
    let finished = refused(&["record", "-p", "4194305", "-d", "1"]);
    assert!(finished.stderr.contains("4194305"), "{}", finished.stderr);
}

#[test]
fn a_zombie_is_named() {
    // The shell becomes `sleep` and never waits for its child.
    let parent = Process::shell("sh -c 'exit 0' & exec sleep 100");
    let children = format!("/proc/{0}/task/{0}/children", parent.pid());
    let zombie = until("a zombie", || {
        let child = fs::read_to_string(&children).ok()?.trim().to_owned();
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        stat.contains(") Z ").then_some(child)
    });
    let finished = refused(&["record", "-p", &zombie, "-d", "1"]);
    assert!(finished.stderr.contains("zombie"), "{}", finished.stderr);
}

#[test]
fn a_kernel_thread_is_named() {
    if fs::read_to_string("/proc/2/comm").is_ok_and(|name| name == "kthreadd\n") {
        let finished = refused(&["record", "-p", "2", "-d", "1"]);
        assert!(finished.stderr.contains("kernel thread"), "{}", finished.stderr);
    } else {
        skip!("no kernel threads in this PID namespace");
    }
}

#[test]
fn our_own_pid_is_refused() {
    let case = Case::new();
    // The shell's PID becomes ours.
    let mut command = Command::new("sh");
    let ours = case.whyslow(&[]);
    command.args(["-c", r#"exec "$0" record -p $$ -d 1"#]).arg(ours.get_program());
    command.current_dir(case.path("."));
    let finished = Process::start(command).finish().ended_with(125);
    assert!(case.files().is_empty(), "{:?}", case.files());
    assert!(!finished.stderr.is_empty());
}

#[test]
fn a_duration_ends_the_recording_and_the_program_goes_on() {
    needs_root!();
    let case = Case::new();
    let target = Process::shell(SPIN);
    case.run(&["record", "-p", &target.pid(), "-d", "300ms", "-o", "r.json"]).ended_with(0);
    assert!(fs::exists(format!("/proc/{}", target.pid())).unwrap());
    let report = sound(case.json("r.json"));
    // It computes, or wants to: other programs may need the CPU too.
    assert!(share(&report, "cpu") + share(&report, "runq") > 0.9, "{}", report["bottleneck"]);
    assert!(share(&report, "cpu") > 0.0);
    assert_eq!(report["target"]["mode"], "attach");
    assert_eq!(report["target"]["pid"].to_string(), target.pid());
    assert!(report["target"]["exit"].is_null());
}

#[test]
fn a_wait_that_spans_the_whole_window_is_counted() {
    needs_root!();
    let case = Case::new();
    let target = Process::shell("exec sleep 100");
    until_command(&target, "sleep");
    case.run(&["record", "-p", &target.pid(), "-d", "300ms", "-o", "r.json"]).ended_with(0);
    let report = sound(case.json("r.json"));
    assert_eq!(verdict(&report), ("io-bound", "sleep"));
    assert!(share(&report, "sleep") > 0.99, "{}", report["bottleneck"]);
    assert_eq!(Some(time(&report, "sleep")), report["window"]["duration_ns"].as_u64());
}

#[test]
fn a_program_that_dies_while_recorded_is_reported() {
    needs_root!();
    let case = Case::new();
    let target = Process::shell(SPIN);
    let mut recorder =
        case.start(&["record", "-p", &target.pid(), "-o", "r.json", "-o", "r.whyslow"]);
    case.until_recorded(&mut recorder, "r.whyslow", 0);
    target.signal(Signal::SIGKILL);
    target.finish();
    recorder.finish().ended_with(0);
    sound(case.json("r.json"));
}

#[test]
fn several_programs_are_one_target() {
    needs_root!();
    let case = Case::new();
    let targets = [Process::shell(SPIN), Process::shell("exec sleep 100")];
    let list = format!("{},{}", targets[0].pid(), targets[1].pid());
    case.run(&["record", "-p", &list, "-d", "200ms", "-o", "r.json"]).ended_with(0);
    let report = sound(case.json("r.json"));
    let mut expected: Vec<u64> = targets.iter().map(|t| t.pid().parse().unwrap()).collect();
    expected.sort_unstable();
    assert_eq!(pids(&report), expected);
}

#[test]
fn a_stopped_program_is_stopped() {
    needs_root!();
    let case = Case::new();
    let target = Process::shell(SPIN);
    target.signal(Signal::SIGSTOP);
    let stat = format!("/proc/{}/stat", target.pid());
    until("the program to stop", || {
        fs::read_to_string(&stat).ok().filter(|stat| stat.contains(") T "))
    });
    case.run(&["record", "-p", &target.pid(), "-d", "200ms", "-o", "r.json"]).ended_with(0);
    let report = sound(case.json("r.json"));
    assert_eq!(Some(time(&report, "stopped")), report["window"]["duration_ns"].as_u64());
}

/// Waits until the shell has become `name`, and sleeps.
fn until_command(target: &Process, name: &str) {
    let stat = format!("/proc/{}/stat", target.pid());
    until(name, || {
        fs::read_to_string(&stat).ok().filter(|stat| stat.contains(&format!("({name}) S ")))
    });
}
