//! `--engine procfs`: no perf events, as root and as an ordinary user, who is
//! the same test again with another user id.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    case::{Case, NOBODY, is_root, needs_root, skip},
    process::{Finished, Process},
    report::{sound, time, verdict},
};

/// The interpreter itself: what is first in the path may be a script that looks for one.
const PYTHON: &str = "/usr/bin/python3";
const SECONDS: &str = "import sys, time\nend = time.monotonic() + float(sys.argv[1])\n";

const COMPUTES: &str = "while time.monotonic() < end: sum(range(1000))";
const SLEEPS: &str = "while time.monotonic() < end: time.sleep(0.01)";
const ASKS: &str = "\
import os, socket
s = socket.create_connection(('127.0.0.1', int(os.environ['PORT'])))
while time.monotonic() < end: s.send(b'?'); s.recv(1)";
const READS: &str = "\
import os, threading
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(r)
    while time.monotonic() < end: time.sleep(0.02); os.write(w, b'x')
    os._exit(0)
os.close(w)
while os.read(r, 1): pass
os.waitpid(pid, 0)";
const CONVOY: &str = "\
import threading
lock = threading.Lock()
def work():
    while time.monotonic() < end:
        with lock: time.sleep(0.02)
        time.sleep(0.0001)
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]";
const GIL: &str = "\
import threading
def work():
    while time.monotonic() < end: sum(range(1000))
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]";
const DISK: &str = "\
import mmap, os
fd = os.open('data', os.O_RDONLY | os.O_DIRECT)
block = mmap.mmap(-1, 1 << 20)
while time.monotonic() < end:
    for at in range(0, 16 << 20, 1 << 20): os.preadv(fd, [block], at)";
const SERVES: &str = "\
import socket, threading
s = socket.create_server(('127.0.0.1', 0))
threading.Timer(end - time.monotonic(), lambda: __import__('os')._exit(0)).start()
s.accept()";

/// Who runs whyslow and the program.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    We,
    Ordinary,
}

/// A folder and a binary that an ordinary user can use, too.
struct Place {
    case: Case,
    who: Who,
}

impl Place {
    fn new(who: Who) -> Place {
        let case = Case::new();
        if who == Who::Ordinary {
            let binary = case.whyslow(&[]).get_program().to_owned();
            fs::copy(binary, case.path("whyslow")).unwrap();
            fs::set_permissions(case.path("."), fs::Permissions::from_mode(0o777)).unwrap();
        }
        Place { case, who }
    }

    fn as_who(&self, mut command: Command) -> Command {
        if self.who == Who::Ordinary {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn whyslow(&self, arguments: &[&str]) -> Command {
        let command = match self.who {
            Who::We => self.case.whyslow(arguments),
            Who::Ordinary => {
                let mut command = Command::new(self.case.path("whyslow"));
                command.args(arguments).current_dir(self.case.path(".")).stdin(Stdio::null());
                command
            }
        };
        self.as_who(command)
    }

    fn launch(&self, engine: &str, script: &str, seconds: &str) -> Value {
        let script = format!("{SECONDS}{script}");
        let mut whyslow = self.whyslow(&[
            "record", "-q", "--engine", engine, "-o", "r.json", "--", PYTHON, "-c", &script,
            seconds,
        ]);
        whyslow.env("PORT", answering_server());
        Process::start(whyslow).finish().ended_with(0);
        self.report("launch")
    }

    fn attach(&self, script: &str) -> Value {
        let script = format!("{SECONDS}print(flush=True)\n{script}");
        self.case.write("log", "");
        fs::set_permissions(self.case.path("log"), fs::Permissions::from_mode(0o666)).unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec /usr/bin/python3 -c \"$0\" 60 >log", &script]);
        shell.current_dir(self.case.path(".")).stdin(Stdio::null()).env("PORT", answering_server());
        let mut target = Process::start(self.as_who(shell));
        self.case.until_line(&mut target, "log");
        let record =
            ["record", "-q", "--engine", "procfs", "-d", "1s", "-o", "r.json", "-p", &target.pid()];
        Process::start(self.whyslow(&record)).finish().ended_with(0);
        target.expect_running();
        self.report("attach")
    }

    fn report(&self, mode: &str) -> Value {
        let report = sound(self.case.json("r.json"));
        assert_eq!(report["target"]["mode"], mode);
        assert_eq!(report["engine"]["name"], "procfs");
        let capabilities = report["engine"]["capabilities"].as_array().unwrap();
        assert!(!capabilities.iter().any(|it| it == "exact-switches"), "{capabilities:?}");
        assert!(report["quality"]["sampling"]["looks"].as_u64().unwrap() > 0);
        let difference = report["quality"]["oncpu_vs_kernel"].as_f64();
        assert!(difference.is_none_or(|it| it.abs() < 0.01), "{difference:?}");
        report
    }
}

/// The port of a server that takes 20 ms for an answer.
fn answering_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = |mut stream: TcpStream| {
        let mut byte = [0];
        while stream.read_exact(&mut byte).is_ok() {
            thread::sleep(Duration::from_millis(20));
            if stream.write_all(&byte).is_err() {
                break;
            }
        }
    };
    thread::spawn(move || listener.incoming().flatten().for_each(answer));
    port.to_string()
}

