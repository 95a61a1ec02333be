//! What the program waits for: groups of fair shares against each other, then
//! what the threads themselves say of locks.

mod summary;

#[cfg(test)]
mod tests;

pub(crate) use summary::{duration, percent};

use std::collections::BTreeSet;

use whyslow_events::Pid;

use crate::bottleneck::Rule;
use crate::ledger::PerState;
use crate::report::{Active, Class, Verdict, Wait};
use crate::timeline::Sampling;
use crate::{Group, State};

/// From this share of the wall-clock time on, idle is the answer.
const MOSTLY_IDLE: f64 = 0.5;
/// Two groups closer than this, of the time that is not idle, are both named.
const TIE: f64 = 0.1;
/// Less unknown time is no reason to refuse an answer.
const NEGLIGIBLE: f64 = 0.02;
/// Of the time threads are at work, this much spent waiting for the
/// interpreter lock makes it the cause.
const GIL: f64 = 0.2;
/// The same for other locks, ...
const CONVOY: f64 = 0.5;
/// ... with this many threads waiting at a time on average ...
const CONVOY_THREADS: f64 = 0.9;
/// ... and no more CPUs in use: one holder, one after the other.
const CONVOY_CPUS: f64 = 1.2;
/// Below this a single usable CPU is not what holds the convoy up either.
const CONVOY_ONE_CPU: f64 = 0.5;

/// A thread that has a CPU for less than this part of the time does not compute.
const COMPUTES: u64 = 100;

/// What the verdict rests on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) wall_ns: u64,
    /// Parts of the wall-clock time; they sum to 1.
    pub(crate) shares: &'a PerState<f64>,
    /// Thread time.
    pub(crate) threads: &'a PerState<u64>,
    /// Part of the wall-clock time in which a thread waits for a lock.
    pub(crate) locked: f64,
    /// In which somebody computes with an interpreter lock, and somebody asks for it.
    pub(crate) gil_wanted_ns: f64,
    /// Who waited for an interpreter lock, and had it meanwhile.
    pub(crate) sharers: Sharers,
    pub(crate) usable_cpus: usize,
    /// Records were lost.
    pub(crate) lost: bool,
    /// What shows more, where it was not that.
    pub(crate) remedy: &'static str,
    pub(crate) waits: &'a [Wait],
    /// How much of the thread time is sampled.
    pub(crate) sampling: Sampling,
}

/// Threads that share interpreter locks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sharers {
    pub(crate) threads: usize,
    /// Processes in which somebody waited for one.
    pub(crate) locks: usize,
}

impl Sharers {
    /// Of threads, each with its process and its time in `wall_ns`. Who waited shares it, and
    /// who computes beside: whom else did they wait for?
    pub(crate) fn of<'a>(
        threads: impl Iterator<Item = (Pid, &'a PerState<u64>)> + Clone,
        wall_ns: u64,
    ) -> Sharers {
        let waits = |states: &PerState<u64>| states[State::LockGil] > 0;
        let computes = |states: &PerState<u64>| states.of(Group::Cpu) >= wall_ns / COMPUTES;
        let waiting = threads.clone().filter(|(_, states)| waits(states));
        let locks: BTreeSet<Pid> = waiting.map(|(pid, _)| pid).collect();
        let inside = threads.filter(|(pid, _)| locks.contains(pid));
        let sharers = inside.filter(|(_, states)| waits(states) || computes(states));
        Sharers { threads: sharers.count(), locks: locks.len() }
    }
}

