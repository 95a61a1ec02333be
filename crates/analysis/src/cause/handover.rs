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
}

impl Handovers {
    pub(crate) fn gather(tables: &Tables, timeline: &Timeline) -> Self {
        let mut found = Handovers::default();
        for (index, thread) in (0u32..).zip(&timeline.threads) {
            for interval in &thread.intervals {
                let Doing::Blocked(wait) = interval.doing else { continue };
                let Some(futex) = wait.site.and_then(|site| futex(tables, site)) else {
                    continue;
                };
                let used = found.uses.entry(futex.key).or_default();
                used.varies |= futex.expected != CONTENDED;
                used.waiters.insert(index);
                if let Waker::Thread(waker) = wait.waker {
                    *used.wakers.entry(waker).or_default() += 1;
                }
            }
        }
        found
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
        let by_waiters: u64 = self
            .wakers
            .iter()
            .filter(|(waker, _)| self.waiters.contains(waker))
            .map(|(_, times)| times)
            .sum();
        by_waiters * 2 > self.wakers.values().sum()
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
