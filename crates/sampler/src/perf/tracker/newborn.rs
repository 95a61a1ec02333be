//! Threads so young that the records of their birth are still to come. When they have,
//! most of those that live for a millisecond are gone. So where a process began threads
//! lately, who is there is read now and then, and what was read awaits its thread.

use rustc_hash::FxHashMap;
use whyslow_events::{Pid, SpaceId, Tid, UserRegisters};

use super::Tracker;
use super::chains::Reach;
use super::scripts::{LATELY, Lately};

/// Time between two such looks, ns: one costs some 300 µs.
const SELDOM: u64 = 50_000_000;
/// Threads read in one look at most.
const READS: usize = 6;
/// Where more threads are alive nobody looks for another: they are listed at each look.
const CROWD: usize = 256;
/// What nobody came for is dropped after so long, ns.
const KEPT: u64 = 1_000_000_000;

/// What threads ran that nobody has heard of.
#[derive(Debug, Default)]
pub(super) struct Newborn {
    reads: FxHashMap<Tid, (u64, Lately)>,
    next: u64,
}

impl Newborn {
    /// What was read of a thread before it was heard of.
    pub(super) fn claim(&mut self, tid: Tid) -> Lately {
        self.reads.remove(&tid).map(|(_, lately)| lately).unwrap_or_default()
    }
}

impl Tracker {
    /// Reads threads that are there at `now` and that no record told of.
    pub(super) fn read_newborn(&mut self, now: u64, clock: &impl Fn() -> u64) {
        if now < self.scripts.newborn.next {
            return;
        }
        let mut fertile: Vec<(Pid, SpaceId)> = self
            .processes
            .iter()
            .filter(|(_, process)| process.bore.is_some_and(|time| time + LATELY >= now))
            .filter(|(_, process)| process.alive <= CROWD)
            .map(|(pid, process)| (*pid, process.space))
            .filter(|(_, space)| self.scripts.may_run_in(*space))
            .collect();
        if fertile.is_empty() {
            return;
        }
        fertile.sort_unstable();
        let newborn = &mut self.scripts.newborn;
        newborn.next = now + SELDOM;
        newborn.reads.retain(|_, (read, _)| *read + KEPT >= now);
        let mut left = READS;
        for (pid, space) in fertile {
            let there = self.waits.inspector().tids(pid.0).into_iter().map(Tid);
            let unheard: Vec<Tid> = there.filter(|tid| !self.threads.contains_key(tid)).collect();
            for tid in unheard.into_iter().take(left) {
                left -= 1;
                if let Some(lately) = self.read_unheard((pid, space), tid, clock) {
                    self.scripts.newborn.reads.insert(tid, (now, lately));
                }
            }
        }
    }

    /// The calls of a thread, and the native stack of one that waits: it may be the only
    /// one of its kind that is seen.
    fn read_unheard(
        &mut self,
        (pid, space): (Pid, SpaceId),
        tid: Tid,
        clock: &impl Fn() -> u64,
    ) -> Option<Lately> {
        let mut lately = Lately::default();
        let begun = clock();
        let waits = self.waits.inspector().call(pid.0, tid.0);
        let script = self.read_calls((pid, space), tid, false)?.ok()?;
        match waits {
            None => {
                let ran = self.waits.inspector().runs(pid.0, tid.0);
                lately.see([begun, clock()], ran, script);
            }
            Some(call) => {
                let registers = UserRegisters::new(call.pc, call.sp);
                let user =
                    self.read_stack_in(self.now, (pid.0, space), &registers, Reach::default())?;
                lately.see_waiting([begun, clock()], script, (registers, user));
            }
        }
        Some(lately)
    }
}
