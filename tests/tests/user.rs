//! An ordinary user without privilege: own programs are recorded all the same,
//! and the report says what cannot be seen.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::{
        signal::Signal,
        statfs::{TMPFS_MAGIC, statfs},
    },
    unistd::geteuid,
};
use serde_json::Value;

use crate::{
    case::{Case, NOBODY, is_root, refuses_perf, skip},
    process::{Finished, Process, until},
    report::{share, sound, time, verdict},
};

/// How long a workload lets others wait: many looks.
const WHILE: Duration = Duration::from_millis(400);
const SPIN: &str = "while :; do :; done";

/// Ends a test on a host that gives an ordinary user no perf events.
macro_rules! needs_perf {
    () => {
        if let Some(reason) = refuses_perf() {
            skip!("{reason}");
        }
    };
}

/// A folder of the user's.
fn case() -> Case {
    let case = Case::new();
    let binary = case.whyslow(&[]);
    // Where the user can get at it.
    fs::copy(binary.get_program(), case.path("whyslow")).unwrap();
    if is_root() {
        chown(case.path("."), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    case
}

fn user() -> u32 {
    if is_root() { NOBODY } else { geteuid().as_raw() }
}

fn as_user(command: &mut Command) -> &mut Command {
    match is_root() {
        true => command.uid(NOBODY).gid(NOBODY),
        false => command,
    }
}

/// The binary as the user's, which writes `r.json`.
fn whyslow(case: &Case, arguments: &[&str]) -> Command {
    let mut command = Command::new(case.path("whyslow"));
    command.args(["record", "-q", "-o", "r.json"]).args(arguments);
    command.current_dir(case.path(".")).stdin(Stdio::null());
    as_user(&mut command);
    command
}

fn launch(case: &Case, command: &[&str]) -> Finished {
    Process::start(whyslow(case, &[&["--"], command].concat())).finish()
}

fn attach(case: &Case, target: &Process, duration: &str) -> Value {
    let arguments = ["-d", duration, "-p", &target.pid()];
    Process::start(whyslow(case, &arguments)).finish().ended_with(0);
    report(case)
}

/// A program of the user's.
fn running(program: &str, arguments: &[&str]) -> Process {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    as_user(&mut command);
    Process::start(command)
}

/// The report, which says what the user does without.
fn report(case: &Case) -> Value {
    let report = sound(case.json("r.json"));
    let engine = &report["engine"];
    assert_eq!(engine["name"], "perf");
    let can: Vec<&str> = engine["capabilities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|can| can.as_str().unwrap())
        .collect();
    assert!(can.contains(&"exact-switches") && can.contains(&"causes"), "{engine}");
    for cannot in ["wakeups", "neighbours", "kernel-stacks"] {
        assert!(!can.contains(&cannot), "{engine}");
    }
    let first = &engine["fallbacks"][0];
    assert_eq!(first["wanted"], "system-wide scheduler events");
    assert!(!first["errno"].as_str().unwrap().is_empty(), "{first}");
    assert!(!first["remedy"].as_str().unwrap().is_empty(), "{first}");
    report
}

fn python(case: &Case, script: &str) -> Option<Value> {
    if !fs::exists("/usr/bin/python3").unwrap() {
        return None;
    }
    launch(case, &["/usr/bin/python3", "-c", script]).ended_with(0);
    Some(report(case))
}

#[test]
fn a_loop_is_recorded_to_its_exit_code_in_files_of_the_user() {
    needs_perf!();
    let case = case();
    let script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; exit 7";
    let mut command = whyslow(&case, &["-o", "r.whyslow", "--", "sh", "-c", script]);
    command.env("LC_ALL", "C");
    Process::start(command).finish().ended_with(7);
    let report = report(&case);
    assert_eq!(report["target"]["exit"]["code"], 7);
    assert!(share(&report, "cpu") + share(&report, "runq") > 0.9, "{}", report["bottleneck"]);
    assert!(time(&report, "cpu.user") > time(&report, "cpu.kernel"), "{}", report["ledger"]);
    let off = report["quality"]["oncpu_vs_kernel"].as_f64().unwrap();
    assert!(off.abs() < 0.02, "on-CPU time differs from the kernel's by {off}");
    for name in ["r.json", "r.whyslow"] {
        let file = fs::metadata(case.path(name)).unwrap();
        assert_eq!((file.uid(), file.permissions().mode() & 0o777), (user(), 0o600), "{name}");
    }
}

#[test]
fn a_loop_in_the_kernel_is_the_kernel_s() {
    needs_perf!();
    let case = case();
    let script = "exec head -c 150000000 /dev/urandom > /dev/null";
    launch(&case, &["sh", "-c", script]).ended_with(0);
    let report = report(&case);
    let (kernel, user) = (time(&report, "cpu.kernel"), time(&report, "cpu.user"));
    assert!(kernel > 2 * user, "{kernel} ns in the kernel, {user} in user code");
}

#[test]
fn a_running_loop_is_found() {
    needs_perf!();
    let case = case();
    let target = running("sh", &["-c", SPIN]);
    let report = attach(&case, &target, "300ms");
    assert!(share(&report, "cpu") + share(&report, "runq") > 0.9, "{}", report["bottleneck"]);
    assert!(time(&report, "cpu.user") > 0);
}

#[test]
fn a_sleeper_sleeps_launched_and_found() {
    needs_perf!();
    let case = case();
    launch(&case, &["sleep", "0.4"]).ended_with(0);
    let launched = report(&case);
    assert_eq!(verdict(&launched), ("io-bound", "sleep"));
    assert!(share(&launched, "sleep") > 0.9, "{}", launched["bottleneck"]);
    let case = self::case();
    let target = running("sleep", &["100"]);
    let stat = format!("/proc/{}/stat", target.pid());
    until("the sleep", || {
        fs::read_to_string(&stat).ok().filter(|stat| stat.contains("(sleep) S "))
    });
    let found = attach(&case, &target, "300ms");
    assert_eq!(verdict(&found), ("io-bound", "sleep"));
    assert_eq!(Some(time(&found, "sleep")), found["window"]["duration_ns"].as_u64());
}

#[test]
fn a_stopped_program_is_stopped() {
    needs_perf!();
    let case = case();
    let target = running("sh", &["-c", SPIN]);
    let arguments = ["-o", "r.whyslow", "-d", "600ms", "-p", &target.pid()];
    let mut recorder = Process::start(whyslow(&case, &arguments));
    case.until_recorded(&mut recorder, "r.whyslow", 0);
    target.signal(Signal::SIGSTOP);
    recorder.finish().ended_with(0);
    let report = report(&case);
    assert!(time(&report, "stopped") > 0, "{}", report["ledger"]);
    assert_eq!(time(&report, "memory"), 0, "{}", report["ledger"]);
}

#[test]
fn an_answer_that_takes_its_time_is_the_network_s() {
    needs_perf!();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut client, _) = server.accept().unwrap();
        thread::sleep(WHILE);
        client.write_all(b"!").unwrap();
        // Until the client has gone.
        let _ = client.read(&mut [0]);
    });
    let case = case();
    let script = format!(
        "import socket; s = socket.create_connection(('127.0.0.1', {port})); print(s.recv(1))"
    );
    let Some(report) = python(&case, &script) else { skip!("no python3") };
    assert_eq!(verdict(&report), ("io-bound", "network"));
}

