//! Many threads, many processes, long command lines.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    case::{Case, needs_root},
    faults::cell::{Cell, ENDS, Mode, Tier},
    process::{Process, until},
    report::{sound, time},
};

/// Memory of the recorder, KiB.
const MUCH: u64 = 300 << 10;
/// CPU time of all threads that may not be where it belongs, ns.
const COUNTED_LATE: f64 = 3e6;

/// Records so many threads that are there already, and gives the time until the
/// window began.
fn many_threads(tier: Tier, threads: u64) -> Option<Duration> {
    let cell = Cell::new(Mode::Attach, tier)?;
    let target = cell.work(["work", &threads.to_string()]);
    let mut command = cell.command("./whyslow");
    let options = ["-q", "-d", "300ms", "-o", "r.whyslow", "-o", "r.json", "-p", &target.pid()];
    command.args(cell.record(&options));
    let start = Instant::now();
    let mut recorder = Process::start(command);
    let status = format!("/proc/{}/status", recorder.pid());
    cell.case.until_recorded(&mut recorder, "r.whyslow", 0);
    let begun = start.elapsed();
    let mut peak = 0;
    until("the recorder to end", || {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(now.unwrap_or(0));
        recorder.has_ended().then_some(())
    });
    recorder.finish().ended_with(0);
    cell.untouched(&target.pid());
    cell.ends_right(&target.pid());
    target.finish().ended_with(ENDS);
    let report = cell.report();
    assert_eq!(report["target"]["threads"], threads + 1);
    assert_eq!(report["quality"]["lost"], 0);
    let off = report["quality"]["oncpu_vs_kernel"].as_f64().unwrap();
    let states = report["ledger"]["process"].as_object().unwrap();
    let cpu = states.iter().filter(|(state, _)| state.starts_with("cpu."));
    let cpu: u64 = cpu.map(|(_, ns)| ns.as_u64().unwrap()).sum();
    // What each had before is read one after the other when the window has begun.
    assert!(cpu > 0 && off.abs() * cpu as f64 <= COUNTED_LATE, "{cpu}: {}", report["quality"]);
    assert!(peak > 0 && peak < MUCH, "{peak} KiB");
    Some(begun)
}

#[test]
fn a_thousand_threads_are_found_and_take_little_memory() {
    for tier in [Tier::Privileged, Tier::Ordinary, Tier::Procfs] {
        many_threads(tier, 1000);
    }
}

#[test]
#[ignore = "needs the machine for itself"]
fn five_thousand_threads_are_found_in_two_seconds() {
    for tier in [Tier::Privileged, Tier::Ordinary, Tier::Procfs] {
        if let Some(begun) = many_threads(tier, 5000) {
            println!("{tier:?}: the window begins after {begun:?}");
            assert!(begun < Duration::from_secs(2), "{tier:?}: {begun:?}");
        }
    }
}

#[test]
#[ignore = "takes long beside others"]
fn ten_thousand_processes_that_live_shortly_are_all_counted() {
    needs_root!();
    are_all_there("i=0; while [ $i -lt 10000 ]; do (:); i=$((i+1)); done", 10_001);
}

#[test]
fn five_hundred_processes_at_once_are_one_program() {
    needs_root!();
    are_all_there("i=0; while [ $i -lt 500 ]; do sleep 1 & i=$((i+1)); done; wait", 501);
}

/// Records a script that is so many processes.
fn are_all_there(script: &str, processes: u64) {
    let case = Case::new();
    case.run(&["record", "-q", "-o", "r.json", "--", "sh", "-c", script]).ended_with(0);
    let report = sound(case.json("r.json"));
    assert_eq!(report["target"]["processes"], processes);
    assert_eq!(report["quality"]["lost"], 0);
}

#[test]
fn a_command_line_of_64_kib_is_recorded_and_reported() {
    let case = Case::new();
    let long = "x".repeat(64 << 10);
    let engine = ["record", "-q", "--engine", "procfs", "-o", "r.json", "-o", "r.svg"];
    case.run(&[&engine[..], &["--", "sh", "-c", "exit 3", &long]].concat()).ended_with(3);
    let report = sound(case.json("r.json"));
    assert_eq!(report["target"]["command"][3], long.as_str());
    assert!(case.text("r.svg").contains("</svg>"));
}

const CONNECTIONS: &str = "\
import socket, threading, time
ends, threads = [], []
for _ in range(200):
    ours, theirs = socket.socketpair()
    ends.append(ours)
    threads.append(threading.Thread(target=theirs.recv, args=(1,)))
    threads[-1].start()
time.sleep(1)
for end in ends: end.send(b'x')
for thread in threads: thread.join()";

#[test]
fn connections_opened_at_once_are_all_known() {
    needs_root!();
    for engine in ["auto", "procfs"] {
        let case = Case::new();
        let python = ["--", "/usr/bin/python3", "-c", CONNECTIONS];
        let mut record = vec!["record", "-q", "--engine", engine, "-o", "r.json"];
        record.extend(python);
        case.run(&record).ended_with(0);
        let report = sound(case.json("r.json"));
        let [all, ipc, unknown] = ["", "io.ipc", "unknown"].map(|state| time(&report, state));
        let ledger = &report["ledger"]["process"];
        assert!(report["target"]["threads"].as_u64().unwrap() >= 201, "{}", report["target"]);
        assert!(ipc * 10 > all * 8 && unknown * 50 < all, "{engine}: {ledger}");
    }
}
