//! CPython without a GIL, where the machine has one: its calls are read, its threads
//! compute side by side, and its locks have names.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::case::{Case, needs_root};
use crate::report::sound;

/// Computes in two threads, without anything that they share.
const COMPUTE: &str = "
import threading, time
def compute():
    while time.thread_time() < 0.5:
        for _ in range(1000):
            pass
threads = [threading.Thread(target=compute) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
";

/// Three threads take turns with a lock, and one waits for what another hands over.
const LOCKS: &str = "
import queue, threading, time
lock, handed = threading.Lock(), queue.Queue()
def turns():
    for _ in range(60):
        with lock:
            time.sleep(0.002)
def awaits():
    while handed.get():
        pass
threads = [threading.Thread(target=turns) for _ in range(3)]
threads.append(threading.Thread(target=awaits))
for thread in threads:
    thread.start()
for _ in range(30):
    time.sleep(0.01)
    handed.put(1)
handed.put(0)
for thread in threads:
    thread.join()
";

/// A free-threaded interpreter on the path.
fn interpreter() -> Option<String> {
    let works = |name: &String| Command::new(name).arg("-c").output().is_ok();
    let found = (13..=15).map(|minor| format!("python3.{minor}t")).find(works);
    if found.is_none() {
        println!("NOTE python3.13t: no free-threaded build is on the path; build one to have it");
    }
    found
}

fn record(case: &Case, python: &str, program: &str) -> Value {
    fs::write(case.path("program.py"), program).unwrap();
    case.run(&["record", "-o", "r.json", "--", python, "program.py"]).ended_with(0);
    sound(case.json("r.json"))
}

fn state(report: &Value, state: &str) -> u64 {
    report["ledger"]["process"][state].as_u64().unwrap_or(0)
}

#[test]
fn threads_that_compute_need_no_gil() {
    needs_root!();
    let Some(python) = interpreter() else { return };
    let case = Case::new();
    let report = record(&case, &python, COMPUTE);
    let runtime = report["target"]["runtime"].as_str().unwrap();
    assert!(runtime.starts_with("cpython 3.") && runtime.ends_with(" free-threaded"), "{runtime}");
    assert!(report["gil"].is_null(), "{}", report["gil"]);
    assert_eq!(state(&report, "lock.gil"), 0);
    let rows = report["functions"]["rows"].as_array().unwrap();
    let compute = rows.iter().find(|row| row["function"] == "compute").expect("it computes");
    assert!(compute["total"]["cpu_ns"].as_u64().unwrap() > 800_000_000, "{compute}");
    let because = report["prescription"]["because"].to_string();
    assert!(!because.contains("holds the interpreter lock"), "{because}");
}

#[test]
fn a_lock_is_told_from_what_is_handed_over() {
    needs_root!();
    let Some(python) = interpreter() else { return };
    let case = Case::new();
    let report = record(&case, &python, LOCKS);
    let waits = report["waits"].as_array().unwrap();
    let spent = |state: &str, place: &str| -> u64 {
        let at = |wait: &&Value| wait["where"].as_str().is_some_and(|it| it.starts_with(place));
        let of = waits.iter().filter(|wait| wait["state"] == state).filter(at);
        of.map(|wait| wait["total_ns"].as_u64().unwrap()).sum()
    };
    // Two wait while the third has it: 360 times 2 ms.
    let (locked, handed) = (spent("lock.user", ""), spent("sync.thread", "Condition.wait"));
    assert!(locked > 400_000_000 && handed > 200_000_000, "{waits:#?}");
    assert_eq!(spent("lock.user", "Condition.wait"), 0, "{waits:#?}");
}
