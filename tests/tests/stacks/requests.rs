//! Threads that live for less than the time between two samples.

use super::{
    folded::{self, Stack, share},
    program::compile,
};
use crate::{
    case::{Case, needs_root},
    report::sound,
};

/// Some 150 samples.
const REQUESTS: &str = "6000";
/// Of the time with a CPU, so much must have its whole stack.
const WHOLE: f64 = 0.9;
/// By how much a share of so many samples may be off: four standard deviations.
const CHANCE: f64 = 0.16;

#[test]
fn threads_too_short_for_samples_are_shown_by_those_that_were_hit() {
    needs_root!();
    let case = Case::new();
    let Some(()) = compile(&case, "requests") else { return };
    let arguments =
        ["record", "-q", "-o", "r.folded", "-o", "r.json", "--", "./requests", REQUESTS];
    let run = case.run(&arguments).ended_with(0);
    let printed = String::from_utf8(run.stdout).unwrap();
    let used: Vec<f64> = printed.split_whitespace().map(|ns| ns.parse().unwrap()).collect();
    let truth = used[0] / (used[0] + used[1]);
    let stacks = folded::read(&case, "r.folded");
    let of = |function: &'static str| {
        move |stack: &Stack| stack.user.last().is_some_and(|last| last == function)
    };
    let either = |stack: &Stack| stack.computes() && (of("often")(stack) || of("seldom")(stack));
    let found = share(&stacks, either, of("often"));
    assert!((found - truth).abs() < CHANCE, "{found} for {truth}");
    // What the threads used, and not what the few used that were hit.
    let ns: u64 = stacks.iter().filter(|stack| either(stack)).map(|stack| stack.ns).sum();
    assert!(ns as f64 > (used[0] + used[1]) * 0.6, "{ns} of {used:?}");
    let report = sound(case.json("r.json"));
    let whole = report["quality"]["stacks"]["cpu"]["complete"].as_f64().unwrap();
    assert!(whole > WHOLE, "{}", report["quality"]["stacks"]);
}
