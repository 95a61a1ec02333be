//! Recorders that are killed or told to end.

use std::time::Duration;

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::signal::Signal,
    unistd::pipe,
};

use super::{
    cell::{Cell, ENDS, Mode},
    matrix,
};
use crate::process::{Process, signal_to, until};

matrix! {
    [launch Launch, attach Attach]
    killed_before_the_window
    killed_while_recording
    killed_while_writing
    killed_at_any_moment
    terminated
    hung_up
    interrupted_while_the_target_is_stopped
}

matrix! {
    [launch Launch]
    a_second_signal
}

const WORK: [&str; 2] = ["work", "3"];

fn killed_before_the_window(cell: &Cell) {
    let mut running = cell.start(WORK, &["-D", "30s", "-o", "r.whyslow", "-o", "r.json"]);
    running.until_set_up();
    running.recorder.signal(Signal::SIGKILL);
    // Its outputs are open in the worker, if that was launched.
    until("the recorder to be gone", || running.recorder.has_ended().then_some(()));
    cell.untouched(&running.pid);
    cell.ends_right(&running.pid);
    assert_eq!(cell.outputs(), [""; 0]);
}

fn killed_while_recording(cell: &Cell) {
    let mut running = cell.start(WORK, &["-o", "r.whyslow", "-o", "r.json"]);
    cell.until_recorded(&mut running);
    running.recorder.signal(Signal::SIGKILL);
    until("the recorder to be gone", || running.recorder.has_ended().then_some(()));
    cell.untouched(&running.pid);
    cell.ends_right(&running.pid);
    assert_eq!(cell.outputs(), ["r.whyslow"]);
    let report = cell.reported();
    assert!(report["quality"]["damage"].is_string(), "{}", report["quality"]);
    assert!(report["target"]["threads"].as_u64().unwrap() >= 1);
}

/// The report goes to a pipe that nobody reads, so that the recorder is found there.
fn killed_while_writing(cell: &Cell) {
    let (read, write) = pipe().unwrap();
    // There is no room for the report.
    let room = fcntl(&write, FcntlArg::F_GETPIPE_SZ).unwrap();
    nix::unistd::write(&write, &vec![0; room.cast_unsigned() as usize]).unwrap();
    let options = ["-q", "-d", "150ms", "--json", "-o", "r.whyslow", "-o", "r.json"];
    let options = if cell.mode == Mode::Attach { &options[..] } else { &options[3..] };
    let mut running = cell.start_by(WORK, options, |mut command| {
        command.stdout(write);
        command
    });
    if cell.mode == Mode::Launch {
        cell.ends_right(&running.pid);
    }
    let call = format!("/proc/{}/syscall", running.recorder.pid());
    until("the recorder to write", || {
        running.recorder.expect_running();
        std::fs::read_to_string(&call).ok().filter(|call| call.starts_with("1 0x1 "))
    });
    running.recorder.signal(Signal::SIGKILL);
    running.recorder.finish();
    drop(read);
    if cell.mode == Mode::Attach {
        cell.untouched(&running.pid);
        cell.ends_right(&running.pid);
    }
    assert_eq!(cell.outputs(), ["r.whyslow"]);
    assert!(cell.reported()["quality"]["damage"].is_null());
}

/// Whenever it is killed, there are whole files or none, and the worker ends right.
fn killed_at_any_moment(cell: &Cell) {
    const MOMENTS: u32 = 8;
    let options = ["-q", "-d", "60ms", "-o", "r.whyslow", "-o", "r.json", "-o", "r.svg"];
    let target = (cell.mode == Mode::Attach).then(|| cell.work(WORK));
    for moment in 0..MOMENTS {
        let mut command = cell.command("./whyslow");
        command.args(cell.record(&options));
        match &target {
            Some(target) => command.args(["-p", &target.pid()]),
            None => command.args(["--", "sleep", "0.05"]),
        };
        let recorder = Process::start(command);
        // The moment itself is what is tried.
        std::thread::sleep(Duration::from_millis(30) * moment);
        recorder.signal(Signal::SIGKILL);
        recorder.finish();
        for name in cell.outputs() {
            match name.as_str() {
                "r.whyslow" => drop(cell.reported()),
                "r.json" => drop(cell.report()),
                "r.svg" => assert!(cell.case.text("r.svg").trim_end().ends_with("</svg>")),
                other => panic!("{other} is left after {moment} steps"),
            }
            std::fs::remove_file(cell.case.path(&name)).unwrap();
        }
    }
    if let Some(target) = target {
        cell.untouched(&target.pid());
        cell.ends_right(&target.pid());
    }
}

