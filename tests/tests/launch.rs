//! `record -- CMD`: the program runs as it would without us, and its end is ours.

use std::{fs, io::Write, os::unix::fs::PermissionsExt, process::Stdio};

use crate::{
    case::{Case, needs_root},
    faults::cell::{Cell, ENDS, Mode, Tier},
    process::{Finished, Process},
    report::{sound, time, verdict},
};

const SEGV: i32 = 11;

fn record(case: &Case, script: &str) -> Finished {
    case.run(&["record", "-o", "r.json", "--", "sh", "-c", script])
}

#[test]
fn the_exit_code_of_the_program_is_ours() {
    needs_root!();
    let case = Case::new();
    record(&case, "exit 7").ended_with(7);
    let report = sound(case.json("r.json"));
    assert_eq!(report["target"]["exit"]["code"], 7);
    assert_eq!(report["target"]["mode"], "launch");
}

#[test]
fn a_signal_that_killed_the_program_is_raised_again_and_the_profile_is_whole() {
    needs_root!();
    let case = Case::new();
    let finished = record(&case, "kill -SEGV $$");
    assert_eq!(finished.killed_by(), Some(SEGV), "{finished:?}");
    let report = sound(case.json("r.json"));
    assert_eq!(report["target"]["exit"]["signal"], SEGV);
}

#[test]
fn a_command_that_is_not_there_gives_127() {
    let case = Case::new();
    let finished = case.run(&["record", "--", "./no-such-program"]).ended_with(127);
    assert!(finished.stderr.contains("no-such-program"), "{}", finished.stderr);
    assert!(case.files().is_empty(), "{:?}", case.files());
}

#[test]
fn a_command_that_cannot_be_executed_gives_126() {
    let case = Case::new();
    case.write("plain", "#!/bin/sh\n");
    fs::set_permissions(case.path("plain"), fs::Permissions::from_mode(0o644)).unwrap();
    case.run(&["record", "--", "./plain"]).ended_with(126);
    assert_eq!(case.files(), ["plain"]);
}

#[test]
fn a_wrong_call_gives_125_and_starts_nothing() {
    let case = Case::new();
    case.run(&["record", "-o", "x.unknown", "--", "touch", "started"]).ended_with(125);
    assert!(case.files().is_empty(), "{:?}", case.files());
}

#[test]
fn the_standard_streams_belong_to_the_program() {
    needs_root!();
    let case = Case::new();
    let sent: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    case.write("in", &sent);
    let mut command = case.whyslow(&["record", "-q", "-o", "r.json", "--", "sh", "-c"]);
    command.arg("cat; echo to stderr >&2").stdin(fs::File::open(case.path("in")).unwrap());
    let finished = Process::start(command).finish().ended_with(0);
    assert!(finished.stdout == sent, "standard output differs from standard input");
    assert_eq!(finished.stderr, "to stderr\n");
}

#[test]
fn the_report_goes_to_standard_error() {
    needs_root!();
    let case = Case::new();
    let finished = record(&case, "echo hello").ended_with(0);
    assert_eq!(finished.stdout(), "hello\n");
    let summary = case.json("r.json")["verdict"]["summary"].as_str().unwrap().to_owned();
    let first_word = summary.split(' ').next().unwrap();
    assert!(finished.stderr.contains(first_word), "{summary}: {}", finished.stderr);
}

#[test]
fn the_environment_and_the_folder_are_the_program_s_own() {
    needs_root!();
    let case = Case::new();
    let mut command = case.whyslow(&["record", "-q", "-o", "r.json", "--", "sh", "-c"]);
    command.arg("echo $GREETING; pwd").env("GREETING", "hello");
    let finished = Process::start(command).finish().ended_with(0);
    let folder = fs::canonicalize(case.path(".")).unwrap();
    assert_eq!(finished.stdout(), format!("hello\n{}\n", folder.display()));
}

#[test]
fn nothing_of_the_start_is_lost() {
    needs_root!();
    let case = Case::new();
    // Computes from its first instruction on.
    record(&case, "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done").ended_with(0);
    let report = sound(case.json("r.json"));
    // The kernel counts the CPU time of the whole life, from fork to exit, and
    // leaves out what a hypervisor takes: we may have more, and not less.
    let off = report["quality"]["oncpu_vs_kernel"].as_f64().unwrap();
    assert!(off > -0.02, "on-CPU time differs from the kernel's by {off}");
}

#[test]
fn a_sleeping_program_is_io_bound_with_cause_sleep() {
    needs_root!();
    let case = Case::new();
    record(&case, "sleep 0.3; sleep 0.3").ended_with(0);
    let report = sound(case.json("r.json"));
    assert_eq!(verdict(&report), ("io-bound", "sleep"));
    // The shell waits for its children, who sleep.
    assert!(time(&report, "child") > 0 && time(&report, "sleep") > 0, "{report}");
}

#[test]
fn input_written_while_the_program_waits_reaches_it() {
    needs_root!();
    let case = Case::new();
    let mut command = case.whyslow(&["record", "-q", "-o", "r.json", "--", "head", "-n", "1"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "late").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"late\n");
}

/// The recorder may come first on a busy machine; the program has the priority that
/// its user gave it.
#[test]
fn the_program_keeps_its_priority() {
    let Some(cell) = Cell::new(Mode::Launch, Tier::Privileged) else { return };
    let mut running = cell.start(["work", "1"], &["-q", "-o", "r.whyslow"]);
    cell.until_recorded(&mut running);
    let own = niceness("self");
    let (recorder, program) = (niceness(&running.recorder.pid()), niceness(&running.pid));
    cell.ends_right(&running.pid);
    running.recorder.finish().ended_with(ENDS);
    assert_eq!(program, own);
    assert!(recorder <= own, "{recorder}");
    if recorder == own {
        println!("NOTE no priority may be raised here");
    }
}

fn niceness(pid: &str) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name ends with the last bracket; the state after it is field 3.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(19 - 3).unwrap().parse().unwrap()
}
