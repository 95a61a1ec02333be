//! Time namespaces: a program, or whyslow itself, is told another time than the one by
//! which the kernel writes its records.

use std::{process::Command, time::Instant};

use super::{open_case, start, unshare};
use crate::{
    case::{Case, needs_root, skip},
    report::{sound, time, verdict},
};

/// Ahead of the host's clocks, and behind.
const CLOCKS: [&[&str]; 2] = [
    &["--time", "--monotonic", "100000", "--boottime", "100000"],
    &["--time", "--monotonic", "-20", "--boottime", "-20"],
];
/// Where whyslow has each thread's own events only.
const APART: &[&str] = &["--pid", "--fork", "--kill-child", "--mount-proc"];
const SLEEP: [&str; 2] = ["sleep", "0.4"];
const SLEEP_NS: u64 = 400_000_000;

/// Runs a recording of a sleep, and checks it by our own clock.
fn records_a_sleep(case: &Case, command: Command) {
    let begun = Instant::now();
    let line = format!("{command:?}");
    start(command).finish().ended_with(0);
    let most = begun.elapsed().as_nanos() as u64;
    let report = sound(case.json("r.json"));
    assert_eq!(verdict(&report), ("io-bound", "sleep"), "{line}: {}", report["bottleneck"]);
    let (slept, window) = (time(&report, "sleep"), report["window"]["duration_ns"].as_u64());
    assert!(slept > SLEEP_NS * 9 / 10, "{line}: {}", report["ledger"]["process"]);
    assert!(
        window.is_some_and(|window| SLEEP_NS <= window && window <= most),
        "{line}: {window:?}"
    );
    std::fs::remove_file(case.path("r.json")).unwrap();
}

fn refuses_time_namespaces(case: &Case) -> bool {
    !start(unshare(case, CLOCKS[0], &["true"])).finish().status.success()
}

#[test]
fn waits_are_as_long_as_they_are_whatever_time_it_is_said_to_be() {
    needs_root!();
    let case = open_case();
    if refuses_time_namespaces(&case) {
        skip!("no time namespaces");
    }
    for clock in CLOCKS {
        for engine in ["perf", "procfs"] {
            let record =
                ["./whyslow", "record", "-q", "--force", "--engine", engine, "-o", "r.json"];
            let words = [&record[..], &["--"], &SLEEP].concat();
            // Both in there, with the events of the whole machine and without.
            records_a_sleep(&case, unshare(&case, clock, &words));
            records_a_sleep(&case, unshare(&case, &[clock, APART].concat(), &words));
            // The program alone.
            let inner = [&["unshare"], clock, &["--"], &SLEEP].concat();
            let mut outside = Command::new(record[0]);
            outside.args(&record[1..]).arg("--").args(inner).current_dir(case.path("."));
            records_a_sleep(&case, outside);
        }
    }
}
