//! Waits that are so many that few of them have their stacks taken.

use super::{
    folded::{self, Stack, share},
    program::compile,
};
use crate::{
    case::{Case, needs_root},
    report::sound,
};

/// Some 15,000 a second.
const NAPS: &str = "30000";
/// By how much the share of what is drawn may be off: four standard deviations of a hundred
/// stacks a second.
const CHANCE: f64 = 0.08;
/// The same of a place that only one function has, a part of the share: what is done on the
/// CPU is not equally long everywhere.
const CLOSE: f64 = 0.3;

#[test]
fn new_places_have_their_stacks_and_those_that_share_one_their_parts() {
    needs_root!();
    let case = Case::new();
    let Some(()) = compile(&case, "places") else { return };
    let record = ["record", "-q", "-o", "p.folded", "-o", "p.json", "--", "./places", NAPS];
    let run = case.run(&record).ended_with(0);
    let printed = String::from_utf8(run.stdout).unwrap();
    let took: Vec<f64> = printed.split_whitespace().map(|ns| ns.parse().unwrap()).collect();
    let [often, other, seldom] = took[..] else { panic!("{printed}") };
    let stacks = folded::read(&case, "p.folded");
    let of = |function: &'static str| {
        move |stack: &Stack| stack.user.iter().any(|frame| frame == function)
    };
    // Beside others the way back to the CPU is the longer part of some.
    let sleeps = |stack: &Stack| {
        stack.state.as_deref().is_some_and(|it| it == "sleep" || it.starts_with("runq."))
    };
    let shallow = |stack: &Stack| sleeps(stack) && (of("often")(stack) || of("other")(stack));
    let (found, truth) = (share(&stacks, shallow, of("other")), other / (often + other));
    assert!((found - truth).abs() < CHANCE, "{found} for {truth}");
    let (found, truth) = (share(&stacks, sleeps, of("seldom")), seldom / (often + other + seldom));
    assert!((found / truth - 1.0).abs() < CLOSE, "{found} for {truth}");
    assert!(share(&stacks, sleeps, |stack| stack.whole) > 0.999, "{stacks:#?}");
    let report = sound(case.json("p.json"));
    let quality = &report["quality"]["stacks"]["waits"];
    assert!(quality["lent"].as_f64().unwrap() > 0.9, "few are taken: {quality}");
}
