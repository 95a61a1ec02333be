//! Targets that die, stop, become another program, or are traced already.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{
    cell::{Cell, ENDS, Mode, Tier},
    matrix,
};
use crate::{
    case::skip,
    process::{Process, signal_to, until},
};

matrix! {
    [launch Launch, attach Attach]
    the_target_is_killed
    the_target_stops_and_goes_on
    the_target_executes_another_program
    the_target_is_traced
    the_target_ends_before_the_window
}

matrix! {
    [attach Attach]
    two_thousand_threads_end_at_once
    the_target_forks_meanwhile
}

const WORK: [&str; 2] = ["work", "3"];
const OUTPUTS: [&str; 5] = ["-q", "-o", "r.whyslow", "-o", "r.json"];

fn the_target_is_killed(cell: &Cell) {
    let mut running = cell.start(WORK, &OUTPUTS);
    cell.until_recorded(&mut running);
    signal_to(&running.pid, Signal::SIGSEGV);
    let exit = match cell.mode {
        Mode::Launch => {
            let finished = running.recorder.finish();
            // A shell says 128 and the number.
            assert_eq!(finished.killed_by(), Some(Signal::SIGSEGV as i32), "{finished:?}");
            Some(Signal::SIGSEGV as i64)
        }
        Mode::Attach => {
            running.recorder.finish().ended_with(0);
            None
        }
    };
    let report = cell.report();
    assert_eq!(report["target"]["exit"]["signal"].as_i64(), exit, "{}", report["target"]);
    assert!(report["target"]["threads"].as_u64().unwrap() >= 4, "{}", report["target"]);
    assert!(cell.reported()["quality"]["damage"].is_null());
}

fn the_target_stops_and_goes_on(cell: &Cell) {
    let mut running = cell.start(WORK, &OUTPUTS);
    cell.case.until_recorded(&mut running.recorder, "r.whyslow", 0);
    let sent = Instant::now();
    signal_to(&running.pid, Signal::SIGSTOP);
    cell.until_state(&running.pid, 'T');
    let stopped = Instant::now();
    // For so long it stops.
    std::thread::sleep(Duration::from_millis(100));
    let least = stopped.elapsed();
    signal_to(&running.pid, Signal::SIGCONT);
    cell.until_state(&running.pid, 'S');
    let most = sent.elapsed();
    cell.ends_right(&running.pid);
    running.finish(0);
    let report = cell.report();
    let threads = report["ledger"]["threads"].as_array().unwrap();
    let main = threads.iter().find(|thread| thread["tid"] == report["target"]["pid"]).unwrap();
    let said = Duration::from_nanos(main["states"]["stopped"].as_u64().unwrap_or(0));
    // What only looks at threads is some looks off, which come less often on a busy machine.
    let slack = Duration::from_millis(if cell.tier == Tier::Privileged { 20 } else { 90 });
    let most = if cell.tier == Tier::Procfs { most * 3 } else { most };
    assert!(said + slack >= least && said <= most + slack, "{least:?}..{most:?}: {main}");
}

fn the_target_executes_another_program(cell: &Cell) {
    let mut running = cell.start(WORK, &OUTPUTS);
    cell.case.until_recorded(&mut running.recorder, "r.whyslow", 0);
    signal_to(&running.pid, Signal::SIGUSR2);
    assert_eq!(cell.line("again"), running.pid);
    let header = cell.case.read("r.whyslow").len() as u64;
    cell.case.until_recorded(&mut running.recorder, "r.whyslow", header);
    cell.ends_right(&running.pid);
    running.finish(0);
    let report = cell.report();
    assert_eq!(report["target"]["processes"], 1, "{}", report["target"]);
    let threads = report["ledger"]["threads"].as_array().unwrap();
    let main = threads.iter().find(|thread| thread["tid"] == report["target"]["pid"]).unwrap();
    assert_eq!(main["name"], "other", "{main}");
}

fn the_target_is_traced(cell: &Cell) {
    if Command::new("strace").arg("-V").output().is_err() {
        skip!("no strace");
    }
    if cell.mode == Mode::Launch {
        let mut command = cell.command("./whyslow");
        command.args(cell.record(&OUTPUTS));
        command.args(["--", "strace", "-f", "-qq", "-o", "/dev/null", "./worker", "."]).args(WORK);
        let recorder = Process::start(command);
        let pid = cell.line("pid");
        cell.ends_right(&pid);
        recorder.finish().ended_with(ENDS);
        assert!(cell.report()["target"]["processes"].as_u64().unwrap() >= 2);
        return;
    }
    let target = cell.work(WORK);
    let mut command = cell.command("strace");
    command.args(["-f", "-qq", "-e", "trace=none", "-o", "/dev/null", "-p", &target.pid()]);
    let tracer = Process::start(command);
    let status = format!("/proc/{}/status", target.pid());
    let traced = format!("TracerPid:\t{}\n", tracer.pid());
    until("the tracer", || {
        fs::read_to_string(&status).ok().filter(|status| status.contains(&traced))
    });
    let mut command = cell.command("./whyslow");
    command.args(cell.record(&OUTPUTS)).args(["-d", "150ms", "-p", &target.pid()]);
    Process::start(command).finish().ended_with(0);
    assert!(fs::read_to_string(&status).unwrap().contains(&traced), "the tracer has it yet");
    let report = cell.report();
    let fallbacks = report["engine"]["fallbacks"].to_string();
    assert!(fallbacks.contains(&format!("strace (PID {})", tracer.pid())), "{fallbacks}");
    assert!(report["target"]["threads"].as_u64().unwrap() >= 4, "{}", report["target"]);
    cell.ends_right(&target.pid());
    drop(tracer);
}

/// A command that ends within the delay has its exit code all the same.
fn the_target_ends_before_the_window(cell: &Cell) {
    let mut running = cell.start(WORK, &[&OUTPUTS[..], &["-D", "30s"]].concat());
    running.until_set_up();
    cell.ends_right(&running.pid);
    if let Some(target) = running.target.take() {
        target.finish().ended_with(ENDS);
        let finished = running.recorder.finish().ended_with(125);
        assert!(finished.stderr.contains(&running.pid), "{}", finished.stderr);
        let gone = ["does not exist", "is a zombie"];
        assert!(gone.iter().any(|it| finished.stderr.contains(it)), "{}", finished.stderr);
        assert_eq!(cell.outputs(), [""; 0]);
        return;
    }
    running.recorder.finish().ended_with(ENDS);
    let report = cell.report();
    assert_eq!(report["target"]["exit"]["code"], ENDS);
    assert_eq!(report["target"]["threads"], 0, "{}", report["target"]);
}

fn two_thousand_threads_end_at_once(cell: &Cell) {
    let mut running = cell.start(["work", "2000"], &OUTPUTS);
    cell.until_recorded(&mut running);
    cell.ends_right(&running.pid);
    running.finish(0);
    let report = cell.report();
    let threads = report["target"]["threads"].as_u64().unwrap();
    assert_eq!(threads, 2001, "{}", report["target"]);
    assert_eq!(report["quality"]["lost"], 0);
}

fn the_target_forks_meanwhile(cell: &Cell) {
    let running = cell.start(["fork", "3"], &[&OUTPUTS[..], &["-d", "200ms"]].concat());
    running.recorder.finish().ended_with(0);
    cell.untouched(&running.pid);
    cell.ends_right(&running.pid);
    let report = cell.report();
    assert!(report["target"]["processes"].as_u64().unwrap() > 3, "{}", report["target"]);
    assert_eq!(report["quality"]["lost"], 0, "{}", report["quality"]);
}
