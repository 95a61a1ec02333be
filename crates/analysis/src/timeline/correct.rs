//! Makes the kernel's count of CPU time ours. The switches tell when a thread
//! had a CPU; two things they do not tell:
//!
//! - A hypervisor takes the CPU away while the thread has it. The kernel leaves
//!   that out: what we have more was stolen.
//! - A thread is charged for the switch that brings it to the CPU, and one that
//!   was woken on an idle CPU from its wakeup on: the clock of the run queue is
//!   not read again in between. What we have less is moved from its way there.
//!
//! What may have been computed where records are missing is not moved: then it is
//! we who do not know what the thread did.

use std::collections::VecDeque;
use std::ops::Range;

use super::counts::{Ours, Stretch};
use super::settle::Certain;
use super::survey::Life;
use super::{Doing, Thread};
use crate::split::Split;

/// To wake an idle CPU takes no longer, ns: some 50 µs on a virtual machine.
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
    /// So much of the ways to the CPU was time on it.
    Give(Split),
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
            Change::Give(moved) => moved.part(ours.ways),
        };
    }
}

/// What makes ours the kernel's, which counted from `least` to `most`.
fn change(ours: Ours, least: u64, most: u64) -> Option<Change> {
    if ours.ran > most {
        Some(Change::Take(Split::new(ours.ran - most, ours.ran)))
    } else if ours.ran + ours.unknown < least {
        Some(Change::Give(Split::new(least - ours.ran - ours.unknown, ours.ways)))
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
        let mut ours = Ours { ways: waking(self, part), ..Ours::default() };
        for (start, end, interval) in self.within(part) {
            let inside = end.min(part.end).saturating_sub(start.max(part.start));
            match interval.doing {
                Doing::OnCpu { .. } => ours.ran += inside,
                Doing::Unknown => ours.unknown += inside,
                Doing::Undetermined => ours.undetermined += inside,
                Doing::Runq { .. } | Doing::Blocked(_) | Doing::Stopped => {}
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

/// Ways to the CPU that end in `part`: index of the time on it that follows,
/// and how much of the time before may be moved.
fn ways(thread: &Thread, part: &Range<u64>) -> impl Iterator<Item = (usize, u64)> {
    let range = thread.indices(part);
    range.filter_map(|index| {
        let [before, now] = thread.intervals.get(index.checked_sub(1)?..=index)? else {
            return None;
        };
        // A wakeup that was not seen is a part of the wait.
        let waits = matches!(before.doing, Doing::Runq { .. } | Doing::Blocked(_));
        let runs = matches!(now.doing, Doing::OnCpu { .. });
        let length = (now.start - before.start).min(LONGEST_WAY);
        (waits && runs && part.contains(&now.start)).then_some((index, length))
    })
}

fn waking(thread: &Thread, part: &Range<u64>) -> u64 {
    ways(thread, part).map(|(_, length)| length).sum()
}

fn give(thread: &mut Thread, part: &Range<u64>, moved: &mut Split) {
    let ways: Vec<(usize, u64)> = ways(thread, part).collect();
    for (index, length) in ways {
        thread.intervals[index].start -= moved.part(length);
    }
}
