//! Event loops of Python: programs that know how long they held up their own, under
//! every version that is there.

use std::{env, fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    case::{Case, needs_root, skip},
    process::Process,
    report::{sound, time},
};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/python/event_loop.py");
/// The program is to wait for no CPU: what it loses so is not what is asked here.
const AT_ONCE: [&str; 3] = ["chrt", "-f", "1"];
const MS: u64 = 1_000_000;

/// The Pythons of pyenv, and the system's.
fn interpreters() -> Vec<String> {
    let versions = env::var_os("HOME")
        .and_then(|home| fs::read_dir(Path::new(&home).join(".pyenv/versions")).ok())
        .into_iter()
        .flatten()
        .flatten();
    let mut found: Vec<String> = versions
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let minor: u32 = name.strip_prefix("3.")?.split('.').next()?.parse().ok()?;
            let path = entry.path().join(format!("bin/python3.{minor}"));
            (minor >= 8 && path.is_file()).then(|| path.display().to_string())
        })
        .collect();
    found.sort();
    found.push("python3".to_owned());
    found
}

/// The one loop in a report, and the stalls that the program measured.
fn launched(python: &[&str], program: &str, mode: &str) -> (Value, Vec<u64>) {
    let (report, truth) = recorded(python, program, mode);
    (only(&report), truth)
}

fn recorded(python: &[&str], program: &str, mode: &str) -> (Value, Vec<u64>) {
    let case = Case::new();
    let mut arguments = vec!["record", "-q", "-o", "r.json", "--"];
    arguments.extend(AT_ONCE.iter().chain(python));
    arguments.extend([program, mode, "1"]);
    let finished = case.run(&arguments).ended_with(0);
    let truth = finished.stdout().lines().last().expect("the program's own record");
    let truth = serde_json::from_str(truth).unwrap();
    (sound(case.json("r.json")), truth)
}

fn only(report: &Value) -> Value {
    of_kind(report, "asyncio")
}

fn of_kind(report: &Value, kind: &str) -> Value {
    let loops = report["event_loops"].as_array().unwrap();
    assert_eq!(loops.len(), 1, "{loops:?}");
    assert_eq!(loops[0]["kind"], kind);
    loops[0].clone()
}

/// The stalls are there, as long as the program says, and in `part`.
fn check(found: &Value, truth: &[u64], part: &str) {
    assert_eq!(found["blocked"], true, "{found:#}");
    let longest = truth.iter().max().expect("it was held up");
    let max = found["away"]["max_ns"].as_u64().unwrap();
    assert!(max + 5 * MS >= *longest, "{longest} measured: {found:#}");
    assert!(max <= longest + longest / 2, "{longest} measured: {found:#}");
    let stall = &found["stalls"][0];
    let (in_part, all) = (stall[part].as_u64().unwrap(), stall["total_ns"].as_u64().unwrap());
    assert!(in_part * 10 > all * 8, "{found:#}");
}

#[test]
fn what_blocks_a_loop_is_named_under_every_version() {
    needs_root!();
    for python in interpreters() {
        let (found, truth) = launched(&[&python], PROGRAM, "sleep");
        check(&found, &truth, "blocking_ns");
        let stall = &found["stalls"][0];
        assert_eq!(stall["where"], "nap (event_loop.py:18)", "{python}: {found:#}");
        assert_eq!(stall["callback"], "handler", "{python}");
        assert_eq!(stall["call"], "time.sleep", "{python}");
        let (found, truth) = launched(&[&python], PROGRAM, "compute");
        check(&found, &truth, "cpu_ns");
        let place = found["stalls"][0]["where"].as_str().unwrap_or_default();
        assert!(place.starts_with("compute (event_loop.py:"), "{python}: {found:#}");
    }
}

/// Debian's; other interpreters have none.
const PYTHON_WITH_UVLOOP: &str = "/usr/bin/python3";
/// Runs a program with uvloop in the place of asyncio's own loop.
const WITH_UVLOOP: &str = "import runpy, sys, uvloop; uvloop.install(); \
                           sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')";

#[test]
fn what_blocks_uvloop_is_named_though_it_never_polls() {
    needs_root!();
    let has_uvloop = Command::new(PYTHON_WITH_UVLOOP).args(["-c", "import uvloop"]).output();
    if !has_uvloop.is_ok_and(|output| output.status.success()) {
        skip!("{PYTHON_WITH_UVLOOP} has no uvloop");
    }
    for mode in ["sleep", "crowded"] {
        let python = [PYTHON_WITH_UVLOOP, "-c", WITH_UVLOOP];
        let (report, truth) = recorded(&python, PROGRAM, mode);
        let found = of_kind(&report, "uvloop");
        check(&found, &truth, "blocking_ns");
        let stall = &found["stalls"][0];
        assert_eq!(stall["where"], "nap (event_loop.py:18)", "{mode}: {found:#}");
        let callback = if mode == "sleep" { "handler" } else { "main" };
        assert_eq!(stall["callback"], callback, "{mode}: {found:#}");
        // A round in which a record was late is not told, and counts as unseen.
        let count = stall["count"].as_u64().unwrap() as usize;
        assert!(count <= truth.len() && count + 1 >= truth.len(), "{mode}: {found:#}");
        let [away, held_up] = [found["away"]["total_ns"].as_u64().unwrap(), truth.iter().sum()];
        assert!(away * 100 > held_up * 99, "{mode}: {held_up} measured: {found:#}");
        let named = report["prescription"]["antipatterns"].as_array().unwrap();
        let blocking = |it: &Value| it["id"] == "blocking-call-in-event-loop";
        assert!(named.iter().any(blocking), "{mode}: {}", report["prescription"]);
    }
}

