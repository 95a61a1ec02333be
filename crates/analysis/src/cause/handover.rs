//! Lock, hand-over or timer? A futex does not say what it guards. A value that all
//! waits expect tells, and else who wakes: those who contend for a lock also
//! release it, so the threads that wake are threads that wait; what is handed
//! over (a join, a queue, a condition) comes from another. Where nobody ever wakes, and
//! waits end all the same, they ended by their time limit: a JVM sleeps that way. Where
//! the limits were read, it is known which waits have one and which end with it. Where
//! each that waits has a futex of its own, those at one line belong together.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::mem;

use rustc_hash::FxHashMap;
use whyslow_events::{CodeId, Object, Pid, SiteId, StackId};

use super::parked::{Parked, parked};
use super::turns::{Change, Turns};
use crate::State;
use crate::library;
use crate::tables::Tables;
use crate::timeline::{Doing, Limit, Thread, Timeline, Waker};

/// The mutexes of glibc, Rust and Go wait while their value is this: locked,
/// with waiters. A counter only passes through it.
const CONTENDED: u32 = 2;

/// So many waits show whether they are equally long, or end with their limits.
const REGULAR: u64 = 5;
/// Lengths of a magnitude differ by less than this factor.
const ALIKE: f64 = 1.25;
/// Who waits for it less than once in so many times that another does is no user of it: a
/// wait that nobody looked at may have been taken for one of another thread's.
const SELDOM: u64 = 20;

/// Who waits on and who wakes each futex of the recording.
#[derive(Debug, Default)]
pub(crate) struct Handovers {
    uses: FxHashMap<Key, Use>,
    parked: FxHashMap<StackId, Option<Parked>>,
    /// Of each process, where nobody tells who wakes.
    guessed: FxHashMap<Pid, Guessed>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Futex(u64),
    /// Inode and offset, whichever process waits there.
    Shared(u64, u64),
    Semaphores(u64),
    Parked(Option<(CodeId, u32)>),
}

/// It, and the process that has it for itself, if one does.
type Key = (Option<Pid>, What);

impl What {
    /// What a thread of `pid` waits for.
    fn of(self, pid: Pid) -> Key {
        let own = !matches!(self, What::Shared(..) | What::Semaphores(_));
        (own.then_some(pid), self)
    }
}

/// All waits of a process on futexes.
#[derive(Debug, Default)]
struct Guessed {
    waiters: HashSet<u32>,
    ended: u64,
    /// When they ended none of ours ran.
    expired: u64,
}

#[derive(Debug, Default)]
struct Use {
    /// A wait expected another value than [`CONTENDED`].
    varies: bool,
    /// It is known to be a queue. Threads of a pool wake one another at theirs, too.
    queue: bool,
    waiters: FxHashMap<u32, Waiter>,
    wakers: FxHashMap<u32, u64>,
    /// Waits that a timer ended, and those that somebody outside may have ended.
    expired: u64,
    foreign: u64,
    /// Where nobody tells who wakes.
    turns: Turns,
    /// How many waits were of a [`magnitude`], there.
    lengths: BTreeMap<i32, u64>,
    /// Of those whose time limit was known: how many had none, ...
    endless: u64,
    /// ... and how the others ended.
    spared: u64,
    reached: u64,
    untold: u64,
}

/// A wait, and the number of its thread.
#[derive(Clone, Copy, Debug)]
struct Waited {
    by: u32,
    start: u64,
    end: u64,
}

/// The waits of one thread.
#[derive(Debug)]
struct Waiter {
    /// The start of the first.
    since: u64,
    waits: u64,
}

