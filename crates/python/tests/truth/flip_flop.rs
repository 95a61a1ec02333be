//! A running thread whose stack is known: it goes down one chain of calls, then
//! down another, and notes when it is at the end of one.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;
use whyslow_python::{Counters, Motion, Read, Stack};

use crate::interpreters;
use crate::interpreters::Interpreter;
use crate::process::Running;

const PROGRAM: &str = include_str!("../programs/flip_flop.py");

/// Calls from `main` to the innermost function.
const DEPTH: usize = 20;

/// Reads of each interpreter.
const READS: u32 = 2000;

/// What the accepted reads of one interpreter were.
#[derive(Debug, Default)]
struct Tally {
    /// As they must be.
    right: u32,
    /// Functions of both chains in one stack.
    torn: u32,
    /// Wrong in another way.
    wrong: u32,
    /// Of those, reads that show calls that stood still, and leave out others.
    outside: u32,
    /// During which the program itself noted where it was.
    noted: u32,
    counters: Counters,
}

impl Tally {
    fn count(&mut self, verdict: &Verdict, names: &[(String, u32)]) {
        match verdict {
            Verdict::Right => self.right += 1,
            Verdict::Torn => self.torn += 1,
            Verdict::Wrong => {
                self.wrong += 1;
                println!("{names:?}");
            }
        }
    }
}

#[test]
fn the_stack_of_a_running_thread_is_one_of_those_it_can_be() {
    for interpreter in interpreters::all() {
        // A thread of its own: it keeps to one CPU.
        let tally = thread::scope(|scope| scope.spawn(|| watch(&interpreter)).join().unwrap());
        println!("{interpreter:?}: {tally:?}");
        let accepted = tally.right + tally.torn + tally.wrong;
        assert!(accepted > READS / 10, "{interpreter:?}: {tally:?}");
        assert!(tally.noted > 0, "{interpreter:?}: {tally:?}");
        assert!(f64::from(tally.right) >= 0.995 * f64::from(accepted), "{tally:?}");
        assert!(f64::from(tally.torn) < 0.001 * f64::from(accepted), "{tally:?}");
        assert_eq!(tally.counters.gone + tally.counters.damaged, 0, "{tally:?}");
        assert_eq!(tally.counters.accepted + u64::from(tally.outside), u64::from(accepted));
    }
}

