//! The GIL: waits for it against the clock of the program that waits, who holds it,
//! and what computes without it.

use std::{collections::BTreeMap, fs::File, io::BufReader};

use serde_json::Value;
use whyslow_events::{Event, EventSource, Off, recording::Reader};

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

/// What the program says of the part of the window in which it held the GIL.
fn true_share(truth: &BTreeMap<String, u64>, report: &Value) -> f64 {
    truth["held"] as f64 / number(&report["window"], "duration_ns")
}

/// Waiting must agree with the clock of the program within 2 %, and 20 ms: a thread
/// waits for the GIL before its first call and, computing, between two as well.
fn waits_agree(threads: usize) {
    let (mut truth, report) = recorded("wait", &threads.to_string());
    truth.remove("hog").unwrap();
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
fn the_line_of_the_holder_is_named() {
    needs_root!();
    let (mut truth, report) = recorded("wait", "4");
    let hog_ns = truth.remove("hog").unwrap() as f64;
    let gil = &report["gil"];
    let edges = gil["edges"].as_array().unwrap();
    // The others have a number each in `truth`.
    let of_hog = |edge: &&Value| {
        truth.contains_key(&edge["waiter"].to_string())
            && !truth.contains_key(&edge["holder"].to_string())
    };
    let sum = |edges: &mut dyn Iterator<Item = &Value>| edges.map(|e| number(e, "ns")).sum::<f64>();
    let by_hog = sum(&mut edges.iter().filter(of_hog));
    let at_line = |edge: &&Value| {
        edge["holder_where"].as_str().is_some_and(|line| line.starts_with("spin (gil_waits.py:"))
    };
    let named = sum(&mut edges.iter().filter(of_hog).filter(at_line)) / by_hog;
    // While it computes, all others wait: they ask for it all the time.
    let blamed = by_hog / (hog_ns * truth.len() as f64);
    let [looks, agree] = ["holder_looks", "holder_agree"].map(|key| number(gil, key));
    println!(
        "{blamed:.3} of what the hog held, {named:.3} with its line; {agree} of {looks} looks agree"
    );
    assert!((0.8..1.1).contains(&blamed), "{by_hog} of {hog_ns}: {edges:#?}");
    assert!(named > 0.6, "{named}: {edges:#?}");
    assert!(looks > 20.0 && agree > 0.9 * looks, "{agree} of {looks}");
}

#[test]
fn threads_that_compute_in_python_compute_with_it() {
    needs_root!();
    let (_, report) = recorded("spin", "4");
    let gil = &report["gil"];
    // Beside other programs a thread is often looked at when it has just handed it over.
    assert!(number(gil, "with_ns") > 1e8, "{gil}");
    assert!(number(gil, "with_ns") > number(gil, "without_ns"), "{gil}");
}

/// The share of the time that it is held is the program's own, and its interval holds it.
fn held_as_it_says(mode: &str) -> (f64, Value) {
    let (truth, report) = recorded(mode, "2");
    let gil = &report["gil"];
    let (share, real) = (held_share(gil), true_share(&truth, &report));
    let interval = gil["locks"][0]["held_interval"].as_array().expect("looks");
    let [low, high] = [0, 1].map(|end: usize| interval[end].as_f64().unwrap());
    println!("{mode}: held {share:.3}, {low:.3} to {high:.3}; {real:.3}");
    println!("with {}, without {}", gil["with_ns"], gil["without_ns"]);
    assert!((low..=high).contains(&share) && high - low < 0.3, "{gil}");
    assert!((low - 0.05..=high + 0.05).contains(&real), "{real}: {gil}");
    (share, gil.clone())
}

#[test]
fn threads_that_hash_hardly_hold_it() {
    needs_root!();
    let (share, gil) = held_as_it_says("hash");
    assert!(share < 0.2, "{share}");
    assert!(number(&gil, "without_ns") > number(&gil, "with_ns"), "{gil}");
}

#[test]
fn threads_that_do_both_hold_it_for_their_part() {
    needs_root!();
    held_as_it_says("mix");
}

#[test]
#[ignore = "needs the machine for itself: --ignored --test-threads 1"]
fn threads_that_compute_in_python_hold_it_all_the_time() {
    needs_root!();
    let (share, _) = held_as_it_says("spin");
    assert!((0.9..=1.0).contains(&share), "{share}");
}

/// Two threads that compute in a sub-interpreter each, which has its own GIL.
const OWN_LOCKS: &str = r#"
import sys, threading
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
else:
    import _xxsubinterpreters as interpreters
CODE = """
import time
def sub():
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        sum(range(2000))
sub()
"""
def inside():
    interpreters.run_string(interpreters.create(), CODE)
threads = [threading.Thread(target=inside) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"#;

#[test]
fn interpreters_with_their_own_lock_do_not_mix() {
    needs_root!();
    let Some(python) = ["3.13", "3.12"].iter().find_map(|version| installed(version)) else {
        println!("NOTE no Python 3.12 or 3.13 here: no interpreters with their own lock");
        return;
    };
    let case = Case::new();
    case.write("program.py", OWN_LOCKS);
    case.run(&["record", "-q", "-o", "r.json", "--", &python, "program.py"]).ended_with(0);
    let report = sound(case.json("r.json"));
    let gil = &report["gil"];
    let own: Vec<f64> =
        gil["locks"].as_array().unwrap().iter().map(|it| number(it, "held_share")).collect();
    assert!(own.iter().filter(|share| **share > 0.2).count() >= 2, "a lock each: {gil}");
    // With one lock, each would wait for half of the time.
    let window = number(&report["window"], "duration_ns");
    for thread in gil["threads"].as_array().unwrap() {
        assert!(number(thread, "waiting_ns") < 0.1 * window, "{gil}");
    }
    assert!(number(gil, "with_ns") > 5.0 * number(gil, "without_ns"), "{gil}");
}

/// The parts of the waiting that the report has at each of three functions, all of it that
/// has a line, and those parts by the program's own clock.
fn places(mode: &str) -> ([f64; 3], f64, [f64; 3]) {
    const PLACES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/python/gil_places.py");
    let case = Case::new();
    let script = format!("exec python3 {PLACES} {mode} 2 > truth");
    case.run(&["record", "-q", "-o", "r.json", "--", "sh", "-c", &script]).ended_with(0);
    let truth: Value = serde_json::from_slice(&case.read("truth")).unwrap();
    let gil = sound(case.json("r.json"))["gil"].clone();
    let all = number(&gil, "waiting_ns");
    let at = |place: &dyn Fn(&str) -> bool| {
        let lines = gil["lines"].as_array().unwrap().iter();
        let there = lines.filter(|line| line["where"].as_str().is_some_and(place));
        there.map(|line| number(line, "waiting_ns")).sum::<f64>() / all
    };
    let functions = ["often", "seldom", "digest"];
    let seen = functions.map(|name| at(&|place| place.starts_with(&format!("{name} ("))));
    let real = functions.map(|name| number(&truth, name));
    let real = real.map(|ns| ns / real.iter().sum::<f64>());
    let named = at(&|_| true);
    println!("{mode}: {named:.3} has a line; {seen:.3?} of it, {real:.3?} by its own clock");
    assert!(number(&gil, "waiting_ns") > 1e8, "{gil}");
    (seen, named, real)
}

/// Most of these waits are over before anybody looks.
#[test]
fn short_waits_are_at_the_lines_at_which_the_program_waits() {
    needs_root!();
    let (seen, named, real) = places("long");
    assert!(named > 0.7, "{named}");
    for (seen, real) in seen.into_iter().zip(real) {
        assert!((seen / named - real).abs() < 0.25, "{seen} of {named}, {real}");
    }
    let [often, seldom, _] = seen;
    assert!(often > seldom, "{often} {seldom}");
}

#[test]
fn threads_that_live_for_milliseconds_wait_at_lines_too() {
    needs_root!();
    let (seen, named, _) = places("brief");
    // Some wait before their first call, and who begins them waits elsewhere.
    assert!(named > 0.5 && seen.iter().sum::<f64>() > 0.3, "{seen:?} of {named}");
}

/// A Python under pyenv.
fn installed(version: &str) -> Option<String> {
    let folder = std::env::home_dir()?.join(".pyenv/versions");
    let versions = std::fs::read_dir(folder).ok()?.flatten();
    let mut programs = versions.map(|found| found.path().join(format!("bin/python{version}")));
    programs.find(|program| program.is_file()).map(|program| program.display().to_string())
}

/// Who waits for the GIL wakes every 5 ms and waits again: that is one wait, which
/// is seen once, and has its calls all the time.
#[test]
fn a_wait_that_goes_on_is_not_looked_at_again() {
    needs_root!();
    let case = Case::new();
    let script = format!("exec python3 {PROGRAM} spin 8 2 > truth");
    let outputs = ["-o", "r.json", "-o", "r.whyslow"];
    case.run(&[&["record", "-q"], &outputs[..], &["--", "sh", "-c", &script]].concat())
        .ended_with(0);
    let file = BufReader::new(File::open(case.path("r.whyslow")).unwrap());
    let mut reader = Reader::new(file).unwrap();
    let (mut waits, mut looks) = (0, 0);
    while let Some(timed) = reader.next_event().unwrap() {
        looks += u32::from(matches!(timed.event, Event::Look { .. }));
        let Event::SwitchOut { off, .. } = timed.event else { continue };
        waits += u32::from(matches!(off, Off::Blocked { .. }));
    }
    let report = sound(case.json("r.json"));
    let gil = |wait: &&Value| wait["state"] == "lock.gil";
    let (mut all, mut named) = (0.0, 0.0);
    for wait in report["waits"].as_array().unwrap().iter().filter(gil) {
        let ns = number(wait, "total_ns");
        all += ns;
        let place = wait["where"].as_str().unwrap_or_default();
        named += if place.starts_with("spin (gil_waits.py:") { ns } else { 0.0 };
    }
    println!("{looks} looks in {waits} waits, {:.3} of the waiting with its line", named / all);
    assert!(waits > 500, "{waits}");
    assert!(looks * 3 < waits, "{looks} looks in {waits} waits");
    assert!(named > 0.7 * all, "{named} of {all}: {}", report["waits"]);
}
