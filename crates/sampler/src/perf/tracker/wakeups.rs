//! Who wakes whom.

use whyslow_events::{Event, Tid, Wakener};

use super::{Doing, Tracker};

impl Tracker {
    pub(super) fn waking(&mut self, time: u64, woken: Tid, by: Tid, interrupt: bool) {
        let by = if interrupt || by.0 == 0 {
            Wakener::Interrupt
        } else if self.threads.contains_key(&by) {
            Wakener::Thread(by)
        } else {
            Wakener::Foreign
        };
        self.woken(time, woken, by);
    }

    /// Whether the wakeups of idle CPUs are kept from us: one may be missing because a record
    /// was lost, so many in a row are not.
    pub(crate) fn misses_wakeups(&self) -> bool {
        const MANY: u32 = 16;
        self.unheard >= MANY
    }

    /// A thread has a CPU that was idle.
    pub(super) fn woken_from_idleness(&mut self, time: u64, tid: Tid) {
        match self.threads.get(&tid).map(|thread| thread.doing) {
            Some(Doing::Waiting) => self.unheard = self.unheard.saturating_add(1),
            Some(_) if !self.misses_wakeups() => self.unheard = 0,
            _ => {}
        }
        self.woken_unseen(time, tid);
    }

    /// A thread has a CPU that was idle, and nothing told that it was woken: the kernel kept
    /// that to itself as it did the switch, and to an idle CPU only an interrupt comes.
    pub(super) fn woken_unseen(&mut self, time: u64, tid: Tid) {
        let waits = self.threads.get(&tid).is_some_and(|thread| thread.doing == Doing::Waiting);
        // Where no wakeup is recorded, one more that is not tells nothing.
        if waits && self.glances.is_none() {
            self.woken(time, tid, Wakener::Interrupt);
        }
    }

    fn woken(&mut self, time: u64, woken: Tid, by: Wakener) {
        if !self.knows(woken, time) {
            return;
        }
        self.end_wait(time, woken);
        self.emit(time, Event::Wakeup { tid: woken, by });
        if let Some(thread) = self.threads.get_mut(&woken)
            && thread.doing == Doing::Waiting
        {
            thread.repeats.end(by == Wakener::Interrupt);
            self.set(time, woken, Doing::Runnable);
        }
    }
}