fn watch(interpreter: &Interpreter) -> Tally {
    let mut target = Running::start(interpreter, "flip_flop.py", PROGRAM);
    assert_eq!(target.line(), "ready");
    let mut reader = target.reader().unwrap();
    let thread = target.main_thread(&reader);
    let memory = target.memory();
    keep_apart(&target);
    let note = fs::File::open(target.directory.path().join("note")).unwrap();
    let noted = || {
        let mut bytes = [0; 2];
        note.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    let mut tally = Tally::default();
    for _ in 0..READS {
        thread::sleep(Duration::from_micros(50));
        let before = noted();
        let (stack, truth) = match reader.read(&memory, &thread, Motion::Running) {
            Read::Accepted(stack) => {
                let truth = before.first().filter(|chain| **chain != 0 && noted() == before);
                tally.noted += u32::from(truth.is_some());
                (stack, truth.copied())
            }
            Read::Outside(stack) => {
                tally.outside += 1;
                (stack, None)
            }
            Read::Rejected(_) => continue,
        };
        let names = names(&stack);
        tally.count(&judge(&names, truth), &names);
    }
    tally.counters = reader.counters();
    tally
}

/// Gives the target one CPU and the thread that reads it another: on the same
/// one, the target could not move while it is read.
fn keep_apart(target: &Running) {
    let this_thread = Pid::from_raw(0);
    let usable = sched_getaffinity(this_thread).unwrap();
    let mut cpus = (0..CpuSet::count()).filter(|cpu| usable.is_set(*cpu).unwrap());
    let (Some(theirs), Some(ours)) = (cpus.next(), cpus.next()) else {
        println!("SKIP reading a thread that moves meanwhile: there is one CPU");
        return;
    };
    for (who, cpu) in
        [(Pid::from_raw(target.child.id().cast_signed()), theirs), (this_thread, ours)]
    {
        let mut only = CpuSet::new();
        only.set(cpu).unwrap();
        sched_setaffinity(who, &only).unwrap();
    }
}

#[test]
#[ignore = "asks py-spy fifty times of each interpreter: some 10 s"]
fn py_spy_stops_the_thread_and_sees_the_same() {
    if Command::new("py-spy").arg("--version").output().is_err() {
        println!("NOTE py-spy: not on this machine");
        return;
    }
    for interpreter in interpreters::all() {
        let mut target = Running::start(&interpreter, "flip_flop.py", PROGRAM);
        assert_eq!(target.line(), "ready");
        let mut reader = target.reader().unwrap();
        let thread = target.main_thread(&reader);
        let memory = target.memory();
        let pid = target.child.id().to_string();
        let [mut theirs, mut ours] = [Tally::default(), Tally::default()];
        for _ in 0..50 {
            let Some(stack) = dumped(&pid) else { continue };
            theirs.count(&judge(&stack, None), &stack);
            if let Read::Accepted(stack) = reader.read(&memory, &thread, Motion::Running) {
                let names = names(&stack);
                ours.count(&judge(&names, None), &names);
            }
        }
        println!("{interpreter:?}: py-spy {theirs:?}");
        println!("{interpreter:?}: whyslow {ours:?}");
        if theirs.right + theirs.torn + theirs.wrong == 0 {
            println!("NOTE {interpreter:?}: py-spy cannot read it");
        }
        assert!(ours.right > 10 && ours.torn + ours.wrong == 0, "{ours:?}");
    }
}

/// What py-spy says of the only thread, outermost first.
fn dumped(pid: &str) -> Option<Vec<(String, u32)>> {
    let output = Command::new("py-spy").args(["dump", "--json", "--pid", pid]).output().ok()?;
    let threads: Vec<Value> = serde_json::from_slice(&output.stdout).ok()?;
    let frame = |frame: &Value| {
        let line = frame["line"].as_u64().unwrap_or_default();
        (frame["name"].as_str().unwrap_or_default().to_owned(), line as u32)
    };
    Some(threads.first()?["frames"].as_array()?.iter().rev().map(frame).collect())
}

enum Verdict {
    Right,
    Torn,
    Wrong,
}

/// Whether `stack` is a beginning of one of the two chains, and all of one if
/// that is the `truth`: 1 for the first, 2 for the second.
fn judge(names: &[(String, u32)], truth: Option<u8>) -> Verdict {
    let has = |chain: &str| names.iter().any(|(name, _)| name.ends_with(chain));
    if has("_a") && has("_b") {
        return Verdict::Torn;
    }
    let (chain, expected) = if has("_b") { (2, chain("b")) } else { (1, chain("a")) };
    let outer = names.len().saturating_sub(1);
    let right = names.len() <= expected.len()
        && names[..outer] == expected[..outer]
        && names[outer..].iter().zip(&expected[outer..]).all(|(seen, known)| seen.0 == known.0)
        && truth.is_none_or(|truth| truth == chain && names.len() == expected.len());
    if right { Verdict::Right } else { Verdict::Wrong }
}

/// Functions and lines, outermost first.
fn names(stack: &Stack) -> Vec<(String, u32)> {
    let name = |frame: &whyslow_python::Frame| {
        (frame.code.function.to_string(), frame.line.unwrap_or_default())
    };
    stack.frames.iter().rev().map(name).collect()
}

/// The whole chain `a` or `b`: each function and the line of its call.
fn chain(letter: &str) -> Vec<(String, u32)> {
    let line_of = |text: &str, after: usize| {
        let found = PROGRAM.lines().skip(after).position(|line| line.trim() == text);
        (after + found.unwrap() + 1) as u32
    };
    let function = |name: &str, call: &str| {
        let definition = PROGRAM.lines().position(|line| line.starts_with(&format!("def {name}(")));
        (name.to_owned(), line_of(call, definition.unwrap()))
    };
    let (down, other) = (format!("down_{letter}"), format!("other_{letter}"));
    let mut chain = vec![
        ("<module>".to_owned(), line_of("main()", 0)),
        function("main", &format!("{down}(turn, DEPTH)")),
    ];
    for depth in 1..DEPTH {
        let (this, next) = if depth % 2 == 1 { (&down, &other) } else { (&other, &down) };
        chain.push(function(this, &format!("{next}(turn, depth - 1)")));
    }
    let last = if DEPTH % 2 == 1 { &down } else { &other };
    chain.push(function(last, &format!("leaf_{letter}(turn)")));
    chain.push((format!("leaf_{letter}"), 0));
    chain
}