fn terminated(cell: &Cell) {
    told_to_end(cell, Signal::SIGTERM);
}

fn hung_up(cell: &Cell) {
    told_to_end(cell, Signal::SIGHUP);
}

/// A command is told so, too, and its end is ours; a target that was found goes on.
fn told_to_end(cell: &Cell, signal: Signal) {
    let mut running = cell.start(WORK, &["-q", "-o", "r.whyslow", "-o", "r.json"]);
    cell.case.until_recorded(&mut running.recorder, "r.whyslow", 0);
    running.recorder.signal(signal);
    match cell.mode {
        Mode::Launch => {
            let finished = running.recorder.finish();
            assert_eq!(finished.killed_by(), Some(signal as i32), "{finished:?}");
            assert_eq!(cell.report()["target"]["exit"]["signal"], signal as i32);
        }
        Mode::Attach => {
            running.recorder.finish().ended_with(0);
            cell.report();
            cell.untouched(&running.pid);
            cell.ends_right(&running.pid);
        }
    }
    assert!(cell.reported()["quality"]["damage"].is_null());
}

fn interrupted_while_the_target_is_stopped(cell: &Cell) {
    let mut running = cell.start(WORK, &["-q", "-o", "r.whyslow", "-o", "r.json"]);
    cell.case.until_recorded(&mut running.recorder, "r.whyslow", 0);
    signal_to(&running.pid, Signal::SIGSTOP);
    cell.until_state(&running.pid, 'T');
    // So long that those who look from outside must see it.
    std::thread::sleep(Duration::from_millis(60));
    match cell.mode {
        Mode::Launch => {
            running.recorder.signal_group(Signal::SIGINT);
            running.recorder.expect_running();
            signal_to(&running.pid, Signal::SIGCONT);
            let finished = running.recorder.finish();
            assert_eq!(finished.killed_by(), Some(Signal::SIGINT as i32), "{finished:?}");
        }
        Mode::Attach => {
            running.recorder.signal(Signal::SIGINT);
            running.recorder.finish().ended_with(0);
            // It is as we found it.
            cell.until_state(&running.pid, 'T');
            signal_to(&running.pid, Signal::SIGCONT);
            cell.ends_right(&running.pid);
        }
    }
    let stopped = &cell.report()["ledger"]["process"]["stopped"];
    assert!(stopped.as_u64().is_some_and(|ns| ns > 0), "{}", cell.report()["ledger"]["process"]);
}

/// The program goes on, and what there is is written at once.
fn a_second_signal(cell: &Cell) {
    let mut running = cell.start(WORK, &["-q", "-o", "r.whyslow", "-o", "r.json"]);
    cell.until_recorded(&mut running);
    // Ctrl-C, which the program does not get, and so does not heed.
    running.recorder.interrupt(|recorder| recorder.signal(Signal::SIGINT));
    running.recorder.signal(Signal::SIGTERM);
    until("the report", || cell.case.path("r.json").is_file().then_some(()));
    cell.untouched(&running.pid);
    cell.ends_right(&running.pid);
    let finished = running.recorder.finish();
    assert!(finished.killed_by().is_some(), "{finished:?}");
    assert!(cell.report()["target"]["exit"].is_null());
    assert!(cell.reported()["quality"]["damage"].is_null());
    assert_ne!(finished.status.code(), Some(ENDS));
}
