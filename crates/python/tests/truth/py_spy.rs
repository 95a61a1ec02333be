//! Waiting threads, beside what `py-spy dump` says of them, if it is installed.

use std::process::Command;

use serde_json::Value;
use whyslow_python::{Motion, Read};

use crate::interpreters;
use crate::process::Running;
use crate::shapes;

#[test]
fn py_spy_sees_the_same_stacks() {
    if Command::new("py-spy").arg("--version").output().is_err() {
        println!("NOTE py-spy: not on this machine, so nobody was asked for a second opinion");
        return;
    }
    for interpreter in interpreters::all() {
        let target = shapes::start(&interpreter);
        let pid = target.child.id().to_string();
        let output = Command::new("py-spy").args(["dump", "--json", "--pid", &pid]).output();
        let output = output.unwrap();
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr).replace('\n', " ");
            println!("NOTE {interpreter:?}: py-spy cannot read it: {reason}");
            continue;
        }
        let dumped: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let compared = compare(&target, &dumped);
        println!("{interpreter:?}: {compared} threads");
        assert!(compared > 15, "{interpreter:?}: {compared}");
    }
}

/// How many threads have the same stack in both.
fn compare(target: &Running, dumped: &[Value]) -> usize {
    let mut reader = target.reader().unwrap();
    let memory = target.memory();
    let mut compared = 0;
    for (number, thread) in target.threads(&reader) {
        let same = |other: &&Value| {
            other["os_thread_id"] == number || other["thread_id"] == thread.pthread
        };
        let Some(theirs) = dumped.iter().find(same) else { continue };
        let Read::Accepted(stack) = reader.read(&memory, &thread, Motion::Blocked) else {
            panic!("{number} waits");
        };
        let ours: Vec<_> = shapes::lines(&stack).iter().map(|line| unqualified(line)).collect();
        let frame = |frame: &Value| {
            let text = |key: &str| frame[key].as_str().unwrap().to_owned();
            // It puts classes before some names, by a guess.
            unqualified(&format!("{}|{}|{}", text("name"), text("filename"), frame["line"]))
        };
        let theirs: Vec<_> = theirs["frames"].as_array().unwrap().iter().map(frame).collect();
        assert_eq!(ours, theirs);
        compared += 1;
    }
    compared
}

/// The line of a frame without what its function is defined in.
fn unqualified(line: &str) -> String {
    let (function, place) = line.split_once('|').unwrap();
    format!("{}|{place}", function.rsplit('.').next().unwrap())
}
