//! Where threads stand that are preempted.

use super::{
    folded::{self, Stack, share},
    program::compile,
};
use crate::{
    case::{Case, needs_root},
    report::sound,
};

/// So seldom that the last sample before many preemptions is of another function.
const FREQUENCY: &str = "99";
const ROUNDS: &str = "120";
/// By how much a part of the time may be off: what is preempted in a function before it has a
/// sample is not known there.
const CLOSE: f64 = 0.1;
/// So much of that time must have its whole stack.
const WHOLE: f64 = 0.95;

#[test]
fn threads_are_preempted_in_the_functions_in_which_they_lack_the_cpu() {
    needs_root!();
    let case = Case::new();
    let Some(()) = compile(&case, "preempted") else { return };
    let record = ["record", "-q", "-F", FREQUENCY, "-o", "r.folded", "-o", "r.json", "--"];
    let run = case.run(&[&record[..], &["./preempted", ROUNDS]].concat()).ended_with(0);
    let printed = String::from_utf8(run.stdout).unwrap();
    let missing: Vec<f64> = printed.split_whitespace().map(|ns| ns.parse().unwrap()).collect();
    let truth = missing[1] / (missing[0] + missing[1]);
    let stacks = folded::read(&case, "r.folded");
    let preempted = |stack: &Stack| stack.state.as_deref() == Some("runq.preempted");
    let of = |stack: &Stack, function: &str| stack.user.iter().any(|frame| frame == function);
    let either = |stack: &Stack| preempted(stack) && (of(stack, "alone") || of(stack, "beside"));
    let found = share(&stacks, either, |stack| of(stack, "beside"));
    assert!((found - truth).abs() < CLOSE, "{found} for {truth}: {stacks:#?}");
    // All of that time, and no other.
    let ns: u64 = stacks.iter().filter(|stack| either(stack)).map(|stack| stack.ns).sum();
    let ratio = ns as f64 / (missing[0] + missing[1]);
    assert!((0.8..1.15).contains(&ratio), "{ns} of {missing:?}");
    assert!(share(&stacks, preempted, |stack| stack.whole) > WHOLE, "{stacks:#?}");
    // What was not seen there and then counts as lent.
    let report = sound(case.json("r.json"));
    let lent = report["quality"]["stacks"]["waits"]["lent"].as_f64().unwrap();
    assert!(lent > 0.0, "{}", report["quality"]["stacks"]);
}
