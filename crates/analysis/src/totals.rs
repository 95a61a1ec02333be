//! What the segments of a recording sum to.

use crate::account::Account;
use crate::bottleneck::{FairShare, Rule, Wanted, fair_share};
use crate::phases::Slices;
use crate::pieces::Sums;
use crate::quota::Quotas;
use crate::scatter::{Apart, Scatter};
use crate::timeline::{Thread, Timeline};
use crate::waits::Waits;

/// Sums over the segments so far.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// The threads, by number, and the window, without what was done in it.
    pub(crate) roll: Timeline,
    pub(crate) sums: Sums,
    pub(crate) waits: Waits,
    /// Wall-clock time that nobody held up, ns.
    pub(crate) idle: f64,
    /// The same with at least one thread waiting for a lock of the program.
    pub(crate) locked: f64,
    pub(crate) wanted: Wanted,
    pub(crate) slices: Slices,
    /// How much pauses differ that are drawn, and the time between pauses.
    drawn: Scatter,
    told: Scatter,
    /// Time that a hypervisor took from running threads.
    pub(crate) stolen: u64,
}

impl Totals {
    /// Of a window.
    pub(crate) fn new(start: u64, end: u64) -> Self {
        let roll = Timeline { start, end, ..Timeline::default() };
        Totals { roll, slices: Slices::of(start, end), ..Totals::default() }
    }

    /// The next segment.
    pub(crate) fn add(&mut self, segment: &Timeline, quotas: &Quotas, accounts: &[Vec<Account>]) {
        let slices = std::mem::take(&mut self.slices);
        let fair = fair_share(segment, accounts, slices);
        self.sums.add_all(segment, quotas, accounts, &fair);
        let FairShare { idle, locked, wanted, slices, .. } = fair;
        self.idle += idle;
        self.locked += locked;
        self.wanted += wanted;
        self.slices = slices;
        self.waits.add(segment, accounts);
        self.stolen += segment.stolen();
        self.note_pauses(segment, accounts);
        self.call_roll(segment);
    }

    /// That of the shares.
    pub(crate) fn rule(&self) -> Rule {
        Rule::of(self.wanted.all, self.roll.duration())
    }

    fn note_pauses(&mut self, segment: &Timeline, accounts: &[Vec<Account>]) {
        if segment.pauses.is_empty() {
            return;
        }
        self.drawn.add_drawn(segment, accounts);
        self.told.add_told(segment, accounts);
        let time = |pauses: &[(u64, u64)]| pauses.iter().map(|(from, to)| to - from).sum::<u64>();
        let tallied_ns = time(&segment.pauses).saturating_sub(time(&segment.drawn));
        self.roll.apart = Apart {
            drawn: self.drawn.squares(),
            told: self.told.squares(),
            tallied_ns: self.roll.apart.tallied_ns + tallied_ns,
        };
    }

    fn call_roll(&mut self, segment: &Timeline) {
        let mut threads = std::mem::take(&mut self.roll.threads);
        for thread in &segment.threads {
            let number = thread.number as usize;
            if threads.len() <= number {
                threads.resize_with(number + 1, Thread::default);
            }
            // In the first segment in which it lives it has no end yet.
            let known = &threads[number];
            let start = if known.end == 0 { thread.start } else { known.start };
            let Thread { number, tid, pid, end, sampling, .. } = *thread;
            let name = thread.name.clone();
            threads[number as usize] =
                Thread { number, tid, pid, name, start, end, sampling, ..Thread::default() };
        }
        let Timeline { start, end, apart, .. } = self.roll;
        let (spare, pauses, drawn) = (Vec::new(), Vec::new(), Vec::new());
        self.roll = Timeline { start, end, threads, spare, pauses, drawn, apart, ..*segment };
    }
}
