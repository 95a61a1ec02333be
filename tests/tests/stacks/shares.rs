//! Functions by self and by total time against `perf record --call-graph dwarf`.

use std::{
    collections::{BTreeMap, HashSet},
    process::Command,
};

use super::{
    folded::{self, bare},
    program::Language,
};
use crate::{
    case::{Case, needs_root, skip},
    report::time,
};

const FREQUENCY: &str = "499";
/// Two arrays of 16 KiB lie on the stack of `sort`, and perf reads nothing from outside.
const DEEP: &str = "dwarf,49152";
/// Functions below this part of the time are not compared.
const LARGE: f64 = 0.05;
/// Standard deviations by which two samples of the same may differ: chance
/// exceeds it once in some ten thousand comparisons.
const DEVIATIONS: f64 = 4.0;
/// What two runs of a program differ by on a machine that others use, too.
const RUN_TO_RUN: f64 = 0.03;

/// Parts of the CPU time by function: in it, and in it or what it calls.
#[derive(Default)]
struct Shares {
    own: BTreeMap<String, f64>,
    total: BTreeMap<String, f64>,
    weight: f64,
}

impl Shares {
    /// A stack, innermost function first.
    fn add<'a>(&mut self, mut stack: impl Iterator<Item = &'a String>, weight: f64) {
        let Some(innermost) = stack.next() else { return };
        *self.own.entry(innermost.clone()).or_default() += weight;
        let all: HashSet<&String> = stack.chain([innermost]).collect();
        all.into_iter().for_each(|name| *self.total.entry(name.clone()).or_default() += weight);
        self.weight += weight;
    }
}

/// What perf says of `calls`, and the number of its samples; `None` without perf.
fn perf(case: &Case, rounds: &str) -> Option<Shares> {
    let run = |arguments: &[&str]| {
        Command::new("perf").args(arguments).current_dir(case.path(".")).output().ok()
    };
    let record = ["record", "-q", "-F", FREQUENCY, "-e", "cpu-clock", "--call-graph", DEEP];
    // Build ids it would copy files for are of no use here.
    let files = ["--no-buildid", "--no-buildid-cache", "-o", "perf.data", "./calls", rounds];
    let recorded = run(&[&record[..], &files].concat())?;
    assert!(recorded.status.success(), "{recorded:?}");
    let script = run(&["script", "--no-inline", "-F", "ip,sym", "-i", "perf.data"])?;
    assert!(script.status.success() && !script.stdout.is_empty(), "{script:?}");
    let mut shares = Shares::default();
    for stack in String::from_utf8_lossy(&script.stdout).split("\n\n") {
        let frames = stack.lines().filter_map(|line| line.trim().split_once(' '));
        let user = frames.filter(|(address, _)| !address.starts_with("ffff"));
        let names: Vec<String> = user.map(|(_, name)| bare(name)).collect();
        shares.add(names.iter(), 1.0);
    }
    Some(shares)
}

fn compare(
    what: &str,
    ours: &BTreeMap<String, f64>,
    theirs: &BTreeMap<String, f64>,
    all: [f64; 2],
    samples: [f64; 2],
) {
    let part = |of: &BTreeMap<String, f64>, name, all| of.get(name).copied().unwrap_or(0.0) / all;
    let names: HashSet<&String> = ours.keys().chain(theirs.keys()).collect();
    for name in names {
        let parts = [part(ours, name, all[0]), part(theirs, name, all[1])];
        let mean = (parts[0] + parts[1]) / 2.0;
        let variance = mean * (1.0 - mean) * (1.0 / samples[0] + 1.0 / samples[1]);
        let allowed = DEVIATIONS * variance.max(0.0).sqrt() + RUN_TO_RUN;
        if parts[0].max(parts[1]) > LARGE {
            assert!((parts[0] - parts[1]).abs() <= allowed, "{what} {name}: {parts:?} {allowed}");
        }
    }
}

#[test]
fn functions_have_the_shares_that_perf_finds() {
    needs_root!();
    const ROUNDS: &str = "100";
    let case = Case::new();
    // Without debug information neither of us sees what was inlined.
    let Some(()) = Language::C.compile(&case, true) else { return };
    let Some(theirs) = perf(&case, ROUNDS) else { skip!("no perf") };
    let files = ["record", "-q", "-F", FREQUENCY, "-o", "r.folded", "-o", "r.json", "--"];
    case.run(&[&files, &["./calls", ROUNDS][..]].concat()).ended_with(0);
    let mut ours = Shares::default();
    for stack in folded::read(&case, "r.folded").iter().filter(|stack| stack.computes()) {
        ours.add(stack.user.iter().rev(), stack.ns as f64);
    }
    let frequency: f64 = FREQUENCY.parse().unwrap();
    let samples = [time(&case.json("r.json"), "cpu") as f64 * 1e-9 * frequency, theirs.weight];
    let all = [ours.weight, theirs.weight];
    assert!(samples.iter().all(|count| *count > 100.0), "{samples:?}");
    compare("self", &ours.own, &theirs.own, all, samples);
    compare("total", &ours.total, &theirs.total, all, samples);
}
