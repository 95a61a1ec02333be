//! The state of every interval, and whether its thread then holds the program
//! up or only waits for another part of it.

use std::hash::Hash;

use rustc_hash::FxHashMap;
use whyslow_events::{Object, Pid, Site, SiteId, StackId};

use crate::State;
use crate::cause::{Cause, Handovers, judge};
use crate::quota::Quota;
use crate::tables::Tables;
use crate::timeline::{Doing, Interval, Timeline, Wait, Waker};

/// What an interval counts as. `state` of an interval on the CPU is
/// `CpuUser`, of one in the run queue how it began; `pieces` splits both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) state: State,
    /// What the part of a turn in the run queue counts as, in the shares, in
    /// which an allowed CPU was idle. To wake an idle CPU takes time, and that
    /// is the end of the wait: more CPUs would not make it shorter.
    pub(crate) beside_idle: State,
    pub(crate) level: Level,
}

/// Who holds the program up at an instant: the threads of the first level
/// that has any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// It works, or waits for something outside.
    Holds,
    /// It waits for a timer.
    Sleeps,
    /// It waits for a lock of the program.
    Locked,
    /// It waits for another thread of the program. With an idle thread about,
    /// that is waiting for work, too.
    Follows,
    /// It waits for work.
    Idles,
}

/// The accounts of each thread's intervals, and how many waits had evidence
/// that disagreed.
pub(crate) fn accounts(
    tables: &Tables,
    timeline: &Timeline,
    quotas: &FxHashMap<Pid, Quota>,
) -> (Vec<Vec<Account>>, u64) {
    let mut judge = Judge::new(tables, timeline);
    let mut accounts: Vec<Vec<Account>> = timeline
        .threads
        .iter()
        .map(|thread| {
            let throttled = quotas[&thread.pid] != Quota::Harmless;
            let mut waited = None;
            let account = |interval: &Interval| {
                let state = judge.state(thread.pid, interval.doing, interval.stack);
                let beside_idle = match interval.doing {
                    Doing::Runq { .. } if throttled => State::RunqThrottled,
                    Doing::Runq { preempted: false, .. } => waited.unwrap_or(state),
                    _ => state,
                };
                waited = Some(state).filter(|_| is_wait(interval.doing));
                Account { state, beside_idle, level: Level::Holds }
            };
            thread.intervals.iter().map(account).collect()
        })
        .collect();
    let evidence = Evidence::gather(tables, timeline, &accounts);
    for (thread, accounts) in timeline.threads.iter().zip(&mut accounts) {
        for (interval, account) in thread.intervals.iter().zip(accounts) {
            account.level = evidence.level(account.state, interval.doing, thread.pid);
        }
    }
    (accounts, judge.disagreements)
}

fn is_wait(doing: Doing) -> bool {
    matches!(doing, Doing::Blocked(_) | Doing::Stopped)
}

/// Judges each kind of wait once.
struct Judge<'a> {
    tables: &'a Tables,
    handovers: Handovers,
    judged: FxHashMap<(Option<SiteId>, Option<StackId>), Cause>,
    disagreements: u64,
}

impl<'a> Judge<'a> {
    fn new(tables: &'a Tables, timeline: &Timeline) -> Self {
        let handovers = Handovers::gather(tables, timeline);
        Judge { tables, handovers, judged: FxHashMap::default(), disagreements: 0 }
    }

    fn state(&mut self, pid: Pid, doing: Doing, stack: Option<StackId>) -> State {
        let wait = match doing {
            Doing::OnCpu { .. } => return State::CpuUser,
            Doing::Runq { preempted: true, .. } => return State::RunqPreempted,
            Doing::Runq { preempted: false, .. } => return State::RunqWaking,
            Doing::Stopped => return State::Stopped,
            Doing::Unknown | Doing::Undetermined => return State::Unknown,
            Doing::Blocked(wait) => wait,
        };
        let tables = self.tables;
        let cause = *self
            .judged
            .entry((wait.site, stack))
            .or_insert_with(|| cause(tables, wait.site, stack));
        match cause {
            Cause::State(state) => state,
            Cause::Handover => self.handovers.state(tables, pid, wait.site, stack),
            Cause::Disagreement => {
                self.disagreements += 1;
                State::Unknown
            }
        }
    }
}

