//! Makes the kernel's count of CPU time ours. The switches tell when a thread
//! had a CPU; three things they do not tell:
//!
//! - A hypervisor takes the CPU away while the thread has it. The kernel leaves
//!   that out: what we have more was stolen.
//! - A thread is charged for the switch that brings it to the CPU, and one that
//!   was woken on an idle CPU, or in place of another, from its wakeup on: the clock
//!   of the run queue is not read again in between. What we have less is moved from
//!   its way there.
//! - Where records are missing we do not know what the thread did. What we have less
//!   is moved from there, too: where to within it is not known, so to its end.

use std::collections::VecDeque;
use std::ops::Range;

use super::counts::{Ours, Stretch};
use super::settle::Certain;
use super::survey::Life;
use super::{Doing, Interval, Thread, Wait};
use crate::split::Split;

/// To wake a CPU takes no longer as a rule, ns: some 50 µs on a virtual machine. It does where
/// the host is busy.
pub(super) const LONGEST_WAY: u64 = 100_000;

/// What is wrong in a part of a thread's life.
#[derive(Clone, Debug)]
pub(super) struct Correction {
    part: Range<u64>,
    change: Change,
}

#[derive(Clone, Debug)]
enum Change {
    /// So much of the time on the CPU was stolen.
    Take(Split),
    /// So much of the usual ways to the CPU and of what is unknown was time on it, and
    /// so much of longer ways.
    Give([Split; 2]),
}

/// Those of each thread, in the order of time. `all` is the kernel's count for all
/// threads to their ends, and `lag` how far, in ns, a count may be behind while its
/// thread runs.
pub(super) fn corrections(
    lives: &mut [Option<Life>],
    all: Option<u64>,
    lag: u64,
) -> Vec<VecDeque<Correction>> {
    let all = all.filter(|_| lives.iter().flatten().all(|life| life.born));
    let mut corrections = Vec::with_capacity(lives.len());
    for life in lives.iter_mut() {
        let Some(life) = life else {
            corrections.push(VecDeque::new());
            continue;
        };
        if all.is_some() {
            life.counts.forget_lagging();
        }
        let born = life.born.then_some(life.start);
        let stretches = life.counts.stretches(born, lag).into_iter();
        let wrong = stretches.filter_map(|Stretch { from, to, ours, least, most }| {
            let change = change(ours, least, most)?;
            Some(Correction { part: from..to, change })
        });
        corrections.push(wrong.collect());
    }
    if let Some(all) = all {
        correct_ends(lives, all, &mut corrections);
    }
    corrections
}

/// What each thread did after its last reading.
fn correct_ends(lives: &[Option<Life>], all: u64, corrections: &mut [VecDeque<Correction>]) {
    let end = |life: &Life| match life.counts.last_exact() {
        Some((last, ours)) => (last.cpu_ns, last.time..life.end, life.ours - ours),
        None => (0, life.start..life.end, life.ours),
    };
    let (mut counted, mut together) = (0_u64, Ours::default());
    for (cpu_ns, _, ours) in lives.iter().flatten().map(end) {
        counted = counted.saturating_add(cpu_ns);
        together += ours;
    }
    let Some(rest) = all.checked_sub(counted) else { return };
    let Some(mut change) = change(together, rest, rest) else { return };
    for (life, corrections) in lives.iter().zip(corrections) {
        let Some((_, part, ours)) = life.as_ref().map(end) else { continue };
        corrections.push_back(Correction { part, change: change.clone() });
        // What this thread is given of it.
        match &mut change {
            Change::Take(stolen) => stolen.part(ours.ran),
            Change::Give([usual, longer]) => {
                usual.part(ours.ways + ours.unknown) + longer.part(ours.queued)
            }
        };
    }
}

/// What makes ours the kernel's, which counted from `least` to `most`.
fn change(ours: Ours, least: u64, most: u64) -> Option<Change> {
    if ours.ran > most {
        Some(Change::Take(Split::new(ours.ran - most, ours.ran)))
    } else if ours.ran < least {
        let missing = least - ours.ran;
        let usual = ours.ways + ours.unknown;
        let longer = missing.saturating_sub(usual);
        Some(Change::Give([Split::new(missing, usual), Split::new(longer, ours.queued)]))
    } else {
        None
    }
}

impl Life {
    /// What it did where only its last count tells is known by now.
    pub(super) fn determine(&mut self) {
        let certain = Certain::of(self);
        let known = |ours: &mut Ours| match certain {
            Certain::Ran => ours.ran += ours.undetermined,
            Certain::Waited => {}
            Certain::Nothing => ours.unknown += ours.undetermined,
        };
        known(&mut self.ours);
        self.counts.ours_mut().for_each(known);
    }
}

