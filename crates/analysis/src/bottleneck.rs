//! The wall-clock time, shared out equally at each instant among the threads
//! that hold the program up.
//!
//! One sweep over all threads in time order keeps, for each level, the running
//! integral of dt ÷ (threads in it) over the time the level counts; an
//! interval's share is the difference of its level's integral at its two ends.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::account::{Account, Level};
use crate::phases::{Slices, Span};
use crate::timeline::Timeline;

const LEVELS: usize = 6;

/// Nanoseconds of wall-clock time.
#[derive(Debug, Default)]
pub(crate) struct FairShare {
    /// For each thread, for each interval.
    pub(crate) shares: Vec<Vec<f64>>,
    /// Nobody's.
    pub(crate) idle: f64,
    /// With at least one thread waiting for a lock of the program.
    pub(crate) locked: u64,
    /// The same shares, by state, over the window.
    pub(crate) slices: Slices,
}

/// That of a segment. It goes on with `slices`.
pub(crate) fn fair_share(
    timeline: &Timeline,
    accounts: &[Vec<Account>],
    slices: Slices,
) -> FairShare {
    let mut sweep = Sweep::new(timeline, accounts, slices);
    while let Some(Reverse((time, thread))) = sweep.next.pop() {
        sweep.advance(time);
        sweep.step(thread);
    }
    sweep.advance(timeline.end);
    sweep.result
}

struct Sweep<'a> {
    timeline: &'a Timeline,
    accounts: &'a [Vec<Account>],
    /// When the current interval of each thread ends, or its first begins.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    /// Intervals begun, by thread.
    begun: Vec<usize>,
    /// The integral of the current interval's level when it began.
    entered: Vec<f64>,
    /// The same where the slices have its share from.
    sliced: Vec<f64>,
    now: u64,
    members: [u32; LEVELS],
    integrals: [f64; LEVELS],
    result: FairShare,
}

impl<'a> Sweep<'a> {
    fn new(timeline: &'a Timeline, accounts: &'a [Vec<Account>], mut slices: Slices) -> Self {
        slices.enter(timeline);
        let threads = timeline.threads.iter().enumerate();
        let starting = threads.filter(|(_, thread)| !thread.intervals.is_empty());
        let intervals = timeline.threads.iter().map(|thread| thread.intervals.len());
        Sweep {
            timeline,
            accounts,
            next: starting.map(|(index, thread)| Reverse((thread.start, index))).collect(),
            begun: vec![0; timeline.threads.len()],
            entered: vec![0.0; timeline.threads.len()],
            sliced: vec![0.0; timeline.threads.len()],
            now: timeline.start,
            members: [0; LEVELS],
            integrals: [0.0; LEVELS],
            result: FairShare {
                shares: intervals.map(Vec::with_capacity).collect(),
                slices,
                ..FairShare::default()
            },
        }
    }

    fn advance(&mut self, time: u64) {
        while let Some(border) = self.result.slices.border().filter(|border| *border <= time) {
            self.count_to(border);
            for thread in 0..self.begun.len() {
                self.slice(thread);
            }
            self.result.slices.turn();
        }
        self.count_to(time);
    }

    fn count_to(&mut self, time: u64) {
        let span = time.saturating_sub(self.now);
        self.now = self.now.max(time);
        if self.members[Level::Locked as usize] > 0 {
            self.result.locked += span;
        }
        match self.holding() {
            Some(level) => {
                self.integrals[level as usize] +=
                    span as f64 / f64::from(self.members[level as usize]);
            }
            None => {
                self.result.idle += span as f64;
                self.result.slices.idle(span as f64);
            }
        }
    }

    /// Gives the slices what the thread's current interval gained since.
    fn slice(&mut self, index: usize) {
        let Some(current) = self.begun[index].checked_sub(1) else { return };
        let Some(account) = self.accounts[index].get(current) else { return };
        let integral = self.integrals[account.level as usize];
        let gained = integral - std::mem::replace(&mut self.sliced[index], integral);
        let interval = &self.timeline.threads[index].intervals[current];
        let length = self.end_of(index, current) - interval.start;
        let span = Span { doing: interval.doing, length };
        self.result.slices.credit(index, &span, *account, gained);
    }

    /// The level the present instant belongs to.
    fn holding(&self) -> Option<Level> {
        let idle_about = self.members[Level::Idles as usize] > 0;
        [Level::Holds, Level::Sleeps, Level::Locked, Level::Beats, Level::Follows]
            .into_iter()
            .find(|level| self.members[*level as usize] > 0)
            .filter(|level| !matches!(level, Level::Beats | Level::Follows) || !idle_about)
    }

    /// Ends the thread's current interval and begins its next.
    fn step(&mut self, index: usize) {
        let accounts = &self.accounts[index];
        let begun = self.begun[index];
        if let Some(ended) = begun.checked_sub(1) {
            let level = accounts[ended].level as usize;
            self.members[level] -= 1;
            let share = self.integrals[level] - self.entered[index];
            self.result.shares[index].push(share);
            self.slice(index);
        }
        self.begun[index] = begun + 1;
        let Some(account) = accounts.get(begun) else { return };
        let level = account.level as usize;
        self.members[level] += 1;
        self.entered[index] = self.integrals[level];
        self.sliced[index] = self.integrals[level];
        self.next.push(Reverse((self.end_of(index, begun), index)));
    }

    fn end_of(&self, thread: usize, interval: usize) -> u64 {
        self.timeline.threads[thread].end_of(interval)
    }
}
