//! What a report advises, on programs that can run under each model.

use std::path::PathBuf;

use serde_json::Value;

use crate::{
    case::{Case, needs_root},
    report::sound,
};

/// The prescription for `fixtures/predictions/PROGRAM MODEL WORKERS`.
fn prescription(program: &str, model: &str, workers: &str) -> Value {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/predictions");
    let program = folder.join(program).display().to_string();
    recorded(&Case::new(), &[&program, model, workers])
}

/// The prescription for Python with these words.
fn recorded(case: &Case, words: &[&str]) -> Value {
    let record = ["record", "-q", "-o", "r.json", "--", "python3"];
    case.run(&[&record[..], words].concat()).ended_with(0);
    sound(case.json("r.json"))["prescription"].clone()
}

fn names(prescription: &Value, id: &str) -> bool {
    let found = prescription["antipatterns"].as_array().unwrap();
    found.iter().any(|it| it["id"] == id)
}

#[test]
fn five_sleeps_are_advised_to_be_five_threads() {
    needs_root!();
    let it = prescription("sleeps.py", "sequential", "1");
    assert_eq!(it["model"], "threads", "{it:#}");
    assert_eq!(it["predicted"]["workers"], 5, "{it:#}");
    assert!(names(&it, "sequential-waits"), "{it:#}");
    let [low, high] = [0, 1].map(|end| it["predicted"]["speedup"][end].as_f64().unwrap());
    assert!(low < high && high <= 5.0, "{it:#}");
}

#[test]
fn sleeps_in_threads_are_left_as_they_are() {
    needs_root!();
    let it = prescription("sleeps.py", "threads", "5");
    assert_eq!(it["model"], "keep", "{it:#}");
    assert!(it["because"].as_array().is_some_and(|because| !because.is_empty()), "{it:#}");
}

/// A server's master: it starts a worker and looks after it every now and then.
const MASTER: &str = r#"
import os, threading, time
def spin():
    end = time.monotonic() + 1
    while time.monotonic() < end:
        sum(range(2000))
worker = os.fork()
if worker == 0:
    threads = [threading.Thread(target=spin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os._exit(0)
while os.waitpid(worker, os.WNOHANG) == (0, 0):
    time.sleep(0.1)
"#;

#[test]
fn who_looks_after_a_worker_is_none_itself() {
    needs_root!();
    let case = Case::new();
    case.write("master.py", MASTER);
    let it = recorded(&case, &["master.py"]);
    assert!(names(&it, "threads-on-cpu"), "{it:#}");
}
