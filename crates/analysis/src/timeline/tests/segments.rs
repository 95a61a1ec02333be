//! What is judged in segments is what is judged at once.

use std::collections::BTreeMap;

use proptest::prelude::*;
use whyslow_events::{Event, InMemory};

use super::laws::{counted, counts, script};
use crate::analyze::analyze_segments;
use crate::script::{Script, header};
use crate::{Analysis, Detail, View};

fn analyzed(events: &[(u64, Event)], segment: usize) -> Analysis {
    let mut source = InMemory::new(header(4), events.to_vec());
    analyze_segments(&mut source, Detail::default(), segment)
}

/// Shares of the wall-clock time. Within an interval all instants count alike, and
/// a cut makes two intervals of one: how a turn on or for a CPU divides differs.
fn shares(analysis: &Analysis) -> BTreeMap<&str, f64> {
    let mut shares = BTreeMap::new();
    for (key, share) in &analysis.report.bottleneck.shares {
        let turn = key.starts_with("cpu.") || key.starts_with("runq.");
        *shares.entry(if turn { "turn" } else { key }).or_default() += share;
    }
    shares
}

fn alike(events: &[(u64, Event)], segment: usize) -> Result<(Analysis, Analysis), TestCaseError> {
    let (whole, cut) = (analyzed(events, usize::MAX), analyzed(events, segment));
    prop_assert_eq!(&whole.report.ledger, &cut.report.ledger);
    prop_assert_eq!(&whole.report.waits, &cut.report.waits);
    prop_assert_eq!(&whole.report.quality.lost, &cut.report.quality.lost);
    prop_assert_eq!(whole.stacks.folded(View::Wall), cut.stacks.folded(View::Wall));
    prop_assert_eq!(whole.anomalies, cut.anomalies);
    prop_assert_eq!(&whole.report.hot, &cut.report.hot);
    prop_assert_eq!(&whole.report.functions, &cut.report.functions);
    Ok((whole, cut))
}

fn alike_in_shares((whole, cut): (Analysis, Analysis)) -> Result<(), TestCaseError> {
    let [all, parts] = [shares(&whole), shares(&cut)];
    prop_assert!(all.keys().eq(parts.keys()), "{:?} and {:?}", all, parts);
    for (key, share) in &all {
        prop_assert!((share - parts[key]).abs() < 1e-9, "{} {} {}", key, share, parts[key]);
    }
    Ok(())
}

proptest! {
    #[test]
    fn honest_timelines(script in script(), segment in 1usize..40) {
        alike_in_shares(alike(&script.events(), segment)?)?;
    }

    /// Who ends the waits at a place is found out before the correction: where that
    /// is a near thing, shares may differ.
    #[test]
    fn corrected_timelines(script in script(), counts in counts(), segment in 1usize..40) {
        alike(&counted(script, counts).events(), segment)?;
    }
}

#[test]
fn a_timeline_that_is_cut_says_from_where_on_it_is_known_in_detail() {
    let script = Script::new(2).thread("main", "##ss##nn##ss##");
    let cut = analyzed(&script.events(), 4).report;
    assert!(cut.quality.recent_from_ns.is_some_and(|ns| ns > 0));
    let whole = analyzed(&script.events(), 1000).report;
    assert_eq!(whole.quality.recent_from_ns, None);
}
