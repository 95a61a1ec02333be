//! A target that does next to nothing costs next to nothing: what counts is how
//! often the recorder wakes and reads, which no other program on the machine changes.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    faults::cell::{Cell, ENDS, Mode, Tier},
    report::time,
};

/// Threads besides the one that wakes once a second.
const THREADS: &str = "99";
/// Its stacks are read, and nothing has been still for long yet.
const BEGINS: Duration = Duration::from_millis(2500);
const WATCHED: Duration = Duration::from_millis(4000);
/// A second: a round each 10 ms would be 100.
const WAKES: f64 = 50.0;
/// A second: to look at each thread in every 160 ms, as a round of looks does, would be more.
const READS: f64 = 500.0;

/// How often a process has waited and read so far, all of its threads together.
fn counts(pid: &str) -> (f64, f64) {
    let field = |text: String, name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().parse().ok()).unwrap_or_else(|| panic!("{name}: {text}"))
    };
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let waits = tasks.map(|task| {
        let status = fs::read_to_string(task.path().join("status")).unwrap();
        field(status, "voluntary_ctxt_switches:")
    });
    let reads = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    (waits.sum(), field(reads, "syscr:"))
}

/// Of a target that wakes once a second all causes are known all the same.
fn rests(tier: Tier) {
    let Some(cell) = Cell::new(Mode::Attach, tier) else { return };
    let mut running = cell.start(["rest", THREADS], &["-q", "-o", "r.whyslow", "-o", "r.json"]);
    cell.until_recorded(&mut running);
    thread::sleep(BEGINS);
    let pid = running.recorder.pid();
    let (begin, before) = (Instant::now(), counts(&pid));
    thread::sleep(WATCHED);
    let (seconds, after) = (begin.elapsed().as_secs_f64(), counts(&pid));
    running.recorder.signal(Signal::SIGINT);
    running.recorder.finish().ended_with(0);
    let (waits, reads) = ((after.0 - before.0) / seconds, (after.1 - before.1) / seconds);
    println!("{tier:?}: waits {waits:.0} times and reads {reads:.0} times a second");
    assert!(waits < WAKES, "{waits} waits a second");
    assert!(reads < READS, "{reads} reads a second");
    cell.untouched(&running.pid);
    cell.ends_right(&running.pid);
    running.target.unwrap().finish().ended_with(ENDS);
    let report = cell.report();
    let lifetime = |key| of_first(&report, &running.pid, key);
    let (sleep, all) = (lifetime("/states/sleep"), lifetime("/lifetime_ns"));
    assert!(sleep > 0.9 * all, "{sleep} of {all}: {}", report["ledger"]["process"]);
    let (unknown, process) = (time(&report, "unknown"), time(&report, ""));
    assert!(unknown * 100 < process, "{unknown} of {process} ns unknown");
    assert_eq!(report["quality"]["late"], 0);
}

/// A number of the first thread of a process, ns.
fn of_first(report: &Value, pid: &str, key: &str) -> f64 {
    let threads = report["ledger"]["threads"].as_array().unwrap();
    let pid = pid.parse().ok();
    let first = threads.iter().find(|thread| thread["tid"].as_u64() == pid);
    first.and_then(|thread| thread.pointer(key)?.as_f64()).unwrap_or_else(|| panic!("{threads:?}"))
}

#[test]
fn a_recorder_of_the_machine_sleeps_while_the_target_does() {
    rests(Tier::Privileged);
}

#[test]
fn a_recorder_of_an_ordinary_user_sleeps_while_the_target_does() {
    rests(Tier::Ordinary);
}

#[test]
fn looks_at_proc_are_few_while_the_target_sleeps() {
    rests(Tier::Procfs);
}
