//! Threads that sleep since before the window and never wake: their stacks,
//! read from outside, frame by frame against gdb's.

use std::{collections::BTreeSet, process::Command};

use super::{
    folded::{self, bare},
    program::{Language, asleep},
};
use crate::{
    case::{Case, needs_root, skip},
    process::Process,
};

/// Every thread's functions, outermost first; `None` where there is no gdb.
fn threads(program: &Process) -> Option<BTreeSet<Vec<String>>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stacks/frames.py");
    let mut gdb = Command::new("gdb");
    let output = gdb.args(["-nx", "-batch", "-p", &program.pid(), "-x", script]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let thread = |text: &str| {
        let frames = text.lines().filter_map(|line| line.strip_prefix("frame "));
        let mut frames: Vec<String> = frames.map(bare).collect();
        // What gdb finds beyond the first function of a stack that a program made.
        frames.pop_if(|outermost| outermost == "?");
        frames.reverse();
        frames
    };
    Some(text.split("\nthread ").skip(1).map(thread).collect())
}

/// What we see of sleepers is what gdb sees, of the threads that go through `at`.
fn compare(language: Language, readers: usize, at: &str) {
    needs_root!();
    let case = Case::new();
    let Some(()) = language.compile(&case, false) else { return };
    let program = asleep(&case, readers);
    let pid = program.pid();
    let files = ["-o", "r.folded", "-o", "r.json"];
    let arguments = [&["record", "-q", "-p", &pid, "-d", "300ms"], &files[..]].concat();
    case.run(&arguments).ended_with(0);
    let Some(truth) = threads(&program) else { skip!("no gdb") };
    let through = |stacks: BTreeSet<Vec<String>>| -> BTreeSet<Vec<String>> {
        stacks.into_iter().filter(|stack| stack.iter().any(|frame| frame == at)).collect()
    };
    let stacks = folded::read(&case, "r.folded");
    let ours = through(stacks.iter().map(|stack| stack.user.clone()).collect());
    assert!(!ours.is_empty(), "{stacks:#?}");
    assert_eq!(ours, through(truth));
}

#[test]
fn sleepers_in_c() {
    compare(Language::C, 2, "clone3");
    compare(Language::C, 2, "main");
}

#[test]
fn sleepers_in_cpp() {
    compare(Language::Cpp, 1, "clone3");
    compare(Language::Cpp, 1, "main");
}

#[test]
fn sleepers_in_rust() {
    compare(Language::Rust, 1, "clone3");
    compare(Language::Rust, 1, "main");
}

#[test]
fn sleepers_in_go() {
    compare(Language::Go, 1, "main.descend");
}
