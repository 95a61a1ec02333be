//! The wall-clock time, shared out equally at each instant among the threads
//! that hold the program up.
//!
//! One sweep over all threads in time order keeps, for each level, the running
//! integral of dt ÷ (threads that share it) over the time the level counts; an
//! interval's share is the difference of its level's integral at its two ends.
//!
//! Both rules of [`Rule`] are followed side by side: which of them holds only the whole
//! recording tells.

mod contention;
mod share;
mod weights;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use self::contention::Contention;
pub(crate) use self::contention::Wanted;
pub(crate) use self::share::{Rule, Share};
use crate::account::{Account, Level};
use crate::phases::{Slices, Span};
use crate::timeline::Timeline;
use weights::{Weight, weights};

const LEVELS: usize = 8;

/// Nanoseconds of wall-clock time.
#[derive(Debug, Default)]
pub(crate) struct FairShare {
    /// For each thread, for each interval.
    pub(crate) shares: Vec<Vec<Share>>,
    /// Nobody's.
    pub(crate) idle: f64,
    /// With at least one thread waiting for a lock of the program.
    pub(crate) locked: f64,
    /// In which there is contention.
    pub(crate) wanted: Wanted,
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

/// What a single thread does is known of pauses as well.
fn weights_of(timeline: &Timeline) -> Vec<Weight> {
    let pauses: &[_] = if timeline.threads.len() > 1 { &timeline.pauses } else { &[] };
    let mut weights = weights(timeline.start, timeline.end, pauses);
    weights.reverse();
    weights
}

struct Sweep<'a> {
    timeline: &'a Timeline,
    accounts: &'a [Vec<Account>],
    contention: Contention<'a>,
    /// When the current interval of each thread ends, or its first begins.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    /// Intervals begun, by thread.
    begun: Vec<usize>,
    /// The integral of the current interval's level when it began.
    entered: Vec<Share>,
    /// The same where the slices have its share from.
    sliced: Vec<Share>,
    now: u64,
    members: [u32; LEVELS],
    integrals: [Share; LEVELS],
    /// The same where every instant counts the same, for the slices.
    even: [Share; LEVELS],
    /// How much an instant counts, the next last.
    weights: Vec<Weight>,
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
            contention: Contention::new(timeline, accounts),
            next: starting.map(|(index, thread)| Reverse((thread.start, index))).collect(),
            begun: vec![0; timeline.threads.len()],
            entered: vec![Share::default(); timeline.threads.len()],
            sliced: vec![Share::default(); timeline.threads.len()],
            now: timeline.start,
            members: [0; LEVELS],
            integrals: [Share::default(); LEVELS],
            even: [Share::default(); LEVELS],
            weights: weights_of(timeline),
            result: FairShare {
                shares: intervals.map(Vec::with_capacity).collect(),
                slices,
                ..FairShare::default()
            },
        }
    }

    fn advance(&mut self, time: u64) {
        while let Some(border) = self.result.slices.border().filter(|border| *border <= time) {
            self.weigh_to(border);
            for thread in 0..self.begun.len() {
                self.slice(thread);
            }
            self.result.slices.turn();
        }
        self.weigh_to(time);
    }

    fn weigh_to(&mut self, time: u64) {
        while let Some(next) = self.weights.last().copied().filter(|next| next.until <= time) {
            self.count_to(next.until, next.weight);
            self.weights.pop();
        }
        self.count_to(time, self.weights.last().map_or(1.0, |next| next.weight));
    }

    fn count_to(&mut self, time: u64, weight: f64) {
        let even = time.saturating_sub(self.now) as f64;
        let span = even * weight;
        self.now = self.now.max(time);
        if self.members[Level::Locked as usize] > 0 {
            self.result.locked += span;
        }
        let wanted = self.contention.now();
        self.result.wanted.count(wanted, span);
        self.result.slices.wanted(wanted.all * even);
        let holding = self.holding();
        if holding.is_empty() {
            self.result.idle += span;
            self.result.slices.idle(even);
        }
        let apart = if wanted.all > 0.0 { self.computing() } else { holding };
        let together = self.count_of(holding);
        for level in holding {
            let of_apart = if apart.contains(level) { self.count_of(apart) } else { 0 };
            self.integrals[*level as usize] += Share::of(span, [together, of_apart]);
            self.even[*level as usize] += Share::of(even, [together, of_apart]);
        }
    }

    /// Gives the slices what the thread's current interval gained since.
    fn slice(&mut self, index: usize) {
        let Some(current) = self.begun[index].checked_sub(1) else { return };
        let Some(account) = self.accounts[index].get(current) else { return };
        let integral = self.even[account.level as usize];
        let gained = integral - std::mem::replace(&mut self.sliced[index], integral);
        let interval = &self.timeline.threads[index].intervals[current];
        let length = self.end_of(index, current) - interval.start;
        let span = Span { doing: interval.doing, length };
        self.result.slices.credit(index, &span, *account, gained);
    }

    fn count_of(&self, levels: &[Level]) -> u32 {
        levels.iter().map(|level| self.members[*level as usize]).sum()
    }

    /// Who has what is used up: a thread that computes, or would if it had a CPU.
    fn computing(&self) -> &'static [Level] {
        match self.members[Level::Computes as usize] {
            0 => &[Level::Queues],
            _ => &[Level::Computes],
        }
    }

    /// The levels the present instant belongs to, by number.
    fn holding(&self) -> &'static [Level] {
        let idle_about = self.members[Level::Idles as usize] > 0;
        let any = |level: &Level| {
            let gives_way = matches!(level, Level::Beats | Level::Follows) && idle_about;
            self.members[*level as usize] > 0 && !gives_way
        };
        let levels: [&[Level]; 5] = [
            &[Level::Computes, Level::Queues, Level::Holds],
            &[Level::Sleeps],
            &[Level::Locked],
            &[Level::Beats],
            &[Level::Follows],
        ];
        levels.into_iter().find(|levels| levels.iter().any(any)).unwrap_or_default()
    }

    /// Ends the thread's current interval and begins its next.
    fn step(&mut self, index: usize) {
        let accounts = &self.accounts[index];
        let begun = self.begun[index];
        if let Some(ended) = begun.checked_sub(1) {
            let level = accounts[ended].level as usize;
            self.members[level] -= 1;
            self.contention.leave(index, ended);
            let share = self.integrals[level] - self.entered[index];
            self.result.shares[index].push(share);
            self.slice(index);
        }
        self.begun[index] = begun + 1;
        let Some(account) = accounts.get(begun) else { return };
        let level = account.level as usize;
        self.members[level] += 1;
        self.contention.enter(index, begun);
        self.entered[index] = self.integrals[level];
        self.sliced[index] = self.even[level];
        self.next.push(Reverse((self.end_of(index, begun), index)));
    }

    fn end_of(&self, thread: usize, interval: usize) -> u64 {
        self.timeline.threads[thread].end_of(interval)
    }
}
