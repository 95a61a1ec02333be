//! Ctrl-C, once and twice, on attach and on launch; a killed recorder.

use nix::sys::signal::Signal;

use crate::{
    case::{Case, needs_root},
    process::{Process, signal_to, until},
    report::{share, sound, time},
};

const SPIN: &str = "while :; do :; done";

#[test]
fn an_interrupt_ends_an_attached_recording_well() {
    needs_root!();
    let case = Case::new();
    let target = Process::shell(SPIN);
    let mut recorder =
        case.start(&["record", "-p", &target.pid(), "-o", "r.json", "-o", "r.whyslow"]);
    case.until_recorded(&mut recorder, "r.whyslow", 0);
    recorder.signal(Signal::SIGINT);
    recorder.finish().ended_with(0);
    sound(case.json("r.json"));
    case.run(&["report", "r.whyslow"]).ended_with(0);
    // Still there: it was not ours to interrupt.
    target.signal(Signal::SIGKILL);
}

#[test]
fn an_interrupt_on_launch_reaches_the_program() {
    needs_root!();
    let case = Case::new();
    let script = "trap 'exit 3' INT; echo ready > ready; while :; do :; done";
    let mut recorder = case.start(&["record", "-o", "r.json", "--", "sh", "-c", script]);
    case.until_line(&mut recorder, "ready");
    // As a terminal does: to the whole group in the foreground.
    recorder.signal_group(Signal::SIGINT);
    recorder.finish().ended_with(3);
    let report = sound(case.json("r.json"));
    assert_eq!(report["target"]["exit"]["code"], 3);
}

/// A signal ends the wait for a child, who is waited for all the same.
#[test]
fn a_command_that_is_ended_is_told_by_its_child() {
    needs_root!();
    let case = Case::new();
    let spinner = "i=0; while :; do i=$((i+1)); [ $i -eq 100000 ] && echo ready > ready; done";
    let script = format!("({spinner}); exit 1");
    let mut recorder = case.start(&["record", "-o", "r.json", "--", "sh", "-c", &script]);
    case.until_line(&mut recorder, "ready");
    recorder.signal_group(Signal::SIGTERM);
    recorder.finish();
    let report = sound(case.json("r.json"));
    assert_eq!(report["target"]["processes"], 2);
    assert!(2 * time(&report, "child") > report["window"]["duration_ns"].as_u64().unwrap());
    assert!(share(&report, "child") < 0.1, "{}", report["bottleneck"]);
}

#[test]
fn a_second_interrupt_writes_at_once_though_the_program_goes_on() {
    needs_root!();
    let case = Case::new();
    let script = "trap 'echo got it > got' INT; echo $$ > ready; while :; do :; done";
    let mut recorder = case.start(&["record", "-o", "r.json", "--", "sh", "-c", script]);
    let program = case.until_line(&mut recorder, "ready");
    recorder.interrupt(|recorder| recorder.signal_group(Signal::SIGINT));
    case.until_line(&mut recorder, "got");
    recorder.signal(Signal::SIGINT);
    until("the report", || case.path("r.json").is_file().then_some(()));
    // Our pipes are open in the program; without it their end comes.
    signal_to(&program, Signal::SIGKILL);
    recorder.finish();
    sound(case.json("r.json"));
}

#[test]
fn a_killed_recorder_leaves_what_it_had() {
    needs_root!();
    let case = Case::new();
    let target = Process::shell(SPIN);
    let mut recorder = case.start(&["record", "-p", &target.pid(), "-o", "r.whyslow"]);
    let header = case.until_recorded(&mut recorder, "r.whyslow", 0);
    case.until_recorded(&mut recorder, "r.whyslow", header);
    recorder.signal(Signal::SIGKILL);
    recorder.finish();
    let finished = case.run(&["report", "r.whyslow", "--json"]).ended_with(0);
    let report = sound(serde_json::from_slice(&finished.stdout).unwrap());
    assert!(report["quality"]["damage"].is_string(), "{}", report["quality"]);
    assert_eq!(report["ledger"]["threads"].as_array().map(Vec::len), Some(1));
}
