//! `--precise`: threads stand still while they are read, and never longer.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    case::{Case, needs_root},
    process::{Process, until},
    report::sound,
};

/// Two chains of calls in turns, for ever.
const FLIP_FLOP: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/python/tests/programs/flip_flop.py");

/// The program, once it runs.
fn flip_flop(case: &Case) -> Process {
    case.write("note", [0; 2]);
    let note = case.path("note").display().to_string();
    let ready = case.path("ready").display().to_string();
    let mut process = Process::shell(&format!("exec python3 {FLIP_FLOP} {note} > {ready}"));
    assert_eq!(case.until_line(&mut process, "ready"), "ready");
    process
}

/// A line of `/proc/PID/status`.
fn status(pid: &str, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
    line.trim().to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value}"))
}

/// CPU time so far, in clock ticks.
fn cpu(pid: &str) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn what_stands_still_is_read_whole() {
    needs_root!();
    let case = Case::new();
    let process = flip_flop(&case);
    let outputs = ["-o", "r.json", "-o", "r.folded", "--view", "cpu"];
    let record = ["record", "-q", "--precise", "-d", "1s", "-p", &process.pid()];
    case.run(&[&record[..], &outputs].concat()).ended_with(0);
    let report = sound(case.json("r.json"));
    let (reads, stops) = (&report["quality"]["scripts"], &report["quality"]["stops"]);
    println!("{reads} {stops}");
    // Of those that were about to block, or had gone to, none is stopped.
    let [accepted, rejected] = ["accepted", "rejected"].map(|key| number(&reads[key]));
    assert!(accepted > 10 && rejected * 20 <= accepted, "{reads}");
    assert!(number(&stops["count"]) > 10 && number(&stops["max_ns"]) > 0, "{stops}");
    assert!(number(&stops["total_ns"]) < number(&report["window"]["duration_ns"]), "{stops}");
    for line in case.text("r.folded").lines() {
        assert!(!(line.contains("_a (") && line.contains("_b (")), "torn: {line}");
    }
    assert_eq!(status(&process.pid(), "TracerPid:"), "0");
}

#[test]
fn nobody_is_stopped_who_did_not_ask_for_it() {
    needs_root!();
    let case = Case::new();
    let process = flip_flop(&case);
    case.run(&["record", "-q", "-o", "r.json", "-d", "300ms", "-p", &process.pid()]).ended_with(0);
    let report = sound(case.json("r.json"));
    assert!(report["quality"]["stops"].is_null(), "{}", report["quality"]);
}

#[test]
fn a_recorder_that_is_killed_leaves_no_thread_stopped() {
    needs_root!();
    let case = Case::new();
    let process = flip_flop(&case);
    let pid = process.pid();
    let mut caught = 0;
    for round in 0..5 {
        let recording = format!("{round}.whyslow");
        let mut recorder = case.start(&["record", "-q", "--precise", "-o", &recording, "-p", &pid]);
        case.until_recorded(&mut recorder, &recording, 0);
        // In the midst of a stop, if it can be met.
        for _ in 0..100_000 {
            if status(&pid, "TracerPid:") != "0" {
                caught += 1;
                break;
            }
        }
        recorder.signal(Signal::SIGKILL);
        assert_eq!(recorder.finish().killed_by(), Some(9));
        until("the thread to be free", || (status(&pid, "TracerPid:") == "0").then_some(()));
        let state = status(&pid, "State:");
        assert!(state.starts_with('R') || state.starts_with('S'), "{state}");
        let before = cpu(&pid);
        until("the thread to go on", || (cpu(&pid) > before).then_some(()));
    }
    println!("killed in the midst of {caught} stops");
    assert!(caught > 0, "no stop was met");
}

#[test]
fn where_another_traces_the_report_says_so() {
    needs_root!();
    let case = Case::new();
    let process = flip_flop(&case);
    let seize = "import ctypes, sys, time
ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), None, None)
print('ready', flush=True)
time.sleep(1000)";
    case.write("tracer.py", seize);
    let [program, traces] =
        ["tracer.py", "traces"].map(|name| case.path(name).display().to_string());
    let script = format!("exec python3 {program} {} > {traces}", process.pid());
    let mut tracer = Process::shell(&script);
    case.until_line(&mut tracer, "traces");
    let by = status(&process.pid(), "TracerPid:");
    assert_ne!(by, "0", "it is traced");
    let record = ["record", "--precise", "-o", "r.json", "-d", "500ms", "-p", &process.pid()];
    let finished = case.run(&record).ended_with(0);
    let report = sound(case.json("r.json"));
    let fallbacks = report["engine"]["fallbacks"].as_array().unwrap();
    let told = |it: &&Value| it["wanted"].as_str().unwrap().contains("--precise");
    let [refusal] = fallbacks.iter().filter(told).collect::<Vec<_>>()[..] else {
        panic!("one line: {fallbacks:?}");
    };
    assert_eq!(refusal["errno"], "EPERM");
    assert_eq!(refusal["remedy"], format!("process {by} traces it: end that first"));
    assert!(finished.stderr.contains("--precise"), "{}", finished.stderr);
    assert!(number(&report["quality"]["scripts"]["accepted"]) > 0, "it is read all the same");
    assert_eq!(number(&report["quality"]["stops"]["count"]), 0);
}

#[test]
fn threads_and_processes_may_end_while_they_stand_still() {
    needs_root!();
    let case = Case::new();
    case.write(
        "program.py",
        "
import os, sys, threading
def brief():
    sum(range(60000))
for _ in range(60):
    threads = [threading.Thread(target=brief) for _ in range(3)]
    for thread in threads:
        thread.start()
    if os.fork() == 0:
        brief()
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 3
    for thread in threads:
        thread.join()
os.kill(os.getpid(), 15) if len(sys.argv) > 1 else sys.exit(7)
",
    );
    let record = ["record", "-q", "--precise", "-o", "r.json", "--force", "--"];
    case.run(&[&record[..], &["python3", "program.py"]].concat()).ended_with(7);
    let report = sound(case.json("r.json"));
    assert!(number(&report["quality"]["stops"]["count"]) > 0, "{}", report["quality"]);
    let finished = case.run(&[&record[..], &["python3", "program.py", "x"]].concat());
    assert_eq!(finished.killed_by(), Some(15), "{}", finished.stderr);
}
