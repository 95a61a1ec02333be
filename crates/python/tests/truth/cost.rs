//! What a read costs. Prints, and judges nothing.

use std::time::{Duration, Instant};

use whyslow_python::{Motion, Read};

use crate::interpreters;
use crate::process::Running;

const READS: u32 = 5000;

/// `f1` calls `f2`, and so on.
const PROGRAM: &str = "
import sys, time
sys.setrecursionlimit(5000)
def last():
    print('ready', flush=True)
    if WORK:
        while True:
            pass
    time.sleep(1000)
for i in range(DEPTH):
    exec('def f%d():\\n    x = []\\n    return f%d()' % (i, i + 1))
exec('f%d = last' % DEPTH)
f0()
";

#[test]
#[ignore = "prints what a read costs; of use with --release"]
fn cost() {
    for interpreter in interpreters::all() {
        for (depth, work) in [(20, "False"), (20, "True"), (200, "False"), (200, "True")] {
            let program = PROGRAM.replace("DEPTH", &depth.to_string()).replace("WORK", work);
            let mut target = Running::text(&interpreter, &program);
            assert_eq!(target.line(), "ready");
            let mut reader = target.reader().unwrap();
            let thread = target.main_thread(&reader);
            let memory = target.memory();
            for motion in [Motion::Blocked, Motion::Running] {
                let mut times: Vec<Duration> = Vec::new();
                for _ in 0..READS {
                    let begun = Instant::now();
                    let read = reader.read(&memory, &thread, motion);
                    let took = begun.elapsed();
                    if let Read::Accepted(_) = read {
                        times.push(took);
                    }
                }
                times.sort();
                println!(
                    "3.{} depth {depth} working {work} {motion:?}: median {:?}, 99 % {:?}, {} of {READS}",
                    interpreter.minor,
                    times[times.len() / 2],
                    times[times.len() * 99 / 100],
                    times.len(),
                );
            }
        }
    }
}

#[test]
#[ignore = "prints what listing and reading many threads costs; of use with --release"]
fn cost_of_many_threads() {
    const PROGRAM: &str = "
import threading, time
for _ in range(1000):
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print('ready', flush=True)
time.sleep(1000)
";
    for interpreter in interpreters::all() {
        let mut target = Running::text(&interpreter, PROGRAM);
        assert_eq!(target.line(), "ready");
        let mut reader = target.reader().unwrap();
        let memory = target.memory();
        let begun = Instant::now();
        let threads = reader.interpreters(&memory).unwrap().remove(0).threads;
        let listed = begun.elapsed();
        let begun = Instant::now();
        for _ in 0..2 {
            for thread in &threads {
                reader.read(&memory, thread, Motion::Blocked);
            }
        }
        let read = begun.elapsed() / 2;
        let (minor, count) = (interpreter.minor, threads.len());
        println!("3.{minor}: {count} threads listed in {listed:?}, read in {read:?}");
        assert_eq!(reader.counters().accepted, 2 * 1001);
    }
}
