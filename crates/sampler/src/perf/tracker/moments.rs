//! When interpreted calls are read: what a thread is at is soon over, so that they fit a
//! sample best that was taken just before. The clock ticks evenly on each CPU.

use rustc_hash::FxHashMap;
use whyslow_events::{Off, Tid};

use super::scripts::{LATELY, Script};
use super::{Doing, Thread, Tracker, off_of};
use crate::perf::record::{Body, Record};

/// Reads come no closer than this, ns, ...
pub(super) const BETWEEN: u64 = 1_500_000;
/// ... and, for each thread that there is, than this: all are gone through.
const FOR_A_THREAD: u64 = 2_000;
/// Where a few threads run in turns, reads are no farther apart than this, ns: who has the
/// interpreter lock is seen by them, too.
const APART: u64 = 2_500_000;
/// So long after a sample, ns, it is on its way.
const AFTER: u64 = 20_000;

/// Who computed this lately may do so again, ns: who is served comes back.
const GOES_ON: u64 = 50_000_000;

/// When samples come.
#[derive(Debug, Default)]
pub(super) struct Moments {
    /// When each CPU was sampled last while it ran a thread of the target, ns.
    sampled: FxHashMap<u32, u64>,
    /// When a thread that an interpreter may run computed last, as far as was asked, ns.
    pub(super) computed: u64,
    pub(super) ahead: Ahead,
}

impl Moments {
    /// The first sample that is due `from` then on, ns, where there is one every `period`.
    fn due(&self, from: u64, period: u64) -> Option<u64> {
        let due = |sampled: &u64| {
            let periods = from.saturating_sub(*sampled).div_ceil(period);
            sampled + periods * period
        };
        let lately = self.sampled.values().filter(|it| from.saturating_sub(**it) < LATELY);
        lately.map(due).min()
    }
}

impl Tracker {
    /// Takes notice of records that are taken in next, and of those after them, where there are
    /// interpreted calls.
    pub(crate) fn foresee<'a>(&mut self, records: impl Iterator<Item = &'a Record>) {
        let scripts = &self.scripts;
        let any = self.processes.values().any(|process| scripts.may_run_in(process.space));
        self.scripts.moments.ahead = if any { Ahead::of(records) } else { Ahead::default() };
    }

    /// The interpreted calls of a thread at `time`, when it ran: as they were read nearest to it,
    /// with no wait in between.
    pub(super) fn calls_at(&self, tid: Tid, time: u64) -> Option<Script> {
        let thread = self.threads.get(&tid)?;
        thread.lately.at(time, [thread.awake, self.scripts.moments.ahead.waits_after(tid, time)])
    }

    /// A thread of the target was sampled on `cpu`.
    pub(super) fn note_sample(&mut self, time: u64, cpu: u32) {
        // The clocks of single threads stop while they are off the CPU.
        if self.ticks.is_none() {
            self.scripts.moments.sampled.insert(cpu, time);
        }
    }

    /// After how many ns calls should be read again, where some may be to be read, and samples
    /// are taken every `period`.
    pub(crate) fn reads_again_after(&self, now: u64, period: u64) -> Option<u64> {
        if now.saturating_sub(self.scripts.moments.computed) > GOES_ON {
            return None;
        }
        let last = self.scripts.last_read;
        let all = self.threads.len() as u64 * FOR_A_THREAD;
        let from = now.max(last + BETWEEN.max(all)).saturating_sub(AFTER);
        let due = self.scripts.moments.due(from, period).map(|due| due + AFTER);
        let due = due.unwrap_or((last + period).max(now + BETWEEN));
        let due = match due.saturating_sub(last) {
            apart if self.scripts.few && apart > APART => last + (apart / 2).clamp(BETWEEN, APART),
            _ => due,
        };
        Some(due.saturating_sub(now))
    }
}

