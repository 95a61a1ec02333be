//! A recorder that cannot follow.

use std::fs;

use nix::sys::signal::Signal;

use super::{
    cell::{Cell, Tier},
    matrix,
};
use crate::process::until;

matrix! {
    [attach Attach]
    the_recorder_is_held_up
}

/// It is stopped until its rings must be full: what is lost is said, and nothing is
/// made up for it.
fn the_recorder_is_held_up(cell: &Cell) {
    // More than fit into the rings of two CPUs.
    let switches = if cell.tier == Tier::Privileged { 200_000 } else { 250_000 };
    let options = ["-q", "-o", "r.whyslow", "-o", "r.json"];
    let mut running = cell.start(["switch", "2"], &options);
    cell.until_recorded(&mut running);
    running.recorder.signal(Signal::SIGSTOP);
    let before = switched(&running.pid);
    until("many switches", || (switched(&running.pid) - before > switches).then_some(()));
    running.recorder.signal(Signal::SIGCONT);
    let length = cell.case.read("r.whyslow").len() as u64;
    cell.case.until_recorded(&mut running.recorder, "r.whyslow", length);
    running.recorder.signal(Signal::SIGINT);
    running.recorder.finish().ended_with(0);
    cell.untouched(&running.pid);
    cell.ends_right(&running.pid);
    let report = cell.report();
    let quality = &report["quality"];
    match cell.tier {
        Tier::Procfs => {
            assert_eq!(quality["lost"], 0);
            let off = quality["oncpu_vs_kernel"].as_f64().unwrap();
            assert!(off.abs() < 0.01, "{quality}");
        }
        Tier::Privileged | Tier::Ordinary => {
            assert!(quality["lost"].as_u64().unwrap() > 0, "{quality}");
            assert!(quality["unknown_ns"].as_u64().unwrap() > 0, "{quality}");
        }
    }
    assert!(cell.reported()["quality"]["damage"].is_null());
}

/// How often the threads of a process waited so far.
fn switched(pid: &str) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let of = |text: String| -> Option<u64> {
        text.lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?
            .trim()
            .parse()
            .ok()
    };
    tasks.filter_map(|task| of(fs::read_to_string(task.path().join("status")).ok()?)).sum()
}
