//! Stacks at the switches of threads that begin after the numbers of threads
//! have started anew.

use super::Session;
use super::seeds::threads_of;
use crate::Error;
use crate::perf::record::{Body, Record};

impl Session {
    /// Threads that begin in `batch`, of the target or not, at whose switches no
    /// stacks are taken yet.
    pub(super) fn newcomers(&self, batch: &[(u32, Record)]) -> Vec<u32> {
        let born = batch.iter().filter_map(|(_, record)| match record.body {
            Body::Fork { tid, .. } => Some(tid),
            _ => None,
        });
        born.filter(|tid| !self.rings.takes_stacks_of(*tid)).collect()
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
