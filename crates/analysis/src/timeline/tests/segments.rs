//! What is judged in segments is what is judged at once.

use std::collections::BTreeMap;

use proptest::prelude::*;
use whyslow_events::{Cpu, Event, InMemory, Off, SiteId, Tid};

use super::super::correct::LONGEST_WAY;
use super::laws::{counted, counts, script};
use crate::analyze::analyze_segments;
use crate::report::States;
use crate::script::{MS, START, Script, header};
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

fn alike(events: &[(u64, Event)], segment: usize) -> Result<(), TestCaseError> {
    let (whole, cut) = (analyzed(events, usize::MAX), analyzed(events, segment));
    prop_assert_eq!(&whole.report.ledger, &cut.report.ledger);
    prop_assert_eq!(&whole.report.waits, &cut.report.waits);
    prop_assert_eq!(whole.stacks.folded(View::Wall), cut.stacks.folded(View::Wall));
    prop_assert_eq!(whole.anomalies, cut.anomalies);
    prop_assert_eq!(&whole.report.hot, &cut.report.hot);
    prop_assert_eq!(&whole.report.functions, &cut.report.functions);
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
        alike(&script.events(), segment)?;
    }

    /// Nothing is moved over a cut: a thread's way to the CPU may lie on both sides.
    /// Lock or hand-over is found out before the correction, which a near thing feels.
    #[test]
    fn corrected_timelines(script in script(), counts in counts(), segment in 1usize..40) {
        let longest = script.longest_queue().max(LONGEST_WAY);
        let events = counted(script, counts).events();
        let [whole, cut] = [usize::MAX, segment].map(|segment| analyzed(&events, segment).report);
        let cuts = (events.len() / segment + 1) as u64;
        prop_assert_eq!(whole.ledger.threads.len(), cut.ledger.threads.len());
        for (whole, cut) in whole.ledger.threads.iter().zip(&cut.ledger.threads) {
            prop_assert_eq!(whole.lifetime_ns, cut.lifetime_ns);
            let [all, parts] = [merged(&whole.states), merged(&cut.states)];
            for state in all.keys().chain(parts.keys()) {
                let [all, parts] = [&all, &parts].map(|of| of.get(state).copied().unwrap_or(0));
                prop_assert!(all.abs_diff(parts) <= cuts * longest, "{} {:?} {:?}", state, whole, cut);
            }
        }
    }
}

/// The script, and a pause of so many ms with samples and such tallies.
fn tallied(script: &Script, pause: u64, told: &[(char, u64)]) -> Vec<(u64, Event)> {
    let begin = script.events();
    let from = begin.last().map_or(START, |(time, _)| *time);
    let mut events: Vec<(u64, Event)> = begin[..begin.len() - 1].to_vec();
    let (tid, cpu) = (Tid(100), Cpu(0));
    events.push((from, Event::Paused));
    for ms in 1..pause {
        events.push((from + ms * MS, Event::Sample { tid, cpu, kernel: false, stack: None }));
    }
    let to = from + pause * MS;
    for (site, ms) in told {
        let off = Off::Blocked { site: Some(SiteId((*site).into())), uninterruptible: false };
        let (off, off_ns) = (Some(off), ms * MS);
        events.push((to, Event::Tally { tid, off, times: 20, off_ns, queued_ns: 0 }));
    }
    events.extend([(to, Event::Tallied), (to, Event::Resumed)]);
    events.push((to, Event::End { exit: None }));
    events
}

#[test]
fn what_a_cut_in_a_pause_left_to_guess_the_tally_makes_up_for() {
    // A pause like the stretch before it: what is guessed of a part of it is none too much.
    let script = Script::new(2).thread("main", "##ss#dd###ss#ss#");
    let events = tallied(&script, 40, &[('s', 15), ('d', 5)]);
    let whole = analyzed(&events, usize::MAX).report;
    assert_eq!(whole.ledger.process["sleep"], 21 * MS);
    assert_eq!(whole.ledger.process["cpu.user"], 28 * MS);
    let is_told = |(_, event): &&(u64, Event)| {
        use Event::{Affinity, Sample, SwitchIn, SwitchOut, Thread, Wakeup};
        let of_thread = matches!(event, Thread { .. } | Affinity { .. } | Wakeup { .. });
        of_thread || matches!(event, SwitchIn { .. } | SwitchOut { .. } | Sample { .. })
    };
    let before_pause = events.iter().take_while(|(_, event)| *event != Event::Paused);
    let before = before_pause.filter(is_told).count();
    for segment in before + 1..before + 35 {
        let cut = analyzed(&events, segment).report;
        assert!(cut.quality.recent_from_ns.is_some_and(|ns| ns > 16 * MS), "{segment}");
        assert_eq!(whole.ledger, cut.ledger, "{segment}");
        assert_eq!(whole.waits, cut.waits, "{segment}");
    }
}

/// With one state for both uses of a futex.
fn merged(states: &States) -> BTreeMap<&str, u64> {
    let mut merged = BTreeMap::new();
    for (state, ns) in states {
        let state = if state == "sync.thread" { "lock.user" } else { state };
        *merged.entry(state).or_default() += ns;
    }
    merged
}

#[test]
fn a_timeline_that_is_cut_says_from_where_on_it_is_known_in_detail() {
    let script = Script::new(2).thread("main", "##ss##nn##ss##");
    let cut = analyzed(&script.events(), 4).report;
    assert!(cut.quality.recent_from_ns.is_some_and(|ns| ns > 0));
    let whole = analyzed(&script.events(), 1000).report;
    assert_eq!(whole.quality.recent_from_ns, None);
}