#[test]
fn a_loop_that_waits_for_the_interpreter_lock_says_so() {
    needs_root!();
    let (found, _) = launched(&["python3"], PROGRAM, "gil");
    let stall = &found["stalls"][0];
    let (gil, all) = (stall["gil_ns"].as_u64().unwrap(), stall["total_ns"].as_u64().unwrap());
    assert!(all > 100 * MS && gil * 2 > all, "{found:#}");
}

#[test]
fn a_loop_with_another_clock_has_the_same_rounds() {
    needs_root!();
    let clock = ["unshare", "--time", "--monotonic", "100000", "--boottime", "100000"];
    let (found, truth) = launched(&[&clock[..], &["--", "python3"]].concat(), PROGRAM, "sleep");
    check(&found, &truth, "blocking_ns");
    let stall = &found["stalls"][0];
    assert_eq!(stall["count"].as_u64(), Some(truth.len() as u64), "{found:#}");
    assert!(found["away"]["unseen_ns"].as_u64().unwrap() < 100 * MS, "{found:#}");
}

#[test]
fn a_loop_of_many_short_steps_is_not_blocked() {
    needs_root!();
    for mode in ["healthy", "busy"] {
        let (found, _) = launched(&["python3"], PROGRAM, mode);
        assert!(found["iterations"].as_u64().unwrap() > 20, "{found:#}");
        let half = found["away"]["p50_ns"].as_u64().unwrap();
        assert!(half < 10 * MS, "{mode}: {found:#}");
        // Whatever took longer was a CPU that it did not get.
        for stall in found["stalls"].as_array().unwrap() {
            let time = |part: &str| stall[part].as_u64().unwrap();
            assert!(time("cpu_ns") + time("blocking_ns") < 100 * MS, "{mode}: {found:#}");
        }
    }
}

#[test]
fn a_loop_that_runs_already_is_known_and_a_person_is_told() {
    needs_root!();
    let case = Case::new();
    let ready = case.path("ready").display().to_string();
    let script = format!("exec chrt -f 1 python3 {PROGRAM} sleep 60 > {ready}");
    let mut process = Process::shell(&script);
    case.until_line(&mut process, "ready");
    let recorded = ["record", "-o", "r.json", "-o", "r.whyslow", "-d", "2s", "-p", &process.pid()];
    let screen = case.run(&recorded).ended_with(0).stderr;
    assert!(screen.contains("event loop blocked: 15"), "{screen}");
    assert!(screen.contains("at nap (event_loop.py:18), in"), "{screen}");
    let found = only(&sound(case.json("r.json")));
    assert_eq!(found["stalls"][0]["where"], "nap (event_loop.py:18)");
    let again = case.run(&["report", "--json", "r.whyslow"]).ended_with(0);
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["event_loops"][0], found, "a replay says the same");
}

#[test]
fn what_blocks_a_loop_is_named_without_perf_events_too() {
    needs_root!();
    let case = Case::new();
    let ready = case.path("ready").display().to_string();
    let mut process = Process::shell(&format!("exec python3 {PROGRAM} sleep 60 > {ready}"));
    case.until_line(&mut process, "ready");
    let pid = process.pid();
    let recorded = ["record", "-q", "--engine", "procfs", "-o", "r.json", "-d", "2s", "-p", &pid];
    case.run(&recorded).ended_with(0);
    let report = sound(case.json("r.json"));
    let found = only(&report);
    assert_eq!(found["blocked"], true, "{found:#}");
    let stall = &found["stalls"][0];
    assert_eq!(stall["where"], "nap (event_loop.py:18)", "{found:#}");
    assert_eq!((&stall["callback"], &stall["call"]), (&json!("handler"), &json!("time.sleep")));
    let prescription = &report["prescription"];
    assert_eq!(prescription["antipatterns"][0]["id"], "blocking-call-in-event-loop");
    assert_eq!(prescription["model"], "asyncio", "threads do not help a loop: {prescription:#}");
    assert!(prescription["predicted"].is_null(), "one task alone gains nothing: {prescription:#}");
}

#[test]
fn tasks_have_their_names_where_python_tells_them() {
    needs_root!();
    let Some(root) = std::env::var_os("WHYSLOW_PYTHON_ROOT") else {
        println!("NOTE WHYSLOW_PYTHON_ROOT names no root with Python 3.14: no names of tasks");
        return;
    };
    let root = Path::new(&root);
    let folder = tempfile::TempDir::new_in(root.join("tmp")).unwrap();
    let program = folder.path().join("event_loop.py");
    fs::copy(PROGRAM, &program).unwrap();
    let program = format!("/{}", program.strip_prefix(root).unwrap().display());
    for python in ["python3.14", "python3.15"] {
        if !root.join("usr/bin").join(python).exists() {
            println!("NOTE {python}: not in {}", root.display());
            continue;
        }
        let command = ["chroot", root.to_str().unwrap(), python];
        let (found, truth) = launched(&command, &program, "sleep");
        check(&found, &truth, "blocking_ns");
        let task = found["stalls"][0]["task"].as_str().unwrap_or_default();
        assert!(task.starts_with("Task-"), "{python}: {found:#}");
        let tasks = found["concurrency"]["tasks"].as_u64().unwrap_or_default();
        assert!((2..=4).contains(&tasks), "main, ticks, and the stall: {python}: {found:#}");
    }
}

#[test]
fn a_loop_that_only_timers_wake_waits_for_nobody() {
    needs_root!();
    let case = Case::new();
    let program = "import asyncio; asyncio.run(asyncio.sleep(1))";
    let record = ["record", "-q", "-o", "r.json", "--", "python3", "-c", program];
    case.run(&record).ended_with(0);
    let report = sound(case.json("r.json"));
    assert!(time(&report, "idle") >= 900 * MS, "{}", report["ledger"]["process"]);
}
