//! Whether more threads ask for something than can have it: for an interpreter lock that
//! somebody has, or for the CPUs, when all that the program may use are its own threads'.

use std::collections::BTreeSet;
use std::ops::AddAssign;

use crate::State;
use crate::account::Account;
use crate::numbers::Numbers;
use crate::timeline::{Doing, Timeline};

/// The interpreter lock of a process.
#[derive(Clone, Copy, Debug, Default)]
struct Lock {
    asking: usize,
    /// Threads on a CPU or ready: one of them has it.
    able: usize,
}

impl Lock {
    fn is_wanted(self) -> bool {
        self.asking > 0 && self.able > 0
    }
}

/// The time in which there is contention, ns, or 1 where there is at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) all: f64,
    /// For interpreter locks; of several, the part of them.
    pub(crate) locks: f64,
}

impl Wanted {
    pub(super) fn count(&mut self, now: Wanted, span: f64) {
        self.all += now.all * span;
        self.locks += now.locks * span;
    }
}

impl AddAssign for Wanted {
    fn add_assign(&mut self, other: Wanted) {
        self.all += other.all;
        self.locks += other.locks;
    }
}

/// Contention at the present moment of a sweep.
pub(super) struct Contention<'a> {
    timeline: &'a Timeline,
    accounts: &'a [Vec<Account>],
    /// That of each thread.
    lock_of: Vec<usize>,
    locks: Vec<Lock>,
    /// Locks that are asked for at some time, and at this moment.
    asked_for: usize,
    wanted_now: usize,
    on_cpu: usize,
    queued: usize,
}

impl<'a> Contention<'a> {
    pub(super) fn new(timeline: &'a Timeline, accounts: &'a [Vec<Account>]) -> Self {
        let mut processes = Numbers::default();
        let threads = &timeline.threads;
        let lock_of: Vec<usize> =
            threads.iter().map(|thread| processes.of(thread.pid) as usize).collect();
        let asks = |accounts: &[Account]| accounts.iter().any(|it| it.state == State::LockGil);
        let asked_for: BTreeSet<usize> = lock_of
            .iter()
            .zip(accounts)
            .filter_map(|(lock, accounts)| asks(accounts).then_some(*lock))
            .collect();
        Contention {
            timeline,
            accounts,
            locks: vec![Lock::default(); processes.into_all().len()],
            lock_of,
            asked_for: asked_for.len(),
            wanted_now: 0,
            on_cpu: 0,
            queued: 0,
        }
    }

    /// A thread begins one of its intervals.
    pub(super) fn enter(&mut self, thread: usize, interval: usize) {
        self.change(thread, interval, |count| *count += 1);
    }

    /// It ends it.
    pub(super) fn leave(&mut self, thread: usize, interval: usize) {
        self.change(thread, interval, |count| *count -= 1);
    }

    fn change(&mut self, thread: usize, interval: usize, by: impl Fn(&mut usize)) {
        let lock = &mut self.locks[self.lock_of[thread]];
        self.wanted_now -= usize::from(lock.is_wanted());
        match self.timeline.threads[thread].intervals[interval].doing {
            Doing::OnCpu { .. } => {
                by(&mut self.on_cpu);
                by(&mut lock.able);
            }
            Doing::Runq { .. } => {
                by(&mut self.queued);
                by(&mut lock.able);
            }
            _ if self.accounts[thread][interval].state == State::LockGil => by(&mut lock.asking),
            _ => {}
        }
        self.wanted_now += usize::from(lock.is_wanted());
    }

    /// Whether there is contention at this moment.
    pub(super) fn now(&self) -> Wanted {
        let locks = self.wanted_now as f64 / self.asked_for.max(1) as f64;
        let cpus = self.queued > 0 && self.on_cpu >= self.timeline.usable_cpus.max(1);
        Wanted { all: if cpus { 1.0 } else { locks }, locks }
    }
}