fn cause(tables: &Tables, site: Option<SiteId>, stack: Option<StackId>) -> Cause {
    let site = site.and_then(|site| tables.sites.get(&site));
    let frames: Vec<&str> = stack
        .and_then(|stack| tables.stacks.get(&stack))
        .map_or(&[][..], |stack| &stack.kernel)
        .iter()
        .flat_map(|address| tables.symbols(None, *address, 0))
        .map(|frame| frame.function.as_str())
        .collect();
    let gil = site.is_some_and(|site| match site.object {
        Object::Futex { address, .. } => tables.is_gil(site.pid, address),
        _ => false,
    });
    judge(site, &frames, gil)
}

/// Time of waits that were ended by a thread of the program, and by others.
#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    inside: u64,
    outside: u64,
}

/// Who ended the waits at each site and on each object: it tells of those
/// that nobody was seen to end.
struct Evidence<'a> {
    tables: &'a Tables,
    by_site: FxHashMap<SiteId, Ended>,
    by_object: FxHashMap<&'a Object, Ended>,
}

impl<'a> Evidence<'a> {
    fn gather(tables: &'a Tables, timeline: &Timeline, accounts: &[Vec<Account>]) -> Self {
        let mut found =
            Evidence { tables, by_site: FxHashMap::default(), by_object: FxHashMap::default() };
        for (thread, accounts) in timeline.threads.iter().zip(accounts) {
            for ((start, end, interval), account) in thread.spans().zip(accounts) {
                let Doing::Blocked(wait) = interval.doing else { continue };
                let Some(inside) = ended_inside(account.state, wait.waker) else { continue };
                let Some(id) = wait.site else { continue };
                add(&mut found.by_site, id, inside, end - start);
                if let Some(site) = tables.sites.get(&id)
                    && is_told(&site.object)
                {
                    add(&mut found.by_object, &site.object, inside, end - start);
                }
            }
        }
        found
    }

    fn level(&self, state: State, doing: Doing, pid: Pid) -> Level {
        let Doing::Blocked(wait) = doing else { return Level::Holds };
        match state {
            State::Idle => Level::Idles,
            State::Sleep => Level::Sleeps,
            State::SyncThread | State::LockGil => Level::Follows,
            State::LockUser | State::LockKernel if self.inside(state, wait, pid) => Level::Locked,
            State::Child | State::IoIpc if self.inside(state, wait, pid) => Level::Follows,
            _ => Level::Holds,
        }
    }

    /// Whether the wait is for another part of the program.
    fn inside(&self, state: State, wait: Wait, pid: Pid) -> bool {
        // Who ended it is only guessed without wakeups. Known is whose children
        // are waited for, who holds the other end of a pipe, and that a lock is
        // the program's own.
        if !self.tables.header.capabilities.wakeups {
            match state {
                State::Child => return self.tables.has_child(pid),
                State::LockUser => return true,
                _ if wait.site.is_some_and(|it| self.tables.inside.contains(&it)) => return true,
                _ => {}
            }
        }
        if let Some(inside) = ended_inside(state, wait.waker) {
            return inside;
        }
        let site = wait.site.and_then(|site| self.by_site.get(&site));
        let object = || {
            let site: &Site = self.tables.sites.get(&wait.site?)?;
            self.by_object.get(&site.object)
        };
        match site.copied().or_else(|| object().copied()) {
            Some(ended) => ended.inside >= ended.outside,
            None if wait.site.is_some_and(|site| self.tables.inside.contains(&site)) => true,
            None => match state {
                State::LockUser => true,
                State::Child => self.tables.has_child(pid),
                _ => false,
            },
        }
    }
}

/// `None` when the waker says nothing of whom the wait was for.
fn ended_inside(state: State, waker: Waker) -> Option<bool> {
    match (waker, state) {
        (Waker::Thread(_), _) => Some(true),
        (Waker::Foreign, _) => Some(false),
        // The time limit of a lock says nothing of its owner.
        (Waker::Interrupt, State::LockUser | State::LockKernel) => None,
        (Waker::Interrupt, _) => Some(false),
        (Waker::Unseen, _) => None,
    }
}

/// Whether two sites with this object wait on the same thing.
fn is_told(object: &Object) -> bool {
    !matches!(object, Object::None | Object::Unseen)
}

fn add<K: Hash + Eq>(to: &mut FxHashMap<K, Ended>, key: K, inside: bool, span: u64) {
    let ended = to.entry(key).or_default();
    if inside {
        ended.inside += span;
    } else {
        ended.outside += span;
    }
}