impl Thread {
    /// What it has done in `part`.
    pub(super) fn ours(&self, part: &Range<u64>) -> Ours {
        let mut ours = Ours::default();
        for Way { usual, longer, .. } in ways(self, part) {
            ours.ways += usual;
            ours.queued += longer;
        }
        ours.unknown = gaps(self, part).map(|gap| gap.usual).sum();
        for (start, end, interval) in self.within(part) {
            let inside = end.min(part.end).saturating_sub(start.max(part.start));
            match interval.doing {
                Doing::OnCpu { .. } => ours.ran += inside,
                Doing::Undetermined => ours.undetermined += inside,
                Doing::Runq { .. } | Doing::Blocked(_) | Doing::Stopped | Doing::Unknown => {}
            }
        }
        ours
    }

    /// Makes the corrections that concern it, and drops those that are done.
    pub(super) fn correct(&mut self, corrections: &mut VecDeque<Correction>) {
        let end = self.end;
        for Correction { part, change } in corrections.iter_mut() {
            if part.start > end {
                break;
            }
            match change {
                Change::Take(stolen) => take(self, part, stolen),
                Change::Give(moved) => give(self, part, moved),
            }
        }
        while corrections.front().is_some_and(|first| first.part.end <= end) {
            corrections.pop_front();
        }
    }
}

fn take(thread: &mut Thread, part: &Range<u64>, stolen: &mut Split) {
    for index in thread.indices(part) {
        let next = thread.end_of(index);
        let interval = &mut thread.intervals[index];
        let overlap = next.min(part.end).saturating_sub(interval.start.max(part.start));
        if let Doing::OnCpu { stolen: taken } = &mut interval.doing {
            *taken += stolen.part(overlap);
        }
    }
}

/// Time before a thread is on the CPU, of which some may be time on it.
struct Way {
    /// Of the interval.
    index: usize,
    end: u64,
    usual: u64,
    longer: u64,
}

/// Ways to the CPU that end in `part`.
fn ways(thread: &Thread, part: &Range<u64>) -> impl Iterator<Item = Way> {
    let range = thread.indices(part);
    range.filter_map(|index| {
        let [before, now] = thread.intervals.get(index.checked_sub(1)?..=index)? else {
            return None;
        };
        let runs = matches!(now.doing, Doing::OnCpu { .. });
        let length = now.start - before.start;
        let usual = length.min(LONGEST_WAY);
        let (usual, longer) = match before.doing {
            // The kernel's tally of the run queue leaves out what it charges as CPU time.
            Doing::Blocked(Wait { tallied, .. }) if tallied > 0 => {
                (length.min(LONGEST_WAY.saturating_mul(tallied.into())), 0)
            }
            Doing::Runq { preempted: false, .. } if runs => (usual, length - usual),
            // A wakeup that was not seen is a part of the wait.
            Doing::Runq { .. } | Doing::Blocked(_) if runs => (usual, 0),
            _ => return None,
        };
        let way = Way { index: index - 1, end: now.start, usual, longer };
        part.contains(&now.start).then_some(way)
    })
}

/// What is not known of `part`, as if it were ways.
fn gaps(thread: &Thread, part: &Range<u64>) -> impl Iterator<Item = Way> {
    thread.indices(part).filter_map(|index| {
        let interval = &thread.intervals[index];
        let end = thread.end_of(index).min(part.end);
        let usual = end.saturating_sub(interval.start.max(part.start));
        (interval.doing == Doing::Unknown).then_some(Way { index, end, usual, longer: 0 })
    })
}

fn give(thread: &mut Thread, part: &Range<u64>, [usual, longer]: &mut [Split; 2]) {
    let mut ways: Vec<Way> = ways(thread, part).chain(gaps(thread, part)).collect();
    ways.sort_by_key(|way| way.index);
    let parts = ways.iter().map(|way| usual.part(way.usual) + longer.part(way.longer));
    let parts: Vec<u64> = parts.collect();
    // From the last on: what is put in moves those behind it.
    for (way, given) in ways.iter().zip(parts).rev().filter(|(_, given)| *given > 0) {
        put(thread, way, given);
    }
}

/// The last `given` ns of a way were on the CPU.
fn put(thread: &mut Thread, way: &Way, given: u64) {
    let start = way.end - given;
    let end = thread.end_of(way.index);
    let whole = thread.intervals[way.index];
    match thread.intervals.get_mut(way.index + 1) {
        Some(next) if way.end == end && matches!(next.doing, Doing::OnCpu { .. }) => {
            next.start = start;
        }
        _ => {
            let ran = Interval { start, doing: Doing::OnCpu { stolen: 0 }, stack: None };
            let rest = (way.end < end).then_some(Interval { start: way.end, ..whole });
            let after = way.index + 1;
            thread.intervals.splice(after..after, std::iter::once(ran).chain(rest));
        }
    }
}
