//! Switches, told by a program in the kernel or by its tracepoint: with the wakeups, either way
//! as many as the program and the kernel count.

use std::{fs::File, io::BufReader, process::Command};

use whyslow_events::{Event, EventSource, Off, Wakener, recording::Reader};

use crate::{
    case::{Case, needs_root},
    process::Process,
};

/// Each of so many times a byte is handed to a child and back, and a timer waited for.
const TIMES: u64 = 300;
/// Two processes on one CPU; how often they waited, by the kernel's count.
const SCRIPT: &str = "
import os, resource, sys, time
times = int(sys.argv[1])
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
there, back = os.pipe(), os.pipe()
if child := os.fork():
    for _ in range(times):
        os.write(there[1], b'x')
        os.read(back[0], 1)
        time.sleep(0.0005)
    os.waitpid(child, 0)
    print(sum(resource.getrusage(who).ru_nvcsw
              for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
else:
    for _ in range(times):
        os.read(there[0], 1)
        os.write(back[1], b'x')
";
/// Ours may count what was before the script began or after it counted.
const NEAR: u64 = 40;

/// What a recording holds.
#[derive(Debug, Default)]
struct Told {
    waits: u64,
    /// Of these, the ones of which nothing says where.
    nowhere: u64,
    by_threads: u64,
    by_interrupts: u64,
    fallbacks: Vec<String>,
}

/// Records the script with these words before the recorder's own.
fn record(before: &[&str]) -> (u64, Told) {
    let case = Case::new();
    let times = TIMES.to_string();
    let words = ["record", "-q", "-o", "r.whyslow", "--", "/usr/bin/python3", "-c", SCRIPT, &times];
    let recorder = case.whyslow(&words);
    let mut command = match before.split_first() {
        None => recorder,
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(recorder.get_program()).args(recorder.get_args());
            command.current_dir(recorder.get_current_dir().unwrap());
            command
        }
    };
    command.stdin(std::process::Stdio::null());
    let finished = Process::start(command).finish().ended_with(0);
    let counted = finished.stdout().trim().parse().unwrap();
    let file = BufReader::new(File::open(case.path("r.whyslow")).unwrap());
    let mut reader = Reader::new(file).unwrap();
    let fallbacks = reader.header().fallbacks.iter().map(|one| one.wanted.clone()).collect();
    let mut told = Told { fallbacks, ..Told::default() };
    while let Some(timed) = reader.next_event().unwrap() {
        match timed.event {
            Event::SwitchOut { off: Off::Blocked { site, .. }, .. } => {
                told.waits += 1;
                told.nowhere += u64::from(site.is_none());
            }
            Event::Wakeup { by: Wakener::Thread(_), .. } => told.by_threads += 1,
            Event::Wakeup { by: Wakener::Interrupt, .. } => told.by_interrupts += 1,
            _ => {}
        }
    }
    (counted, told)
}

fn agrees((counted, told): &(u64, Told)) {
    assert!(*counted >= 2 * TIMES, "{counted}: the script waits");
    assert!(told.waits.abs_diff(*counted) <= NEAR, "{counted} {told:?}");
    assert!(told.nowhere <= NEAR, "{told:?}");
    // The child may have written before its parent reads, but not often.
    assert!(told.by_threads >= TIMES && told.by_threads <= 2 * TIMES + NEAR, "{told:?}");
    assert!(told.by_interrupts.abs_diff(TIMES) <= NEAR, "{told:?}");
}

#[test]
fn a_program_in_the_kernel_tells_what_its_tracepoint_does() {
    needs_root!();
    const WITHOUT: [&str; 2] = ["setpriv", "--bounding-set=-bpf,-sys_admin"];
    let program = record(&[]);
    agrees(&program);
    let tracepoint = record(&WITHOUT);
    let refused = |told: &Told| told.fallbacks.iter().any(|one| one.starts_with("a program at"));
    assert!(refused(&tracepoint.1), "{tracepoint:?}");
    agrees(&tracepoint);
    if refused(&program.1) {
        println!("NOTE this kernel runs no program at its tracepoint");
    }
}
