//! How the class changed over the window: fair shares in equal slices, judged
//! one by one, neighbours that agree put together.

use crate::State;
use crate::account::Account;
use crate::bottleneck::{Rule, Share};
use crate::ledger::PerState;
use crate::report::Phase;
use crate::timeline::{Doing, Timeline};
use crate::verdict::judge;

const SLICES: u64 = 20;

/// An interval that has a share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) doing: Doing,
    /// Nanoseconds.
    pub(crate) length: u64,
}

/// Fair shares of some of the time, ns.
#[derive(Clone, Debug, Default)]
struct Slice {
    by_number: PerState<f64>,
    by_contention: PerState<f64>,
    wanted: f64,
}

impl Slice {
    fn add(&mut self, state: State, share: Share) {
        self.by_number[state] += share.by(Rule::Number);
        self.by_contention[state] += share.by(Rule::Contention);
    }

    fn shares(&self, duration: u64) -> PerState<f64> {
        match Rule::of(self.wanted, duration) {
            Rule::Number => self.by_number.scaled(1.0 / duration as f64),
            Rule::Contention => self.by_contention.scaled(1.0 / duration as f64),
        }
    }
}

/// Fair shares over time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slices {
    start: u64,
    borders: Vec<u64>,
    shares: Vec<Slice>,
    /// Of the samples of each thread of the segment, how many are in the kernel.
    kernel: Vec<f64>,
}

impl Slices {
    /// Of the window from `start` to `end`.
    pub(crate) fn of(start: u64, end: u64) -> Self {
        let duration = end - start;
        let borders = if duration < SLICES {
            Vec::new()
        } else {
            let at = |index: u64| u128::from(duration) * u128::from(index) / u128::from(SLICES);
            let offsets = (1..=SLICES).filter_map(|index| u64::try_from(at(index)).ok());
            offsets.map(|offset| start + offset).collect()
        };
        Slices { start, borders, shares: vec![Slice::default()], kernel: Vec::new() }
    }

    /// What is told from now on is of this segment.
    pub(crate) fn enter(&mut self, segment: &Timeline) {
        let kernel = segment.threads.iter().map(|thread| {
            let hits = thread.samples.iter().filter(|sample| sample.kernel).count();
            hits as f64 / thread.samples.len().max(1) as f64
        });
        self.kernel = kernel.collect();
    }

    /// Where the current slice ends.
    pub(crate) fn border(&self) -> Option<u64> {
        self.borders.get(self.shares.len().checked_sub(1)?).copied()
    }

    /// Begins the next slice.
    pub(crate) fn turn(&mut self) {
        self.shares.push(Slice::default());
    }

    pub(crate) fn idle(&mut self, ns: f64) {
        if let Some(slice) = self.shares.last_mut() {
            slice.by_number[State::Idle] += ns;
            slice.by_contention[State::Idle] += ns;
        }
    }

    /// For so long there was contention, ns.
    pub(crate) fn wanted(&mut self, ns: f64) {
        if let Some(slice) = self.shares.last_mut() {
            slice.wanted += ns;
        }
    }

    pub(crate) fn credit(&mut self, thread: usize, span: &Span, account: Account, share: Share) {
        let Some(slice) = self.shares.last_mut() else { return };
        let part = |of: u64| share * (of as f64 / span.length.max(1) as f64);
        let computing = match span.doing {
            Doing::OnCpu { stolen } => {
                slice.add(State::RunqPreempted, part(stolen));
                share - part(stolen)
            }
            Doing::Runq { queue, .. } => {
                let [saturated, neighbours, idle] = queue.parts(span.length);
                slice.add(account.state, part(neighbours));
                slice.add(account.beside_idle, part(idle));
                part(saturated)
            }
            _ => {
                slice.add(account.state, share);
                return;
            }
        };
        slice.add(State::CpuKernel, computing * self.kernel[thread]);
        slice.add(State::CpuUser, computing * (1.0 - self.kernel[thread]));
    }

    /// What was judged alike in a row. `refine` may know a cause better.
    pub(crate) fn phases(&self, refine: impl Fn(&mut Phase)) -> Vec<Phase> {
        let mut phases: Vec<Phase> = Vec::new();
        let mut from_ns = 0;
        for (slice, border) in self.shares.iter().zip(&self.borders) {
            let to_ns = border - self.start;
            let judged = judge(&slice.shares(to_ns - from_ns), 0.0);
            let mut phase = Phase { from_ns, to_ns, class: judged.class, cause: judged.cause };
            refine(&mut phase);
            match phases.last_mut() {
                Some(last) if last.class == phase.class && last.cause == phase.cause => {
                    last.to_ns = to_ns;
                }
                _ => phases.push(phase),
            }
            from_ns = to_ns;
        }
        phases
    }
}
