//! Python programs: their own calls stand in the stacks.

use serde_json::Value;

use crate::{
    case::{Case, needs_root},
    process::Process,
    report::sound,
};

/// Lines of a folded file: frames outermost first, and the weight.
fn folded(case: &Case) -> Vec<(Vec<String>, u64)> {
    let line = |line: &str| {
        let (frames, weight) = line.rsplit_once(' ').expect("a weight");
        let frames = frames.split(';').map(str::to_owned).collect();
        (frames, weight.parse().expect("nanoseconds"))
    };
    case.text("r.folded").lines().map(line).collect()
}

/// The time of the stacks that go through functions with these names, in this
/// order, each beginning a frame `name (`.
fn through(stacks: &[(Vec<String>, u64)], names: &[&str]) -> u64 {
    let goes = |frames: &[String]| {
        let mut frames = frames.iter();
        names.iter().all(|name| frames.any(|frame| frame.starts_with(&format!("{name} ("))))
    };
    stacks.iter().filter(|(frames, _)| goes(frames)).map(|(_, weight)| weight).sum()
}

fn check(case: &Case) -> Value {
    let report = sound(case.json("r.json"));
    let stacks = folded(case);
    let all: u64 = stacks.iter().map(|(_, weight)| weight).sum();
    let in_run = through(&stacks, &["<module>", "Worker.run"]);
    let napping = through(&stacks, &["<module>", "Worker.run", "nap"]);
    let computing = through(&stacks, &["<module>", "Worker.run", "Worker.step", "compute"]);
    assert!(in_run * 2 > all, "{in_run} of {all}: {stacks:#?}");
    assert!(computing > 0 && napping > 0 && napping + computing <= in_run, "{stacks:#?}");
    let asleep = |frames: &[String]| frames.last().is_some_and(|state| state == "[sleep]");
    // A wait that ends within a millisecond of the beginning was not looked at, nor were
    // those while the interpreter was looked for and its threads were not listed yet.
    const AT_FIRST: u64 = 5 * 20_000_000;
    let sleeps = stacks.iter().filter(|(frames, _)| asleep(frames));
    let elsewhere = sleeps.filter(|(frames, _)| !frames.iter().any(|f| f.starts_with("nap (")));
    let elsewhere: u64 = elsewhere.map(|(_, weight)| weight).sum();
    assert!(elsewhere < AT_FIRST + napping / 100, "it sleeps nowhere else: {stacks:#?}");
    let waits = report["waits"].as_array().unwrap();
    let sleep = waits.iter().find(|wait| wait["state"] == "sleep").expect("it sleeps");
    assert_eq!(sleep["where"], "nap (calls.py:16)");
    assert!(report["quality"]["scripts"]["accepted"].as_u64().unwrap() > 0);
    report
}

#[test]
fn the_calls_of_a_launched_program_are_named() {
    needs_root!();
    let case = Case::new();
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/python/calls.py");
    let record = ["record", "-q", "-o", "r.folded", "-o", "r.json", "--", "python3", program, "60"];
    case.run(&record).ended_with(0);
    check(&case);
    // Code of a library keeps its native frames, under the call that led there.
    let stacks = folded(&case);
    let native = stacks.iter().any(|(frames, _)| {
        let digest = frames.iter().position(|frame| frame.starts_with("digest ("));
        digest.is_some_and(|at| frames[at + 1..].iter().any(|frame| !frame.starts_with('[')))
    });
    assert!(native, "{stacks:#?}");
}

/// A Python program that has said a line.
fn running(case: &Case, words: &str) -> Process {
    let ready = case.path("ready").display().to_string();
    let mut process = Process::shell(&format!("exec python3 {words} > {ready}"));
    case.until_line(&mut process, "ready");
    process
}

#[test]
fn the_calls_of_a_program_that_runs_are_named() {
    needs_root!();
    let case = Case::new();
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/python/calls.py");
    let process = running(&case, &format!("{program} 1000000"));
    let pid = process.pid();
    case.run(&["record", "-q", "-o", "r.folded", "-o", "r.json", "-d", "1s", "-p", &pid])
        .ended_with(0);
    check(&case);
}

/// A thread for each connection, a few of which compute for some milliseconds now and then.
#[test]
fn a_server_computes_in_its_own_functions_and_not_in_the_interpreters() {
    needs_root!();
    let case = Case::new();
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/bench/server.py");
    let server = running(&case, &format!("{server} 5000"));
    let pid = server.pid();
    let record = ["record", "-q", "--view", "cpu", "-d", "2s", "-p", &pid];
    case.run(&[&record[..], &["-o", "r.folded", "-o", "r.json"]].concat()).ended_with(0);
    sound(case.json("r.json"));
    let stacks = folded(&case);
    let all: u64 = stacks.iter().map(|(_, weight)| weight).sum();
    let known = through(&stacks, &["serve"]) + through(&stacks, &["ask_for_ever"]);
    assert!(known * 10 > all * 9, "{known} of {all}: {stacks:#?}");
    let sorts = |frame: &String| frame == "serve (server.py:34)";
    let sorting = stacks.iter().filter(|(frames, _)| frames.iter().any(sorts));
    let sorting: u64 = sorting.map(|(_, weight)| weight).sum();
    assert!(sorting * 2 > known, "it hardly does anything else: {sorting} of {known}");
}
