//! How long was waited for objects at which places, gathered before anything is judged.
//! Where the calls of an interpreted program were not read, the thread is where it was
//! seen in the same system call before or, if it was not yet, where it is seen next.

use rustc_hash::FxHashMap;
use whyslow_events::{SiteId, StackId};

use super::super::brief::has_calls;
use super::super::{Doing, Thread};
use crate::cause::by_object;
use crate::tables::Tables;

/// A site, and where in the code.
type At = (SiteId, Option<StackId>);

/// Sums of time, ns.
#[derive(Debug, Default)]
pub(in super::super) struct Waited {
    sums: FxHashMap<At, u64>,
    /// The program counter of calls that leave it to their object what they wait for.
    calls: FxHashMap<SiteId, Option<u64>>,
    /// By number of those threads that go on.
    threads: FxHashMap<u32, Calls>,
}

/// Of one thread, by program counter.
type Calls = FxHashMap<u64, Seen>;

/// Where a thread is in a system call.
#[derive(Debug)]
enum Seen {
    /// With these calls, lately.
    In(StackId),
    /// It was not seen yet, and waited so long.
    NotYet(FxHashMap<At, u64>),
}

impl Waited {
    /// What a thread does in the next segment.
    pub(in super::super) fn add(&mut self, thread: &Thread, tables: &Tables) {
        let mut calls = self.threads.remove(&thread.number).unwrap_or_default();
        for (start, end, interval) in thread.spans() {
            let Doing::Blocked(wait) = interval.doing else { continue };
            let Some(site) = wait.site else { continue };
            let pc = *self.calls.entry(site).or_insert_with(|| pc(site, tables));
            let Some(pc) = pc else { continue };
            let at = (site, interval.stack);
            let seen = calls.entry(pc).or_insert_with(|| Seen::NotYet(FxHashMap::default()));
            let read = interval.stack.filter(|stack| has_calls(*stack, tables));
            if let Some(stack) = read
                && let Seen::NotYet(sums) = std::mem::replace(seen, Seen::In(stack))
            {
                sums.into_iter().for_each(|((site, _), ns)| self.count((site, Some(stack)), ns));
            }
            match (read, seen) {
                (None, Seen::In(stack)) => self.count((site, Some(*stack)), end - start),
                (None, Seen::NotYet(sums)) => *sums.entry(at).or_default() += end - start,
                (Some(_), _) => self.count(at, end - start),
            }
        }
        if thread.goes_on {
            self.threads.insert(thread.number, calls);
        } else {
            self.leave(calls);
        }
    }

    fn count(&mut self, at: At, ns: u64) {
        *self.sums.entry(at).or_default() += ns;
    }

    /// What was not seen until the end never is.
    fn leave(&mut self, calls: Calls) {
        for seen in calls.into_values() {
            let Seen::NotYet(sums) = seen else { continue };
            sums.into_iter().for_each(|(at, ns)| self.count(at, ns));
        }
    }

    pub(super) fn sums(mut self) -> FxHashMap<At, u64> {
        let threads = std::mem::take(&mut self.threads);
        threads.into_values().for_each(|calls| self.leave(calls));
        self.sums
    }
}

fn pc(site: SiteId, tables: &Tables) -> Option<u64> {
    let site = tables.sites.get(&site)?;
    by_object(site).map(|_| site.pc)
}