impl Facts<'_> {
    /// CPUs in use on average.
    fn cpus(&self) -> f64 {
        self.threads.of(Group::Cpu) as f64 / self.wall_ns.max(1) as f64
    }

    /// Time of threads that have something to do.
    fn at_work(&self) -> f64 {
        let away = [State::Idle, State::Sleep, State::SyncThread, State::Child];
        let away: u64 = away.iter().map(|state| self.threads[*state]).sum();
        (self.threads.total() - away).max(1) as f64
    }

    /// Where a share of the wall-clock time may lie. Looks at threads of the same
    /// moment say no more than one.
    fn interval(&self, share: f64) -> [f64; 2] {
        self.sampling.interval(share, self.threads.total(), self.wall_ns)
    }

    /// How far off a share may be through sampling.
    fn margin(&self) -> f64 {
        let [low, high] = self.interval(0.5);
        (high - low) / 2.0
    }

    fn gil(&self) -> bool {
        self.threads[State::LockGil] as f64 / self.at_work() >= GIL
            || Rule::of(self.gil_wanted_ns, self.wall_ns) == Rule::Contention
    }

    /// Several threads take turns at a lock while CPUs are free.
    fn convoy(&self) -> bool {
        let waited = (self.threads[State::LockUser] + self.threads[State::LockKernel]) as f64;
        let cpus = self.cpus();
        let free = match self.usable_cpus {
            0 | 1 => cpus < CONVOY_ONE_CPU,
            _ => cpus <= CONVOY_CPUS,
        };
        free && waited / self.wall_ns.max(1) as f64 >= CONVOY_THREADS
            && waited / self.at_work() >= CONVOY
    }
}

/// An answer, and the answer with idle time left out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judged {
    pub(crate) class: Class,
    pub(crate) cause: String,
    pub(crate) share: f64,
    pub(crate) active: Active,
}

impl Judged {
    fn nothing() -> Judged {
        let (class, cause) = (Class::Inconclusive, "unknown".to_owned());
        let active = Active { class, cause: cause.clone(), share: 0.0 };
        Judged { class, cause, share: 0.0, active }
    }

    /// What holds it up when it works is another.
    fn overrule(&mut self, active: Active) {
        if self.class != Class::Idle {
            (self.class, self.share) = (active.class, active.share);
            self.cause.clone_from(&active.cause);
        }
        self.active = active;
    }
}

pub(crate) fn verdict(facts: &Facts<'_>) -> Verdict {
    let mut judged = match facts.threads.total() {
        // Nobody was seen, which is not that they had nothing to do.
        0 => Judged::nothing(),
        _ => judge(facts.shares, facts.margin()),
    };
    if facts.gil() {
        blame_gil(judged.class, &mut judged.cause);
        blame_gil(judged.active.class, &mut judged.active.cause);
    }
    if facts.convoy() && judged.active.class != Class::LockBound {
        let cause = lock_cause(|state| match state {
            // Idle threads of a pool take no turns.
            State::LockUser | State::LockKernel => facts.threads[state] as f64,
            _ => 0.0,
        });
        let cause = cause.to_owned();
        judged.overrule(Active { class: Class::LockBound, cause, share: facts.locked });
    }
    let unknown = facts.shares[State::Unknown];
    let summary = summary::sentence(facts, &judged);
    let [low, high] = facts.interval(judged.share);
    Verdict {
        class: judged.class,
        cause: judged.cause,
        share: judged.share,
        interval: [low, (high + unknown).min(1.0)],
        summary,
        active: judged.active,
    }
}

fn blame_gil(class: Class, cause: &mut String) {
    if class == Class::CpuBound {
        "gil".clone_into(cause);
    }
}

/// Judges shares that sum to 1 and may be off by `margin`.
pub(crate) fn judge(shares: &PerState<f64>, margin: f64) -> Judged {
    let idle = shares[State::Idle];
    let unknown = shares[State::Unknown] + margin;
    let active = active(shares, unknown);
    let (class, cause, share) = if idle >= MOSTLY_IDLE {
        (Class::Idle, "work".to_owned(), idle)
    } else if unknown > NEGLIGIBLE && idle + unknown >= MOSTLY_IDLE {
        (Class::Inconclusive, "unknown".to_owned(), active.share * (1.0 - idle))
    } else {
        (active.class, active.cause.clone(), active.share * (1.0 - idle))
    };
    Judged { class, cause, share, active }
}

