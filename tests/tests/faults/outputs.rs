//! Outputs that cannot be written: full disks, pipes that nobody reads, folders
//! that are not ours.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::unistd::pipe;
use serde_json::Value;

use super::{
    cell::{Cell, ENDS, Mode, Running, Tier},
    matrix,
};
use crate::{
    case::{is_root, skip},
    process::{Process, until},
    report::time,
};

matrix! {
    [launch Launch, attach Attach]
    the_recording_may_not_grow
    the_disk_is_full
    nobody_reads_what_is_printed
    the_folder_cannot_be_written
}

const OUTPUTS: [&str; 5] = ["-q", "-o", "r.whyslow", "-o", "r.json"];
/// Many switches, which make a recording that grows.
const SWITCH: [&str; 2] = ["switch", "2"];

/// Bytes that fit, in pages: more than one chunk of events.
fn limit(cell: &Cell) -> u64 {
    match cell.tier {
        Tier::Privileged | Tier::Ordinary => 40 << 12,
        Tier::Procfs => 2 << 12,
    }
}

fn the_recording_may_not_grow(cell: &Cell) {
    let running = cell.start_by(SWITCH, &OUTPUTS, |command| {
        // In blocks of 512 bytes.
        let limit = limit(cell) / 512;
        let script = format!("ulimit -f {limit}; exec \"$0\" \"$@\"");
        with_words_of(
            &command,
            cell.command("sh").stdout(Stdio::piped()).stderr(Stdio::piped()).args(["-c", &script]),
        )
    });
    let recording = cell.case.path("r.whyslow");
    let stderr = fails_to_write(cell, running, &recording);
    assert!(stderr.contains("File too large"), "{stderr}");
    still_tells(&cell.reported());
}

/// The file system is one that the recorder alone sees.
fn the_disk_is_full(cell: &Cell) {
    if !is_root() {
        skip!("not root: no file system can be mounted");
    }
    fs::create_dir(cell.case.path("full")).unwrap();
    let options = ["-q", "-o", "full/r.whyslow", "-o", "full/r.json"];
    let running = cell.start_by(SWITCH, &options, |command| {
        let (user, limit) = (cell.user(), limit(cell));
        let script = format!(
            "mount -t tmpfs -o size={limit},mode=777 full full
            setpriv --reuid {user} --regid {user} --clear-groups \"$0\" \"$@\"
            code=$?
            ./whyslow report full/r.whyslow --json > r.json
            exit $code"
        );
        // The mount is root's, whoever records.
        let mut root = Command::new("unshare");
        root.current_dir(cell.case.path(".")).stdin(Stdio::null());
        root.stdout(Stdio::piped()).stderr(Stdio::piped());
        with_words_of(&command, root.args(["-m", "sh", "-c", &script]))
    });
    let root = PathBuf::from(format!("/proc/{}/root", running.recorder.pid()));
    let folder = fs::canonicalize(cell.case.path(".")).unwrap();
    let recording = root.join(folder.strip_prefix("/").unwrap()).join("full/r.whyslow");
    let stderr = fails_to_write(cell, running, &recording);
    assert!(stderr.contains("No space left"), "{stderr}");
    still_tells(&cell.report());
}

/// `sh -c SCRIPT` or the like, with another command as its words.
fn with_words_of(command: &Command, shell: &mut Command) -> Command {
    shell.arg(command.get_program()).args(command.get_args());
    std::mem::replace(shell, Command::new("true"))
}

/// The recording cannot grow: that is said, and the worker ends right.
fn fails_to_write(cell: &Cell, mut running: Running, recording: &Path) -> String {
    until("the disk to be full", || {
        fs::metadata(recording).ok().filter(|file| file.len() >= limit(cell))
    });
    if cell.mode == Mode::Launch {
        // The one who waits for the program waits for us.
        running.recorder.expect_running();
        cell.untouched(&running.pid);
        cell.ends_right(&running.pid);
    }
    let finished = running.recorder.finish().ended_with(125);
    if cell.mode == Mode::Attach {
        cell.untouched(&running.pid);
        cell.ends_right(&running.pid);
    }
    assert!(finished.stderr.contains("cannot write the recording"), "{}", finished.stderr);
    finished.stderr
}

/// A report of what was written before.
fn still_tells(report: &Value) {
    assert!(report["quality"]["damage"].is_string(), "{}", report["quality"]);
    assert!(report["target"]["threads"].as_u64().unwrap() == 5, "{}", report["target"]);
    assert!(time(report, "") > 0);
}

fn nobody_reads_what_is_printed(cell: &Cell) {
    let (read, write) = pipe().unwrap();
    drop(read);
    let options = ["--json", "-d", "150ms", "-o", "r.whyslow", "-o", "r.json"];
    let options =
        if cell.mode == Mode::Attach { &options[..] } else { &["--json", "-o", "r.json"] };
    let running = cell.start_by(["work", "3"], options, |mut command| {
        command.stdout(write);
        command
    });
    if cell.mode == Mode::Launch {
        cell.ends_right(&running.pid);
    }
    let finished = running.recorder.finish();
    let code = if cell.mode == Mode::Launch { ENDS } else { 0 };
    let finished = finished.ended_with(code);
    assert!(!finished.stderr.contains("error:"), "{}", finished.stderr);
    cell.report();
    if cell.mode == Mode::Attach {
        cell.untouched(&running.pid);
        cell.ends_right(&running.pid);
    }
}

/// Said before anything is recorded, or begins.
fn the_folder_cannot_be_written(cell: &Cell) {
    let target = (cell.mode == Mode::Attach).then(|| cell.work(["work", "3"]));
    let started = cell.case.path("started").display().to_string();
    for options in [&[][..], &["-o", "r.json"], &["-o", "r.whyslow"]] {
        let mut command = cell.command(cell.case.path("whyslow"));
        command.args(cell.record(options)).current_dir("/proc");
        match &target {
            // It would take half a minute.
            Some(target) => command.args(["-d", "30s", "-p", &target.pid()]),
            None => command.args(["--", "touch", &started]),
        };
        let finished = Process::start(command).finish().ended_with(125);
        assert!(finished.stderr.contains("cannot write in the folder ."), "{}", finished.stderr);
        assert!(finished.stderr.contains("use -o to choose another"), "{}", finished.stderr);
    }
    assert_eq!(cell.outputs(), [""; 0]);
    if let Some(target) = target {
        cell.untouched(&target.pid());
        cell.ends_right(&target.pid());
    }
}