#[test]
fn a_pipe_that_others_fill_is_ipc() {
    needs_perf!();
    let case = case();
    let mut command = whyslow(&case, &["--", "head", "-c", "1"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    thread::sleep(WHILE);
    input.write_all(b"!").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"!");
    assert_eq!(verdict(&report(&case)), ("io-bound", "ipc"));
}

#[test]
fn threads_that_sleep_under_a_lock_are_lock_bound() {
    needs_perf!();
    let case = case();
    let script = "\
import threading, time
lock = threading.Lock()
def work():
    for _ in range(30):
        with lock:
            time.sleep(0.005)
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
";
    let Some(report) = python(&case, script) else { skip!("no python3") };
    assert_eq!(verdict(&report).0, "lock-bound", "{}", report["bottleneck"]);
}

#[test]
fn python_threads_that_compute_wait_for_the_gil() {
    needs_perf!();
    let case = case();
    let script = "\
import threading
def work():
    for i in range(4000000):
        pass
threads = [threading.Thread(target=work) for _ in range(3)]
[t.start() for t in threads]
[t.join() for t in threads]
";
    let Some(report) = python(&case, script) else { skip!("no python3") };
    let (gil, cpu) = (time(&report, "lock.gil"), time(&report, "cpu"));
    assert!(gil > cpu, "{gil} ns for the GIL, {cpu} on the CPU: {}", report["ledger"]["process"]);
}

#[test]
fn a_file_that_is_synced_waits_for_the_disk() {
    needs_perf!();
    let case = case();
    if statfs(&case.path(".")).unwrap().filesystem_type() == TMPFS_MAGIC {
        skip!("the folder is not on a disk");
    }
    // So much at once that a look meets the wait, however fast the disk.
    let script = "\
import os, time
file = os.open('data', os.O_CREAT | os.O_WRONLY)
data = bytes(16 << 20)
end = time.monotonic() + 1
while time.monotonic() < end:
    os.pwrite(file, data, 0)
    os.fsync(file)
";
    let Some(report) = python(&case, script) else { skip!("no python3") };
    let (disk, unknown) = (time(&report, "io.disk"), time(&report, "unknown"));
    assert!(disk > 0, "{disk} ns for the disk, {unknown} unknown");
    // What was not looked at in time is unknown, and nothing else.
    let elsewhere = time(&report, "io.") - disk;
    assert!(elsewhere * 10 < disk, "{elsewhere} ns elsewhere: {}", report["ledger"]["process"]);
}

/// Whoever is seen there first, early or late, tells of all that take as long.
#[test]
fn waits_before_the_first_look_are_like_those_after_it() {
    needs_perf!();
    let case = case();
    // Each length has digits of its own, and takes its turn twice.
    let script = "\
import time
waited = 0
for us in (20000, 5000, 1000, 250, 60) * 2:
    end = time.monotonic() + 0.15
    while time.monotonic() < end:
        began = time.monotonic_ns()
        time.sleep(us / 1e6)
        waited += time.monotonic_ns() - began
open('truth', 'w').write(str(waited))
";
    let Some(report) = python(&case, script) else { skip!("no python3") };
    let waited: u64 = case.text("truth").parse().unwrap();
    let (asleep, unknown) = (time(&report, "sleep"), time(&report, "unknown"));
    let ledger = &report["ledger"]["process"];
    assert!(unknown * 200 < waited, "{unknown} of {waited} ns unknown: {ledger}");
    // Its clock counts the way to the CPU, too.
    let ours = asleep + time(&report, "runq");
    assert!(ours * 10 > waited * 9 && asleep * 20 < waited * 21, "{waited} ns: {ledger}");
    let fallbacks = report["engine"]["fallbacks"].as_array().unwrap();
    let said = fallbacks.iter().find(|it| it["wanted"] == "the cause of each wait");
    let said = said.and_then(|it| it["got"].as_str()).expect("it says how much is lent");
    assert!(said.contains("taken to be like"), "{said}");
}

#[test]
fn processes_joined_by_pipes_are_bound_by_the_slow_one() {
    needs_perf!();
    let case = case();
    launch(&case, &["sh", "-c", "yes | (sleep 0.5; head -c 1000) | cat"]).ended_with(0);
    let report = report(&case);
    assert_eq!(verdict(&report).0, "io-bound", "{}", report["bottleneck"]);
    assert!(time(&report, "sleep") > 400_000_000, "{}", report["ledger"]["process"]);
}

/// The shell waits before it is known what is mapped where.
#[test]
fn who_starts_a_program_and_waits_for_it_has_its_whole_stack() {
    needs_perf!();
    let case = case();
    launch(&case, &["sh", "-c", "sleep 0.5; true"]).ended_with(0);
    let stacks = &report(&case)["quality"]["stacks"]["waits"];
    let whole = ["complete", "lent"].map(|how| stacks[how].as_f64().unwrap());
    assert!(whole.iter().sum::<f64>() > 0.9, "{stacks}");
}

#[test]
fn another_user_s_program_is_refused() {
    needs_perf!();
    if !is_root() {
        skip!("not root: there is no program of another user's");
    }
    let case = case();
    let target = Process::shell("exec sleep 100");
    let finished = Process::start(whyslow(&case, &["-d", "1", "-p", &target.pid()])).finish();
    let finished = finished.ended_with(125);
    assert!(finished.stderr.contains("EACCES"), "{}", finished.stderr);
    assert_eq!(case.files(), ["whyslow"]);
}
