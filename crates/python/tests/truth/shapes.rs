//! Functions, files and lines of waiting threads, beside what the interpreter
//! itself says of them.

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

/// How many threads were compared.
fn compare(interpreter: &Interpreter) -> usize {
    let mut target = Running::start(interpreter, "shapes.py", PROGRAM);
    let mut expected = Vec::new();
    loop {
        let line = target.line();
        if line == "ready" {
            break;
        }
        expected.push(line);
    }
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
            assert!(stack.frames.last().unwrap().entry, "{interpreter:?}");
        }
    }
    expected.len()
}

fn lines(stack: &Stack) -> Vec<String> {
    let line = |frame: &whyslow_python::Frame| {
        let line = frame.line.map_or("none".to_owned(), |line| line.to_string());
        format!("{}|{}|{line}", frame.code.function, frame.code.file)
    };
    stack.frames.iter().map(line).collect()
}
