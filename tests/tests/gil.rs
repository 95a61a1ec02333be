//! The GIL: waits for it against the clock of the program that waits, who holds it,
//! and what computes without it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    case::{Case, needs_root},
    report::{sound, time},
};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/python/gil_waits.py");

/// What the program says of itself, and the report.
fn recorded(mode: &str, threads: &str) -> (BTreeMap<String, u64>, Value) {
    let case = Case::new();
    // By realtime priority it gets a CPU whatever else runs: a preempted call has
    // not waited for the GIL, but its clock does not know.
    let first = if mode == "wait" { "chrt -f 10 " } else { "" };
    let script = format!("exec {first}python3 {PROGRAM} {mode} {threads} 2 > truth");
    case.run(&["record", "-q", "-o", "r.json", "--", "sh", "-c", &script]).ended_with(0);
    (serde_json::from_slice(&case.read("truth")).unwrap(), sound(case.json("r.json")))
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key}: {value}"))
}

fn held_share(gil: &Value) -> f64 {
    let [lock] = &gil["locks"].as_array().unwrap()[..] else { panic!("one lock: {gil}") };
    number(lock, "held_share")
}

/// Waiting must agree with the clock of the program within 2 %, and 20 ms: a thread
/// waits for the GIL before its first call and, computing, between two as well.
fn waits_agree(threads: usize) {
    let (truth, report) = recorded("wait", &threads.to_string());
    assert_eq!(truth.len(), threads - 1);
    let gil = &report["gil"];
    let rows = gil["threads"].as_array().unwrap();
    let (mut all, mut seen) = (0.0, 0.0);
    for (tid, waited) in truth {
        let row =
            rows.iter().find(|row| row["tid"].as_u64() == tid.parse().ok()).expect("a thread");
        all += waited as f64;
        seen += number(row, "waiting_ns");
        let wrong = (number(row, "waiting_ns") - waited as f64).abs();
        assert!(wrong <= 0.02 * waited as f64 + 20e6, "{tid} waited {waited}: {row}");
    }
    println!("{threads} threads: {seen} of {all}, {:.4}", seen / all);
    assert!(all > 1e9 && (seen / all - 1.0).abs() <= 0.02, "{seen} of {all}: {gil}");
    assert!(time(&report, "lock.gil") as f64 <= number(gil, "waiting_ns"), "{gil}");
}

#[test]
#[ignore = "needs the machine for itself: --ignored --test-threads 1"]
fn waits_agree_with_2_threads() {
    needs_root!();
    waits_agree(2);
}

#[test]
#[ignore = "needs the machine for itself: --ignored --test-threads 1"]
fn waits_agree_with_4_threads() {
    needs_root!();
    waits_agree(4);
}

#[test]
#[ignore = "needs the machine for itself: --ignored --test-threads 1"]
fn waits_agree_with_16_threads() {
    needs_root!();
    waits_agree(16);
}

#[test]
#[ignore = "needs the machine for itself: --ignored --test-threads 1"]
fn the_line_of_the_holder_is_named() {
    needs_root!();
    let (truth, report) = recorded("wait", "4");
    let gil = &report["gil"];
    let edges = gil["edges"].as_array().unwrap();
    let of = |edge: &&Value| truth.contains_key(&edge["waiter"].to_string());
    let hog = |edge: &&Value| {
        edge["holder_where"].as_str().is_some_and(|line| line.starts_with("hog (gil_waits.py:"))
    };
    let sum = |edges: &mut dyn Iterator<Item = &Value>| edges.map(|e| number(e, "ns")).sum::<f64>();
    let (all, by_hog) =
        (sum(&mut edges.iter().filter(of)), sum(&mut edges.iter().filter(of).filter(hog)));
    // The waiters hold it in turns, too. Nothing else is known of how much.
    println!("hog: {by_hog} of {all}");
    assert!(all > 1e9 && by_hog > 0.4 * all, "{by_hog} of {all}: {edges:#?}");
}

#[test]
fn threads_that_compute_in_python_compute_with_it() {
    needs_root!();
    let (_, report) = recorded("spin", "4");
    let gil = &report["gil"];
    // Beside other programs a thread is often looked at when it has just handed it over.
    assert!(number(gil, "with_ns") > 5e8, "{gil}");
    assert!(number(gil, "with_ns") > number(gil, "without_ns"), "{gil}");
}

#[test]
#[ignore = "needs the machine for itself: --ignored --test-threads 1"]
fn threads_that_compute_in_python_hold_it_all_the_time() {
    needs_root!();
    let (_, report) = recorded("spin", "4");
    let gil = &report["gil"];
    let share = held_share(gil);
    println!("held {share}, with {}, without {}", gil["with_ns"], gil["without_ns"]);
    assert!((0.9..=1.0).contains(&share), "{gil}");
    assert!(number(gil, "with_ns") > 10.0 * number(gil, "without_ns"), "{gil}");
}

#[test]
fn threads_that_hash_do_without_it() {
    needs_root!();
    let (_, report) = recorded("hash", "2");
    let gil = &report["gil"];
    println!("with {}, without {}", gil["with_ns"], gil["without_ns"]);
    assert!(number(gil, "without_ns") > 1e9, "{gil}");
    assert!(number(gil, "without_ns") > number(gil, "with_ns"), "{gil}");
}
