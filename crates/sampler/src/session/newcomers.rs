//! Stacks at the switches of threads that begin after the numbers of threads
//! have started anew.

use super::Session;
use super::seeds::threads_of;
use crate::Error;
use crate::perf::record::{Body, Record};

impl Session {
    /// The thread that begins, of the target or not, if no stacks are taken at its
    /// switches yet.
    pub(super) fn newcomer(&self, record: &Record) -> Option<u32> {
        let Body::Fork { tid, .. } = record.body else { return None };
        (!self.rings.takes_stacks_of(tid)).then_some(tid)
    }

    /// Takes the stacks of the threads that are there after a delay.
    pub(super) fn take_stacks_of_all(&mut self) -> Result<(), Error> {
        let newest = self.proc.newest();
        let inherit = self.options.inherit;
        let threads = threads_of(&self.proc, &self.what, self.child.as_ref(), inherit);
        if threads.iter().all(|tid| self.rings.takes_stacks_of(*tid)) {
            return Ok(());
        }
        self.rings.take_stacks_of(threads, newest)
    }

    /// Takes their stacks from now on, if any of them is the target's.
    pub(super) fn take_stacks_of(&mut self, newcomers: &[u32]) -> Result<(), Error> {
        if !newcomers.iter().any(|tid| self.tracker.follows(*tid)) {
            return Ok(());
        }
        // Of those that begin while we ask, the records tell later.
        let newest = self.proc.newest();
        let threads = self.tracker.threads().map(|(tid, _)| tid.0).collect();
        self.rings.take_stacks_of(threads, newest)
    }
}