impl Handovers {
    /// The next segment. `open`: how long the waits are so far that a cut fell into, by
    /// number of the thread.
    pub(crate) fn add(&mut self, tables: &Tables, timeline: &Timeline, open: &FxHashMap<u32, u64>) {
        // Who ended a wait is only guessed then: of many that are woken at once each
        // would seem to have woken the next.
        let unheard = !tables.header.capabilities.wakeups;
        let mut waits: FxHashMap<Key, Vec<Waited>> = FxHashMap::default();
        for thread in &timeline.threads {
            self.add_limits(tables, thread);
            let mut begun = open.get(&thread.number).copied().unwrap_or(0);
            for (start, end, interval) in thread.spans() {
                let ns = mem::take(&mut begun) + (end - start);
                let Doing::Blocked(wait) = interval.doing else { continue };
                let ended = wait.waker != Waker::Unseen;
                let Some((what, varies)) = self.what(tables, wait.site, interval.stack) else {
                    continue;
                };
                let key = what.of(thread.pid);
                let used = self.uses.entry(key).or_default();
                used.varies |= varies;
                used.queue |= interval.stack.is_some_and(|stack| {
                    let waits = || self.parked.get(&stack) == Some(&Some(Parked::Condition));
                    is_queue(tables, stack) || unheard && waits()
                });
                let first = Waiter { since: start, waits: 0 };
                used.waiters.entry(thread.number).or_insert(first).waits += 1;
                if unheard {
                    waits.entry(key).or_default().push(Waited { by: thread.number, start, end });
                    *used.lengths.entry(magnitude(ns)).or_default() += u64::from(ended);
                    let guessed = self.guessed.entry(thread.pid).or_default();
                    guessed.waiters.insert(thread.number);
                    guessed.ended += u64::from(ended);
                    guessed.expired += u64::from(wait.waker == Waker::Foreign);
                }
                match wait.waker {
                    Waker::Thread(waker) => *used.wakers.entry(waker).or_default() += 1,
                    Waker::Interrupt => used.expired += 1,
                    // Of ours nobody ran when it ended.
                    Waker::Foreign if unheard => used.expired += 1,
                    Waker::Foreign => used.foreign += 1,
                    Waker::Unseen => {}
                }
            }
        }
        if !waits.is_empty() {
            self.count_turns(timeline, waits);
        }
    }

    fn count_turns(&mut self, timeline: &Timeline, waits: FxHashMap<Key, Vec<Waited>>) {
        let lives: FxHashMap<u32, (u64, u64)> =
            timeline.threads.iter().map(|it| (it.number, (it.start, it.end))).collect();
        for (key, waits) in waits {
            let used = self.uses.entry(key).or_default();
            let most = used.waiters.values().map(|it| it.waits).max().unwrap_or_default();
            let uses_it = |waiter: &Waiter| waiter.waits * SELDOM >= most;
            let change = |time, waiting, users| Change { time, waiting, users };
            let mut changes = Vec::new();
            for Waited { by, start, end } in waits {
                if used.waiters.get(&by).is_some_and(uses_it) {
                    changes.extend([change(start, 1, 0), change(end, -1, 0)]);
                }
            }
            for (number, waiter) in used.waiters.iter().filter(|(_, it)| uses_it(it)) {
                let Some(&(from, to)) = lives.get(number) else { continue };
                changes.extend([change(from.max(waiter.since), 0, 1), change(to, 0, -1)]);
            }
            used.turns.count(changes);
        }
    }

    fn add_limits(&mut self, tables: &Tables, thread: &Thread) {
        for wait in &thread.limited {
            let Some((what, _)) = self.what(tables, Some(wait.site), wait.stack) else { continue };
            let used = self.uses.entry(what.of(thread.pid)).or_default();
            match wait.limit {
                Limit::Endless => used.endless += 1,
                Limit::Spared => used.spared += 1,
                Limit::Reached => used.reached += 1,
                Limit::Untold => used.untold += 1,
            }
        }
    }

    /// What a wait is for, and whether it expects another value than [`CONTENDED`].
    fn what(
        &mut self,
        tables: &Tables,
        site: Option<SiteId>,
        stack: Option<StackId>,
    ) -> Option<(What, bool)> {
        let futex = site.and_then(|site| futex(tables, site));
        match (stack.and_then(|stack| self.parked(tables, stack)), futex) {
            (Some(Parked::Own), _) => None,
            (Some(Parked::At(line)), _) => Some((What::Parked(line), true)),
            (None | Some(Parked::Condition | Parked::Lock), futex) => {
                futex.map(|(what, expected)| (what, expected != Some(CONTENDED)))
            }
        }
    }

    fn parked(&mut self, tables: &Tables, stack: StackId) -> Option<Parked> {
        *self.parked.entry(stack).or_insert_with(|| parked(tables, stack))
    }

