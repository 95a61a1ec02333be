//! Functions, files and lines of waiting threads, beside what the interpreter
//! itself says of them.

use std::iter;

use whyslow_python::{Motion, Read, Stack};

use crate::interpreters;
use crate::interpreters::Interpreter;
use crate::process::Running;

const PROGRAM: &str = include_str!("../programs/shapes.py");

#[test]
fn every_shape_of_call_is_named_as_the_interpreter_names_it() {
    for interpreter in interpreters::all() {
        let threads = compare(&interpreter);
        println!("{interpreter:?}: {threads} threads");
        assert!(threads > 15, "{interpreter:?}: {threads}");
    }
}

/// The program, with all its threads waiting.
pub(crate) fn start(interpreter: &Interpreter) -> Running {
    let mut target = Running::start(interpreter, "shapes.py", PROGRAM);
    told(&mut target);
    target
}

/// What the program prints: of each thread its number and calls.
fn told(target: &mut Running) -> Vec<String> {
    iter::from_fn(|| Some(target.line()).filter(|line| line != "ready")).collect()
}

/// How many threads were compared.
fn compare(interpreter: &Interpreter) -> usize {
    let mut target = Running::start(interpreter, "shapes.py", PROGRAM);
    let expected = told(&mut target);
    let mut reader = target.reader().unwrap();
    let threads = target.threads(&reader);
    let memory = target.memory();
    for line in &expected {
        let (number, calls) = line.split_once('\t').unwrap();
        let number: u64 = number.parse().unwrap();
        let (_, thread) = threads.iter().find(|(id, _)| *id == number).expect("it is listed");
        for motion in [Motion::Blocked, Motion::Running, Motion::Running] {
            let Read::Accepted(stack) = reader.read(&memory, thread, motion) else {
                panic!("{interpreter:?}: {:?}: {calls}", reader.read(&memory, thread, motion));
            };
            let found = lines(&stack);
            let calls: Vec<_> = calls.split('\t').collect();
            assert_eq!(found, calls, "{interpreter:?}, {motion:?}");
            check_entries(interpreter, &stack);
        }
    }
    expected.len()
}

/// `function|file|line`, innermost first.
pub(crate) fn lines(stack: &Stack) -> Vec<String> {
    let line = |frame: &whyslow_python::Frame| {
        let line = frame.line.map_or("none".to_owned(), |line| line.to_string());
        format!("{}|{}|{line}", frame.code.function, frame.code.file)
    };
    stack.frames.iter().map(line).collect()
}

/// What C called begins an evaluation; what Python code called does from 3.11 on
/// not.
fn check_entries(interpreter: &Interpreter, stack: &Stack) {
    assert!(stack.frames.last().unwrap().entry, "{interpreter:?}");
    assert!(interpreter.minor > 10 || stack.frames.iter().all(|frame| frame.entry));
    let entry = |function: &str| {
        let mut frames = stack.frames.iter();
        frames.find(|frame| *frame.code.function == *function).map(|frame| frame.entry)
    };
    // `block` is called by `reduced`, and that by `functools.reduce`.
    if let Some(reduced) = entry("reduced") {
        assert!(reduced, "{interpreter:?}");
        assert_eq!(entry("block"), Some(interpreter.minor < 11), "{interpreter:?}");
    }
}