/// Of the time that is neither computing nor wanting to, `most` is in `state`.
fn waits_in(report: &Value, state: &str, most: f64) {
    let all = time(report, "");
    let waited = all - time(report, "cpu") - time(report, "runq");
    let part = time(report, state) as f64 / waited as f64;
    let ledger = &report["ledger"]["process"];
    assert!(waited * 10 > all, "it hardly waits: {ledger}");
    assert!(part >= most, "{state} {part}: {ledger}");
}

fn computes(report: &Value) {
    let busy = time(report, "cpu") + time(report, "runq");
    assert!(busy as f64 > 0.8 * time(report, "") as f64, "{}", report["ledger"]["process"]);
    assert!(time(report, "cpu") > 0);
}

/// Launches and attaches, as us and as an ordinary user.
fn everywhere(script: &str, prepare: impl Fn(&Place), check: impl Fn(&Value)) {
    if !fs::exists(PYTHON).unwrap() {
        skip!("no {PYTHON}");
    }
    let users: &[Who] = if is_root() { &[Who::We, Who::Ordinary] } else { &[Who::We] };
    for &who in users {
        let place = Place::new(who);
        prepare(&place);
        check(&place.launch("procfs", script, "1.0"));
        let place = Place::new(who);
        prepare(&place);
        check(&place.attach(script));
    }
}

fn nothing(_: &Place) {}

#[test]
fn a_loop_computes() {
    everywhere(COMPUTES, nothing, computes);
}

#[test]
fn a_timer_is_sleep() {
    everywhere(SLEEPS, nothing, |report| waits_in(report, "sleep", 0.9));
}

#[test]
fn an_answer_that_is_awaited_is_the_network() {
    everywhere(ASKS, nothing, |report| waits_in(report, "io.network", 0.9));
}

#[test]
fn a_pipe_whose_other_end_is_inside_holds_nothing_up() {
    everywhere(READS, nothing, |report| {
        waits_in(report, "io.ipc", 0.3);
        let shares = &report["bottleneck"]["shares"];
        let [ipc, sleep] = ["io.ipc", "sleep"].map(|key| shares[key].as_f64().unwrap_or(0.0));
        assert!(sleep > 4.0 * ipc, "{shares}");
    });
}

#[test]
fn threads_that_sleep_under_a_lock_wait_for_it() {
    everywhere(CONVOY, nothing, |report| {
        waits_in(report, "lock.user", 0.4);
        assert_eq!(verdict(report).0, "lock-bound", "{}", report["ledger"]["process"]);
    });
}

#[test]
fn threads_that_compute_in_python_wait_for_its_lock() {
    everywhere(GIL, nothing, |report| {
        waits_in(report, "lock.gil", 0.5);
        assert!(report["quality"]["scripts"]["accepted"].as_u64().unwrap() > 0);
    });
}

#[test]
fn reads_past_the_page_cache_are_the_disk() {
    // /tmp may be in memory, where nobody waits for a disk.
    let data = vec![7_u8; 16 << 20];
    let here = Case::new();
    here.write("data", &data);
    let direct = Command::new("dd")
        .args(["if=data", "of=/dev/null", "bs=1M", "count=1", "iflag=direct"])
        .current_dir(here.path("."))
        .output();
    if !direct.is_ok_and(|dd| dd.status.success()) {
        skip!("no O_DIRECT in the temporary folder");
    }
    let write = |place: &Place| place.case.write("data", &data);
    everywhere(DISK, write, |report| waits_in(report, "io.disk", 0.8));
}

#[test]
fn a_server_that_nobody_calls_is_idle() {
    everywhere(SERVES, nothing, |report| {
        assert!(time(report, "idle") > 0, "{}", report["ledger"]["process"]);
    });
}

#[test]
fn an_ordinary_user_is_told_what_perf_events_would_need() {
    needs_root!();
    if fs::read_to_string("/proc/sys/kernel/perf_event_paranoid")
        .is_ok_and(|text| text.trim().parse::<i32>().is_ok_and(|paranoid| paranoid <= 2))
        && fs::metadata("/sys/kernel/tracing").is_ok_and(|it| it.permissions().mode() & 1 == 1)
    {
        skip!("perf events are free here");
    }
    let place = Place::new(Who::Ordinary);
    let doctor =
        |arguments: &[&str]| -> Finished { Process::start(place.whyslow(arguments)).finish() };
    let found = doctor(&["doctor", "--json"]).ended_with(1);
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(found["schema"], "whyslow.doctor/1");
    assert_ne!(found["tier"], "privileged perf");
    let checks = found["checks"].as_array().unwrap();
    let capabilities = checks.iter().find(|check| check["id"] == "capabilities").unwrap();
    let remedy = capabilities["remedy"].as_str().unwrap();
    assert!(remedy.starts_with("setcap cap_perfmon,cap_sys_ptrace,cap_syslog"), "{remedy}");
    let text = doctor(&["doctor"]).ended_with(1);
    assert!(String::from_utf8_lossy(&text.stdout).contains(remedy));
}

#[test]
fn root_is_told_that_the_best_engine_runs() {
    needs_root!();
    let case = Case::new();
    let found: Value = serde_json::from_slice(&case.run(&["doctor", "--json"]).stdout).unwrap();
    assert_eq!(found["tier"], "privileged perf", "{found:#}");
    assert_eq!(found["cannot_see"].as_array().unwrap().len(), 0);
}