/// What is told by the records that are read and not taken in yet.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Whether a thread computes after the last of its records, and when that is of.
    computes: FxHashMap<Tid, (u64, bool)>,
    /// When threads go to wait.
    waits: FxHashMap<Tid, Vec<u64>>,
    pub(super) sampled: Vec<Tid>,
}

impl Ahead {
    fn of<'a>(records: impl Iterator<Item = &'a Record>) -> Ahead {
        let mut ahead = Ahead::default();
        for record in records {
            let Record { time, tid, ref body } = *record;
            match body {
                Body::Clock { .. } => {
                    ahead.sampled.push(Tid(tid));
                    ahead.tell(time, tid, true);
                }
                Body::Switch { previous, state, next, .. } => {
                    ahead.leaves(time, *previous, off_of(*state) == Off::Preempted);
                    ahead.tell(time, *next, true);
                }
                Body::SwitchedIn => ahead.tell(time, tid, true),
                Body::SwitchedOut { preempted } => ahead.leaves(time, tid, *preempted),
                _ => {}
            }
        }
        ahead
    }

    fn leaves(&mut self, time: u64, tid: u32, preempted: bool) {
        self.tell(time, tid, preempted);
        if !preempted {
            self.waits.entry(Tid(tid)).or_default().push(time);
        }
    }

    /// Those of one CPU come in order, and not those of several.
    fn tell(&mut self, time: u64, tid: u32, computes: bool) {
        let told = self.computes.entry(Tid(tid)).or_insert((time, computes));
        if told.0 <= time {
            *told = (time, computes);
        }
    }

    /// When a thread goes to wait next after `time`, ns, as far as that is known.
    fn waits_after(&self, tid: Tid, time: u64) -> u64 {
        let waits = self.waits.get(&tid).into_iter().flatten();
        waits.copied().filter(|wait| *wait > time).min().unwrap_or(u64::MAX)
    }

    /// Whether a thread computes, or would if it had a CPU. Who was woken and has none yet is
    /// still at its wait.
    pub(super) fn computes(&self, tid: Tid, thread: &Thread) -> bool {
        let before = match thread.doing {
            Doing::Running => true,
            Doing::Runnable => thread.ran > thread.asleep,
            Doing::Waiting => false,
        };
        self.computes.get(&tid).map_or(before, |(_, computes)| *computes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_sample_is_due_as_long_after_the_last_as_any() {
        let mut moments = Moments::default();
        assert_eq!(moments.due(100, 10), None);
        moments.sampled.extend([(0, 95), (1, 98)]);
        assert_eq!(
            [95, 96, 99, 106].map(|from| moments.due(from, 10).unwrap()),
            [95, 98, 105, 108]
        );
        // One that was sampled seldom of late ticks on.
        moments.sampled.insert(1, 8);
        assert_eq!(moments.due(96, 10), Some(98));
        assert_eq!(moments.due(95 + LATELY, 10), None);
    }

    #[test]
    fn the_last_that_is_told_of_a_thread_counts() {
        let record = |time: u64, tid: u32, body| Record { time, tid, body };
        let clock = Body::Clock { kernel: false, chain: Box::default(), user: None };
        let records = [
            record(5, 1, Body::switch(1, 1, 2)),
            record(9, 2, Body::switch(2, 0, 3)),
            // Of another CPU.
            record(2, 1, clock),
            record(3, 4, Body::SwitchedOut { preempted: false }),
        ];
        let ahead = Ahead::of(records.iter());
        let told = |tid| ahead.computes.get(&Tid(tid)).map(|(_, computes)| *computes);
        assert_eq!([1, 2, 3].map(told), [Some(false), Some(true), Some(true)]);
        assert_eq!([4, 5].map(told), [Some(false), None]);
        assert_eq!(ahead.sampled, [Tid(1)]);
        let waits = |tid, time| ahead.waits_after(Tid(tid), time);
        assert_eq!([waits(1, 4), waits(1, 5), waits(2, 0)], [5, u64::MAX, u64::MAX]);
    }
}
