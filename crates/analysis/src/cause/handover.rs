//! Lock, hand-over or timer? A futex does not say what it guards. A value that all
//! waits expect tells, and else who wakes: those who contend for a lock also
//! release it, so the threads that wake are threads that wait; what is handed
//! over (a join, a queue, a condition) comes from another. Where nobody ever wakes, and
//! waits end all the same, they ended by their time limit: a JVM sleeps that way. Where
//! each that waits has a futex of its own, those at one line belong together.

use std::collections::HashSet;

use rustc_hash::FxHashMap;
use whyslow_events::{CodeId, Object, Pid, SiteId, StackId};

use super::parked::{Parked, parked};
use crate::State;
use crate::tables::Tables;
use crate::timeline::{Doing, Timeline, Waker};

/// The mutexes of glibc, Rust and Go wait while their value is this: locked,
/// with waiters. A counter only passes through it.
const CONTENDED: u32 = 2;

/// So many waits show whether they are equally long.
const REGULAR: usize = 5;

/// Who waits on and who wakes each futex of the recording.
#[derive(Debug, Default)]
pub(crate) struct Handovers {
    uses: FxHashMap<(Pid, What), Use>,
    parked: FxHashMap<StackId, Option<Parked>>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Futex(u64),
    Parked(Option<(CodeId, u32)>),
}

#[derive(Debug, Default)]
struct Use {
    /// A wait expected another value than [`CONTENDED`].
    varies: bool,
    waiters: HashSet<u32>,
    wakers: FxHashMap<u32, u64>,
    /// Waits that a timer ended, and those that somebody outside may have ended.
    expired: u64,
    foreign: u64,
    /// When a wait began (+1) or ended (−1), where nobody tells who wakes.
    edges: Vec<(u64, i32)>,
}

impl Handovers {
    pub(crate) fn gather(tables: &Tables, timeline: &Timeline) -> Self {
        let mut found = Handovers::default();
        // Who ended a wait is only guessed then: of many that are woken at once each
        // would seem to have woken the next.
        let unheard = !tables.header.capabilities.wakeups;
        for (index, thread) in (0u32..).zip(&timeline.threads) {
            for (start, end, interval) in thread.spans() {
                let Doing::Blocked(wait) = interval.doing else { continue };
                let futex = wait.site.and_then(|site| futex(tables, site));
                let parked = interval.stack.and_then(|stack| found.parked(tables, stack));
                let (what, varies) = match (parked, futex) {
                    (Some(Parked::Own), _) | (None, None) => continue,
                    (Some(Parked::At(line)), _) => (What::Parked(line), true),
                    (None, Some((address, expected))) => {
                        (What::Futex(address), expected != CONTENDED)
                    }
                };
                let used = found.uses.entry((thread.pid, what)).or_default();
                used.varies |= varies;
                used.waiters.insert(index);
                if unheard {
                    used.edges.extend([(start, 1), (end, -1)]);
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
        found
    }

    fn parked(&mut self, tables: &Tables, stack: StackId) -> Option<Parked> {
        *self.parked.entry(stack).or_insert_with(|| parked(tables, stack))
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
            Some(Parked::Own) => return State::LockUser,
            Some(Parked::At(line)) => Some(What::Parked(line)),
            None => site.and_then(|site| Some(What::Futex(futex(tables, site)?.0))),
        };
        let used = what.and_then(|what| self.uses.get(&(pid, what)));
        match used {
            Some(used) if used.is_timer() => State::Sleep,
            Some(used) if used.is_lock() => State::LockUser,
            Some(used) if used.is_regular() => State::Sleep,
            _ => State::SyncThread,
        }
    }
}

impl Use {
    fn is_timer(&self) -> bool {
        self.varies && self.expired > 0 && self.wakers.is_empty() && self.foreign == 0
    }

    fn is_lock(&self) -> bool {
        if !self.varies {
            return true;
        }
        if !self.edges.is_empty() {
            return self.takes_turns();
        }
        let by_waiters: u64 = self
            .wakers
            .iter()
            .filter(|(waker, _)| self.waiters.contains(waker))
            .map(|(_, times)| times)
            .sum();
        by_waiters * 2 > self.wakers.values().sum()
    }
}

impl Use {
    /// Where nobody tells who wakes: nearly all waits are equally long, as a time limit
    /// makes them, and when the first of several ended none of ours ran. (A hand-over by a
    /// thread that sleeps is like that, too, and then no more than that sleep.)
    fn is_regular(&self) -> bool {
        let mut lengths: Vec<u64> =
            self.edges.as_chunks().0.iter().map(|[(start, _), (end, _)]| end - start).collect();
        lengths.sort_unstable();
        let median = lengths.get(lengths.len() / 2).copied().unwrap_or_default();
        let like_it = lengths.iter().filter(|length| length.abs_diff(median) * 4 <= median);
        let together = self.waiters.len() as u64 * self.expired >= lengths.len() as u64 / 2;
        together && lengths.len() >= REGULAR && like_it.count() * 5 >= lengths.len() * 4
    }

    /// Somebody always has a lock: of those who want it, all but one wait, and
    /// hardly ever all.
    fn takes_turns(&self) -> bool {
        let users = i32::try_from(self.waiters.len()).unwrap_or(i32::MAX);
        let mut edges = self.edges.clone();
        edges.sort_unstable();
        let (mut waiting, mut since) = (0, 0);
        let [mut any, mut but_one, mut all] = [0_u64; 3];
        for (time, change) in edges {
            let span = time - since;
            any += if waiting > 0 { span } else { 0 };
            but_one += if waiting == users - 1 { span } else { 0 };
            all += if waiting == users { span } else { 0 };
            waiting += change;
            since = time;
        }
        users > 1 && but_one * 2 > any && all * 4 < any
    }
}

/// Its address, and the value that the wait expects.
fn futex(tables: &Tables, site: SiteId) -> Option<(u64, u32)> {
    match tables.sites.get(&site)?.object {
        Object::Futex { address, expected, .. } => Some((address, expected)),
        _ => None,
    }
}
