//! Processes that are not as one would have them: of another version, just
//! beginning, ending, with more than one interpreter.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use whyslow_python::{Motion, Read, Reader, Rejection, Unsupported};

use crate::interpreters;
use crate::interpreters::Interpreter;
use crate::process::{Running, memory, runtime};
use crate::shapes;

/// Sleeps in a sub-interpreter, in a thread of its own.
const SUB_INTERPRETER: &str = r#"
import sys, threading, time
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
else:
    import _xxsubinterpreters as interpreters
def inside():
    interpreters.run_string(interpreters.create(), "import time\ndef sub():\n    time.sleep(1000)\nsub()")
threading.Thread(target=inside, daemon=True).start()
time.sleep(0.5)
print("ready", flush=True)
time.sleep(1000)
"#;

#[test]
fn versions_that_are_too_old_say_so() {
    for (major, minor) in [(2, 7), (3, 6), (3, 7)] {
        let Some(interpreter) = interpreters::here(major, minor).pop() else {
            println!("NOTE python{major}.{minor}: not on this machine");
            continue;
        };
        let mut target = Running::text(
            &interpreter,
            "import sys, time\nprint('ready')\nsys.stdout.flush()\ntime.sleep(1000)",
        );
        assert_eq!(target.line(), "ready");
        match target.reader() {
            Err(Unsupported::Old(version)) => assert_eq!(version.release(), (major, minor)),
            other => panic!("{interpreter:?}: {other:?}"),
        }
    }
}

#[test]
fn sub_interpreters_are_listed_with_their_threads_and_their_gil() {
    for interpreter in interpreters::all() {
        let mut target = Running::text(&interpreter, SUB_INTERPRETER);
        assert_eq!(target.line(), "ready");
        let mut reader = target.reader().unwrap();
        let memory = target.memory();
        let found = reader.interpreters(&memory).unwrap();
        let [sub, main] = found.as_slice() else { panic!("{interpreter:?}: {found:?}") };
        assert_eq!((main.id, main.threads.len()), (0, 2), "{interpreter:?}");
        assert!(sub.id > 0, "{interpreter:?}");
        let stacks: Vec<_> = sub
            .threads
            .iter()
            .map(|thread| match reader.read(&memory, thread, Motion::Blocked) {
                Read::Accepted(stack) => shapes::lines(&stack),
                rejected => panic!("{interpreter:?}: {rejected:?}"),
            })
            .collect();
        // The file is `<string>`, and `<script>` from 3.14 on.
        let is = |line: &String, name: &str, number: &str| {
            line.starts_with(name) && line.ends_with(number)
        };
        let known = |stack: &Vec<String>| match stack.as_slice() {
            [inner, outer] => is(inner, "sub|", "|3") && is(outer, "<module>|", "|4"),
            _ => false,
        };
        assert!(stacks.iter().any(known), "{interpreter:?}: {stacks:?}");
        let locks = [sub, main].map(|found| reader.gil(&memory, found.state).unwrap());
        if interpreter.free_threaded {
            assert_eq!(locks, [None, None], "{interpreter:?}");
            continue;
        }
        let [own, shared] = locks.map(Option::unwrap);
        assert_eq!((own.holder, shared.holder), (None, None), "{interpreter:?}: all wait");
        // What the module makes has its own GIL from 3.12 on.
        assert_eq!(own.lock != shared.lock, interpreter.minor >= 12, "{interpreter:?}");
    }
}

#[test]
fn the_thread_that_computes_holds_the_gil() {
    const PROGRAM: &str = "
import threading, time
def compute():
    while True:
        pass
thread = threading.Thread(target=compute, daemon=True)
thread.start()
print(thread.native_id, flush=True)
time.sleep(1000)
";
    for interpreter in interpreters::all() {
        let mut target = Running::text(&interpreter, PROGRAM);
        let number: u64 = target.line().parse().unwrap();
        thread::sleep(Duration::from_millis(100));
        let mut reader = target.reader().unwrap();
        let memory = target.memory();
        let threads = target.threads(&reader);
        let (_, computing) = threads.iter().find(|(id, _)| *id == number).unwrap();
        for _ in 0..20 {
            let gil = reader.gil(&memory, computing.interpreter).unwrap();
            assert_eq!(gil.is_none(), interpreter.free_threaded, "{interpreter:?}");
            let holder = gil.map_or(Some(computing.state), |gil| gil.holder);
            assert_eq!(holder, Some(computing.state), "{interpreter:?}");
        }
    }
}

#[test]
fn a_free_threaded_build_that_was_told_to_has_a_gil() {
    const PROGRAM: &str = "
import os, sys, time
if 'PYTHON_GIL' not in os.environ:
    os.execve(sys.executable, sys.orig_argv, dict(os.environ, PYTHON_GIL='1'))
print('ready', flush=True)
while True:
    pass
";
    for interpreter in interpreters::free_threaded() {
        let mut target = Running::text(&interpreter, PROGRAM);
        assert_eq!(target.line(), "ready");
        let mut reader = target.reader().unwrap();
        let main = target.main_thread(&reader);
        let gil = reader.gil(&target.memory(), main.interpreter).unwrap();
        assert_eq!(gil.unwrap().holder, Some(main.state), "{interpreter:?}");
    }
}

#[test]
fn a_process_may_begin_and_end_while_it_is_read() {
    for interpreter in interpreters::all() {
        let mut reads = 0;
        for _ in 0..2 {
            let mut child = begin(&interpreter);
            reads += read_to_its_end(&mut child);
        }
        println!("{interpreter:?}: {reads} stacks");
        assert!(reads > 0, "{interpreter:?}");
    }
}

/// Imports, runs threads, recurses, and ends.
fn begin(interpreter: &Interpreter) -> Child {
    const PROGRAM: &str = "
import json, logging, threading, time
def deep(n):
    return deep(n - 1) if n else sum(range(10000))
end = time.time() + 1.2
while time.time() < end:
    for _ in range(3):
        threading.Thread(target=deep, args=(200,)).start()
";
    let mut command: Command = interpreter.command();
    command.args(["-c", PROGRAM]).stdout(Stdio::null()).spawn().unwrap()
}

/// Reads all threads of `child` until it is gone. How many stacks there were.
fn read_to_its_end(child: &mut Child) -> usize {
    let mut reads = 0;
    let memory = memory(child.id());
    let mut reader: Option<Reader> = None;
    while child.try_wait().unwrap().is_none() {
        if reader.is_none() && fs::exists(format!("/proc/{}/exe", child.id())).unwrap() {
            let found = runtime(child.id());
            let start = found.and_then(|(start, version)| Some((start?, version.parse().ok()?)));
            reader =
                start.and_then(|(start, version)| Reader::new(&memory, start, Some(version)).ok());
        }
        let Some(reader) = &mut reader else { continue };
        let threads = reader.interpreters(&memory).unwrap_or_default();
        for thread in threads.iter().flat_map(|found| &found.threads) {
            match reader.read(&memory, thread, Motion::Running) {
                Read::Accepted(stack) | Read::Outside(stack) => reads += stack.frames.len().min(1),
                Read::Rejected(Rejection::Moved | Rejection::Gone | Rejection::Damaged(_)) => {}
            }
        }
    }
    reads
}
