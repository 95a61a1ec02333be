//! The part of the time that a GIL was held. While somebody waits for it, that is
//! known; for the rest, looks from outside stand, those while threads run and those
//! while none does apart.

use std::ops::Range;

use super::holders::{By, union, within};
use super::known::Lock;
use crate::timeline::{Doing, Timeline};
use crate::wilson;

/// Looks closer together than this are one, ns: all threads of a round.
const SAME_LOOK: u64 = 1_000_000;

/// The time that it was held, ns, and where that lies, at 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct HeldTime {
    pub(super) ns: f64,
    pub(super) interval: [f64; 2],
}

/// Looks at times in which nobody waited for it.
#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    all: u32,
    held: u32,
}

pub(super) fn held_time(timeline: &Timeline, lock: &Lock) -> HeldTime {
    let wanted = wanted(lock);
    let running = running(timeline, lock);
    let known: u64 = lock.held.iter().filter(|held| held.by != By::Nobody).map(length).sum();
    let all = total(&wanted);
    let runs = total(&running);
    let both = total(&union([wanted.clone(), running.clone()].concat()));
    let (busy, idle) = (both - all, timeline.duration() - both);
    let (mut in_busy, mut in_idle) = (Looks::default(), Looks::default());
    let mut last = None;
    for (time, by) in &lock.seen {
        let again = last.is_some_and(|last| time - last < SAME_LOOK);
        if again || is_in(&wanted, *time) {
            continue;
        }
        last = Some(*time);
        let looks = if is_in(&running, *time) { &mut in_busy } else { &mut in_idle };
        looks.all += 1;
        looks.held += u32::from(*by != By::Nobody);
    }
    let known = known as f64;
    let mut held = HeldTime { ns: known, interval: [known; 2] };
    debug_assert!(runs <= both);
    held.add(in_busy, busy as f64, 1.0);
    // Who holds it without running blocks nobody who has not come to wait.
    held.add(in_idle, idle as f64, 0.0);
    held
}

impl HeldTime {
    /// Adds what looks say of `span`; when there are none it was held for `most` of
    /// it, if at all.
    fn add(&mut self, looks: Looks, span: f64, most: f64) {
        let (share, [low, high]) = if looks.all == 0 {
            (0.0, [0.0, most])
        } else {
            let share = f64::from(looks.held) / f64::from(looks.all);
            (share, wilson::interval(share, f64::from(looks.all)))
        };
        self.ns += share * span;
        self.interval[0] += low * span;
        self.interval[1] += high * span;
    }
}

fn length(held: &super::holders::Held) -> u64 {
    held.end - held.start
}

fn wanted(lock: &Lock) -> Vec<Range<u64>> {
    union(lock.held.iter().map(|held| held.start..held.end).collect())
}

/// When a thread of its process ran or wanted to.
fn running(timeline: &Timeline, lock: &Lock) -> Vec<Range<u64>> {
    let own = timeline.threads.iter().filter(|thread| Some(thread.pid) == lock.pid);
    let runs = |doing: Doing| matches!(doing, Doing::OnCpu { .. } | Doing::Runq { .. });
    let spans = own.flat_map(|thread| thread.spans());
    let spans = spans.filter(|(.., interval)| runs(interval.doing));
    union(spans.map(|(start, end, _)| start..end).collect())
}

fn total(spans: &[Range<u64>]) -> u64 {
    spans.iter().map(|span| span.end - span.start).sum()
}

fn is_in(spans: &[Range<u64>], time: u64) -> bool {
    let after = spans.partition_point(|span| span.start <= time);
    after > 0 && time < spans[after - 1].end
}

/// How many looks while it was wanted saw it where it is said to be, of how many.
pub(super) fn checked(lock: &Lock) -> (u64, u64) {
    let (mut agree, mut all) = (0, 0);
    for (time, by) in &lock.seen {
        let By::Thread(seen) = by else { continue };
        let mut said = within(&lock.held, *time, time + 1).filter(|held| !held.looked);
        if let Some(By::Thread(said)) = said.next().map(|held| held.by) {
            all += 1;
            agree += u64::from(said == *seen);
        }
    }
    (agree, all)
}