/// One of the groups that can win.
#[derive(Clone, Copy, Debug)]
struct Contender {
    class: Class,
    /// Of the time that is not idle.
    share: f64,
    name: &'static str,
    cause: &'static str,
}

fn active(shares: &PerState<f64>, unknown: f64) -> Active {
    let time = 1.0 - shares[State::Idle];
    if time <= f64::EPSILON {
        return Active { class: Class::Idle, cause: "work".to_owned(), share: 0.0 };
    }
    let contenders = contenders(&shares.scaled(1.0 / time));
    let [first, second, ..] = contenders;
    let unknown = unknown / time;
    let gap = first.share - second.share;
    // A tie that stays a tie whatever the unknown time was is an answer.
    if unknown > NEGLIGIBLE && gap <= unknown && gap + unknown > TIE {
        let cause = "unknown".to_owned();
        Active { class: Class::Inconclusive, cause, share: first.share }
    } else if gap < TIE {
        Active {
            class: Class::Mixed,
            cause: format!("{}+{}", first.name, second.name),
            share: first.share + second.share,
        }
    } else {
        Active { class: first.class, cause: first.cause.to_owned(), share: first.share }
    }
}

/// All groups, largest first.
fn contenders(shares: &PerState<f64>) -> [Contender; 6] {
    let of = |group| shares.of(group);
    let share_of = |state: State| shares[state];
    let contender = |class, share, name, cause| Contender { class, share, name, cause };
    let mut all = [
        contender(Class::CpuBound, of(Group::Cpu), "cpu", cpu_cause(shares)),
        contender(Class::IoBound, of(Group::Io), "io", io_cause(shares)),
        contender(
            Class::LockBound,
            of(Group::Lock) + of(Group::Sync),
            "lock",
            lock_cause(share_of),
        ),
        contender(Class::CpuStarved, of(Group::Starved), "starved", starved_cause(shares)),
        contender(Class::MemoryBound, of(Group::Memory), "memory", "page-fault"),
        contender(Class::Idle, of(Group::Stopped), "stopped", "stopped"),
    ];
    all.sort_by(|a, b| b.share.total_cmp(&a.share));
    all
}

fn cpu_cause(shares: &PerState<f64>) -> &'static str {
    if shares[State::CpuKernel] > shares[State::CpuUser] { "kernel" } else { "user" }
}

fn starved_cause(shares: &PerState<f64>) -> &'static str {
    let throttled = shares[State::RunqThrottled];
    if throttled * 2.0 >= shares.of(Group::Starved) { "quota" } else { "neighbours" }
}

fn io_cause(shares: &PerState<f64>) -> &'static str {
    largest(
        |state| shares[state],
        &[
            (State::IoDisk, "disk"),
            (State::IoNetwork, "network"),
            (State::IoIpc, "ipc"),
            (State::IoTerminal, "terminal"),
            (State::IoDevice, "device"),
            (State::IoOther, "other"),
            (State::Sleep, "sleep"),
            (State::Child, "child"),
        ],
    )
}

fn lock_cause(amount: impl Fn(State) -> f64) -> &'static str {
    largest(
        amount,
        &[
            (State::LockUser, "user"),
            (State::LockKernel, "kernel"),
            (State::LockGil, "gil"),
            (State::SyncThread, "thread"),
        ],
    )
}

/// The name of the first of the largest.
fn largest(amount: impl Fn(State) -> f64, names: &[(State, &'static str)]) -> &'static str {
    let larger = |best: &(f64, &'static str), (state, name): &(State, &'static str)| {
        let amount = amount(*state);
        if amount > best.0 { (amount, *name) } else { *best }
    };
    names.iter().fold((f64::NEG_INFINITY, ""), |best, next| larger(&best, next)).1
}
