//! Makes the kernel's count of CPU time ours. The switches tell when a thread
//! had a CPU; two things they do not tell:
//!
//! - A hypervisor takes the CPU away while the thread has it. The kernel leaves
//!   that out: what we have more was stolen.
//! - A thread is charged for the switch that brings it to the CPU, and one that
//!   was woken on an idle CPU from its wakeup on: the clock of the run queue is
//!   not read again in between. What we have less is moved from its way there.
//!
//! Where records are missing nothing is moved into computing: then it is we who
//! do not know what the thread did.

use std::ops::Range;

use super::counts::Stretch;
use super::{Doing, Interval, Thread, Timeline};
use crate::split::Split;

/// To wake an idle CPU takes no longer, ns: some 50 µs on a virtual machine.
const LONGEST_WAY: u64 = 100_000;

impl Timeline {
    /// `all` is the kernel's count for all threads to their ends, and `lag` how
    /// far, in ns, a count may be behind while its thread runs.
    pub(crate) fn correct(&mut self, all: Option<u64>, lag: u64) {
        let all = all.filter(|_| self.threads.iter().all(|thread| thread.born));
        for thread in &mut self.threads {
            if all.is_some() {
                thread.counts.forget_lagging();
            }
            let born = thread.born.then_some(thread.start);
            for Stretch { from, to, least, most } in thread.counts.stretches(born, lag) {
                correct(&mut [(thread, from..to)], least, most);
            }
        }
        if let Some(all) = all {
            self.correct_ends(all);
        }
    }

    /// What each thread did after its last reading.
    fn correct_ends(&mut self, all: u64) {
        let mut counted = 0_u64;
        let mut ends: Vec<(&mut Thread, Range<u64>)> = Vec::new();
        for thread in &mut self.threads {
            let last = thread.counts.last_exact();
            counted = counted.saturating_add(last.map_or(0, |last| last.cpu_ns));
            let range = last.map_or(thread.start, |last| last.time)..thread.end;
            ends.push((thread, range));
        }
        if let Some(rest) = all.checked_sub(counted) {
            correct(&mut ends, rest, rest);
        }
    }
}

/// Corrects parts of threads' lives in which together the kernel counted from
/// `least` to `most`.
fn correct(parts: &mut [(&mut Thread, Range<u64>)], least: u64, most: u64) {
    let ours: u64 = parts.iter().map(|(thread, part)| thread.on_cpu(part)).sum();
    if ours > most {
        take(parts, Split::new(ours - most, ours));
    } else if ours < least && !parts.iter().any(|(thread, part)| hides(thread, part)) {
        let spare = parts.iter().map(|(thread, part)| waking(thread, part)).sum();
        give(parts, Split::new(least - ours, spare));
    }
}

/// Whether something unknown happened meanwhile.
fn hides(thread: &Thread, part: &Range<u64>) -> bool {
    thread.within(part).any(|(_, _, interval)| interval.doing == Doing::Unknown)
}

fn take(parts: &mut [(&mut Thread, Range<u64>)], mut stolen: Split) {
    for (thread, part) in parts {
        for index in thread.indices(part) {
            let next = thread.end_of(index);
            let interval = &mut thread.intervals[index];
            let overlap = next.min(part.end).saturating_sub(interval.start.max(part.start));
            if let Doing::OnCpu { stolen: taken } = &mut interval.doing {
                *taken += stolen.part(overlap);
            }
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

fn give(parts: &mut [(&mut Thread, Range<u64>)], mut moved: Split) {
    for (thread, part) in parts {
        let ways: Vec<(usize, u64)> = ways(thread, part).collect();
        for (index, length) in ways {
            let Interval { start, .. } = &mut thread.intervals[index];
            *start -= moved.part(length);
        }
    }
}