    /// Whether the waits of a process may end by their time limits: when the first of
    /// several that end together does, none of ours runs.
    fn expires(&self, pid: Pid) -> bool {
        let expires = |it: &Guessed| it.waiters.len() as u64 * it.expired >= it.ended / 2;
        self.guessed.get(&pid).is_some_and(|it| it.expired > 0 && expires(it))
    }

    /// What a thread of `pid` waits for in a futex.
    pub(crate) fn state(
        &self,
        tables: &Tables,
        pid: Pid,
        site: Option<SiteId>,
        stack: Option<StackId>,
    ) -> State {
        let parked = stack.and_then(|stack| *self.parked.get(&stack)?);
        let what = match parked {
            Some(Parked::Own | Parked::Lock) => return State::LockUser,
            Some(Parked::At(line)) => Some(What::Parked(line)),
            None | Some(Parked::Condition) => site.and_then(|site| Some(futex(tables, site)?.0)),
        };
        let used = what.and_then(|what| self.uses.get(&what.of(pid)));
        match used {
            Some(used) if used.is_timer() => State::Sleep,
            Some(used) if used.is_lock() => State::LockUser,
            Some(used) => match used.limit() {
                Some(Limit::Reached) => State::Sleep,
                None | Some(Limit::Untold) if used.is_regular() && self.expires(pid) => {
                    State::Sleep
                }
                Some(Limit::Untold) => State::Unknown,
                None | Some(Limit::Endless | Limit::Spared) => State::SyncThread,
            },
            None => State::SyncThread,
        }
    }
}

impl Use {
    fn is_timer(&self) -> bool {
        let told = self.endless + self.spared > 0;
        self.varies && !told && self.expired > 0 && self.wakers.is_empty() && self.foreign == 0
    }

    fn is_lock(&self) -> bool {
        if self.queue {
            return false;
        }
        if !self.varies {
            return true;
        }
        if let Some(taken) = self.turns.are_taken() {
            return taken;
        }
        let by_waiters: u64 = self
            .wakers
            .iter()
            .filter(|(waker, _)| self.waiters.contains_key(waker))
            .map(|(_, times)| times)
            .sum();
        by_waiters * 2 > self.wakers.values().sum()
    }

    /// What nearly all waits have in common whose time limit was known; `None` where
    /// hardly any was.
    fn limit(&self) -> Option<Limit> {
        let limited = self.spared + self.reached;
        if self.endless > limited + self.untold {
            Some(Limit::Endless)
        } else if limited >= REGULAR {
            let reached = self.reached * 5 >= limited * 4;
            Some(if reached { Limit::Reached } else { Limit::Spared })
        } else {
            (limited + self.untold >= REGULAR).then_some(Limit::Untold)
        }
    }

    /// Where nobody tells who wakes: nearly all waits are equally long, as a time limit
    /// makes them. (A hand-over by a thread that sleeps is like that, too, and then no more
    /// than that sleep.)
    fn is_regular(&self) -> bool {
        let all: u64 = self.lengths.values().sum();
        let of = |magnitude: i32| self.lengths.get(&magnitude).copied().unwrap_or_default();
        let alike = self.lengths.keys().map(|&magnitude| of(magnitude) + of(magnitude + 1)).max();
        all >= REGULAR && alike.unwrap_or_default() * 5 >= all * 4
    }
}

/// Whether a thread waits there for something to do.
fn is_queue(tables: &Tables, stack: StackId) -> bool {
    let innermost = tables.stacks.get(&stack).and_then(|stack| stack.script.first());
    innermost.is_some_and(|call| tables.is_of(call.code, library::WORKER))
}

fn magnitude(ns: u64) -> i32 {
    (ns.max(1) as f64).log(ALIKE) as i32
}

/// A futex, or what is used as one, and the value that the wait expects, if it does.
fn futex(tables: &Tables, site: SiteId) -> Option<(What, Option<u32>)> {
    match tables.sites.get(&site)?.object {
        Object::Futex { address, expected, .. } => Some((What::Futex(address), Some(expected))),
        Object::SharedFutex { inode, offset, expected, .. } => {
            Some((What::Shared(inode, offset), Some(expected)))
        }
        Object::Semaphores(number) => Some((What::Semaphores(number), None)),
        _ => None,
    }
}
