//! The ledger: thread time by state, and the quality of what it rests on.

use std::ops::{Index, IndexMut};

use crate::Group;
use crate::State;
use crate::pieces::{Amount, Key};
use crate::report::{Ledger, States, ThreadLedger};
use crate::tables::Tables;
use crate::timeline::Timeline;

/// A number for each state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PerState<T>([T; State::ALL.len()]);

impl<T: Copy + Default> Default for PerState<T> {
    fn default() -> Self {
        PerState([T::default(); State::ALL.len()])
    }
}

impl<T> Index<State> for PerState<T> {
    type Output = T;

    fn index(&self, state: State) -> &T {
        &self.0[state as usize]
    }
}

impl<T> IndexMut<State> for PerState<T> {
    fn index_mut(&mut self, state: State) -> &mut T {
        &mut self.0[state as usize]
    }
}

impl<T: Copy> PerState<T> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (State, T)> {
        State::ALL.iter().map(|state| (*state, self[*state]))
    }
}

impl PerState<u64> {
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn of(&self, group: Group) -> u64 {
        self.iter().filter(|(state, _)| state.group() == group).map(|(_, ns)| ns).sum()
    }

    fn to_report(self) -> States {
        self.iter()
            .filter(|(_, ns)| *ns > 0)
            .map(|(state, ns)| (state.key().to_owned(), ns))
            .collect()
    }
}

impl PerState<f64> {
    pub(crate) fn scaled(mut self, factor: f64) -> Self {
        self.0.iter_mut().for_each(|share| *share *= factor);
        self
    }

    pub(crate) fn of(&self, group: Group) -> f64 {
        self.iter().filter(|(state, _)| state.group() == group).map(|(_, share)| share).sum()
    }
}

/// The time of each thread, by state.
pub(crate) fn by_thread(timeline: &Timeline, pieces: &[(Key, Amount)]) -> Vec<PerState<u64>> {
    let mut sums = vec![PerState::default(); timeline.threads.len()];
    for (key, amount) in pieces {
        sums[key.thread][key.state] += amount.thread_ns;
    }
    sums
}

pub(crate) fn total(threads: &[PerState<u64>]) -> PerState<u64> {
    let mut total = PerState::default();
    for (state, ns) in threads.iter().flat_map(PerState::iter) {
        total[state] += ns;
    }
    total
}

pub(crate) fn report(timeline: &Timeline, threads: &[PerState<u64>]) -> Ledger {
    let threads_report =
        timeline.threads.iter().zip(threads).map(|(thread, states)| ThreadLedger {
            pid: thread.pid.0,
            tid: thread.tid.0,
            name: thread.name.clone(),
            lifetime_ns: thread.lifetime(),
            states: states.to_report(),
        });
    Ledger { threads: threads_report.collect(), process: total(threads).to_report() }
}

/// Relative difference of our on-CPU time to the kernel's. `compared` are both for
/// the parts of the threads' lives that can be compared.
pub(crate) fn against_kernel(
    tables: &Tables,
    compared: (u64, u64),
    threads: &[PerState<u64>],
) -> Option<f64> {
    let ours = |states: &PerState<u64>| states.of(Group::Cpu);
    let (ours, kernel) = match tables.kernel_cpu_all {
        Some(kernel) => (threads.iter().map(ours).sum::<u64>(), kernel),
        None => compared,
    };
    (kernel > 0).then(|| ours as f64 / kernel as f64 - 1.0)
}
