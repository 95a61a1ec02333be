//! Lock or hand-over? A futex does not say what it guards. Those who contend
//! for a lock also release it, so the threads that wake are threads that wait;
//! what is handed over (a join, a queue, a condition) comes from another.

use std::collections::{HashMap, HashSet};

use whyslow_events::{Object, Pid, SiteId};

use crate::State;
use crate::tables::Tables;
use crate::timeline::{Doing, Timeline, Waker};

/// Who waits on and who wakes each futex of the recording.
#[derive(Debug, Default)]
pub(crate) struct Handovers {
    uses: HashMap<(Pid, u64), Use>,
}

#[derive(Debug, Default)]
struct Use {
    waiters: HashSet<u32>,
    wakers: HashMap<u32, u64>,
}

impl Handovers {
    pub(crate) fn gather(tables: &Tables, timeline: &Timeline) -> Self {
        let mut found = Handovers::default();
        for (index, thread) in (0u32..).zip(&timeline.threads) {
            for interval in &thread.intervals {
                let Doing::Blocked(wait) = interval.doing else { continue };
                let Some(key) = wait.site.and_then(|site| futex(tables, site)) else { continue };
                let used = found.uses.entry(key).or_default();
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
        let used = futex(tables, site).and_then(|key| self.uses.get(&key));
        if used.is_some_and(Use::is_lock) { State::LockUser } else { State::SyncThread }
    }
}

impl Use {
    fn is_lock(&self) -> bool {
        let by_waiters: u64 = self
            .wakers
            .iter()
            .filter(|(waker, _)| self.waiters.contains(waker))
            .map(|(_, times)| times)
            .sum();
        by_waiters * 2 > self.wakers.values().sum()
    }
}

fn futex(tables: &Tables, site: SiteId) -> Option<(Pid, u64)> {
    let site = tables.sites.get(&site)?;
    match site.object {
        Object::Futex { address, .. } => Some((site.pid, address)),
        _ => None,
    }
}
