//! Lock or hand-over? A futex does not say what it guards. A value that all
//! waits expect tells, and else who wakes: those who contend for a lock also
//! release it, so the threads that wake are threads that wait; what is handed
//! over (a join, a queue, a condition) comes from another.

use std::collections::HashSet;

use rustc_hash::FxHashMap;
use whyslow_events::{Object, Pid, SiteId};

use crate::State;
use crate::tables::Tables;
use crate::timeline::{Doing, Timeline, Waker};

/// The mutexes of glibc, Rust and Go wait while their value is this: locked,
/// with waiters. A counter only passes through it.
const CONTENDED: u32 = 2;

/// Who waits on and who wakes each futex of the recording.
#[derive(Debug, Default)]
pub(crate) struct Handovers {
    uses: FxHashMap<(Pid, u64), Use>,
}

#[derive(Debug, Default)]
struct Use {
    /// A wait expected another value than [`CONTENDED`].
    varies: bool,
    waiters: HashSet<u32>,
    wakers: FxHashMap<u32, u64>,
    /// For how long so many waited at once, ns, where nobody tells who wakes.
    at_once: FxHashMap<i32, u64>,
}

impl Handovers {
    /// The next segment.
    pub(crate) fn add(&mut self, tables: &Tables, timeline: &Timeline) {
        // Who ended a wait is only guessed then: of many that are woken at once each
        // would seem to have woken the next.
        let unheard = !tables.header.capabilities.wakeups;
        let mut edges: FxHashMap<(Pid, u64), Vec<(u64, i32)>> = FxHashMap::default();
        for thread in &timeline.threads {
            for (start, end, interval) in thread.spans() {
                let Doing::Blocked(wait) = interval.doing else { continue };
                let Some(futex) = wait.site.and_then(|site| futex(tables, site)) else {
                    continue;
                };
                let used = self.uses.entry(futex.key).or_default();
                used.varies |= futex.expected != CONTENDED;
                used.waiters.insert(thread.number);
                if unheard {
                    edges.entry(futex.key).or_default().extend([(start, 1), (end, -1)]);
                }
                if let Waker::Thread(waker) = wait.waker {
                    *used.wakers.entry(waker).or_default() += 1;
                }
            }
        }
        for (key, edges) in edges {
            self.uses.entry(key).or_default().count(edges);
        }
    }

    /// What the futex of this site is used for.
    pub(crate) fn state(&self, tables: &Tables, site: SiteId) -> State {
        let used = futex(tables, site).and_then(|futex| self.uses.get(&futex.key));
        if used.is_some_and(Use::is_lock) { State::LockUser } else { State::SyncThread }
    }
}

impl Use {
    fn is_lock(&self) -> bool {
        if !self.varies {
            return true;
        }
        if !self.at_once.is_empty() {
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
    /// Waits began (+1) and ended (−1) then.
    fn count(&mut self, mut edges: Vec<(u64, i32)>) {
        edges.sort_unstable();
        let (mut waiting, mut since) = (0, 0);
        for (time, change) in edges {
            if waiting > 0 {
                *self.at_once.entry(waiting).or_default() += time - since;
            }
            waiting += change;
            since = time;
        }
    }

    /// Somebody always has a lock: of those who want it, all but one wait, and
    /// hardly ever all.
    fn takes_turns(&self) -> bool {
        let users = i32::try_from(self.waiters.len()).unwrap_or(i32::MAX);
        let any: u64 = self.at_once.values().sum();
        let of = |waiting: i32| self.at_once.get(&waiting).copied().unwrap_or_default();
        users > 1 && of(users - 1) * 2 > any && of(users) * 4 < any
    }
}

struct Futex {
    key: (Pid, u64),
    expected: u32,
}

fn futex(tables: &Tables, site: SiteId) -> Option<Futex> {
    let site = tables.sites.get(&site)?;
    match site.object {
        Object::Futex { address, expected, .. } => {
            Some(Futex { key: (site.pid, address), expected })
        }
        _ => None,
    }
}
