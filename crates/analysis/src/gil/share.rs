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

pub(super) fn held_time(timeline: &Timeline, lock: &Lock) -> HeldTime {
    let wanted = wanted(lock);
    let running = running(timeline, lock);
    let busy = outside(&running, &wanted);
    let window = timeline.start..timeline.end;
    let idle = outside(std::slice::from_ref(&window), &union([wanted, running].concat()));
    let known: u64 = lock.held.iter().filter(|held| held.by != By::Nobody).map(length).sum();
    let known = known as f64;
    let mut held = HeldTime { ns: known, interval: [known; 2] };
    held.add(lock, &busy, 1.0);
    // Who holds it without running keeps nobody who has not come to wait.
    held.add(lock, &idle, 0.0);
    held
}

impl HeldTime {
    /// Adds what looks say of the time in `spans`, each of what lies around it; when there
    /// are none it was held for `most` of it, if at all.
    fn add(&mut self, lock: &Lock, spans: &[Range<u64>], most: f64) {
        let all = total(spans);
        let looks = looks(lock, spans);
        let (mut held, mut squares) = (0.0, 0.0);
        for (index, (place, by)) in looks.iter().enumerate() {
            let from = index.checked_sub(1).map_or(0, |before| looks[before].0.midpoint(*place));
            let to = looks.get(index + 1).map_or(all, |(next, _)| place.midpoint(*next));
            let part = (to - from) as f64;
            held += if *by == By::Nobody { 0.0 } else { part };
            squares += part * part;
        }
        let all = all as f64;
        let [low, high] = if squares > 0.0 {
            wilson::interval((held / all).min(1.0), all * all / squares)
        } else {
            [0.0, most]
        };
        self.ns += held;
        self.interval[0] += low * all;
        self.interval[1] += high * all;
    }
}

/// The looks in `spans`: how much of these lies before each, and what it saw.
fn looks(lock: &Lock, spans: &[Range<u64>]) -> Vec<(u64, By)> {
    let (mut index, mut before) = (0, 0);
    let mut looks = Vec::new();
    let mut last = None;
    for (time, by) in &lock.seen {
        while let Some(span) = spans.get(index).filter(|span| span.end <= *time) {
            before += span.end - span.start;
            index += 1;
        }
        let inside = spans.get(index).filter(|span| span.start <= *time);
        let again = last.is_some_and(|last| time - last < SAME_LOOK);
        if let Some(span) = inside.filter(|_| !again) {
            looks.push((before + (time - span.start), *by));
            last = Some(*time);
        }
    }
    looks
}

/// What of `spans` lies outside `others`; both are in order and do not overlap.
pub(super) fn outside(spans: &[Range<u64>], others: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut outside = Vec::new();
    let mut index = 0;
    for span in spans {
        let mut from = span.start;
        while others.get(index).is_some_and(|other| other.end <= from) {
            index += 1;
        }
        for other in others[index..].iter().take_while(|other| other.start < span.end) {
            if from < other.start {
                outside.push(from..other.start);
            }
            from = from.max(other.end);
        }
        if from < span.end {
            outside.push(from..span.end);
        }
    }
    outside
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_is_cut_at_both_ends() {
        let (spans, others) = ([0..10, 20..30], [2..4, 8..22, 29..40]);
        assert_eq!(outside(&spans, &others), [0..2, 4..8, 22..29]);
        assert_eq!(outside(&spans, &[]), spans);
    }
}
