//! Whether the target does anything at all, which decides how soon it is worth
//! while to look again.

use whyslow_events::Pid;

use super::{Doing, Tracker};
use crate::perf::record::{Body, Record};

impl Tracker {
    /// Whether every thread waits, by all records so far, and there is one.
    pub(crate) fn is_still(&self) -> bool {
        let waits = self.threads.values().all(|thread| thread.doing == Doing::Waiting);
        waits && self.found.is_empty() && !self.threads.is_empty()
    }

    /// Whether a record tells of a thread or process of the target, as far as we
    /// know them.
    pub(crate) fn concerns(&self, record: &Record) -> bool {
        let ours = |tid| self.has(tid);
        match record.body {
            Body::Switch { previous, next, .. } => ours(previous) || ours(next),
            Body::Waking { woken, .. } => ours(woken) || ours(record.tid),
            Body::Exit { tid } | Body::Comm { tid, .. } => ours(tid),
            Body::Fork { parent: pid, .. } | Body::Mmap { pid, .. } => {
                self.processes.contains_key(&Pid(pid))
            }
            Body::Lost { .. } => true,
            _ => ours(record.tid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::KernelCalls;
    use crate::perf::record::Record;
    use crate::target::Attached;

    const MAIN: u32 = 10;

    fn tracker() -> Tracker {
        let mut tracker = Tracker::new(KernelCalls::default(), true, 0);
        assert!(!tracker.is_still(), "nobody is there yet");
        let name = || "main".to_owned();
        let process = Attached { pid: MAIN, parent: None, name: name(), mappings: vec![] };
        tracker.adopt(0, process);
        tracker.begin_thread(0, MAIN, MAIN, name());
        tracker
    }

    fn switch(time: u64, previous: u32, next: u32) -> Record {
        Record { time, tid: previous, body: Body::switch(previous, 1, next) }
    }

    #[test]
    fn a_target_is_still_when_all_wait_and_stirred_by_what_concerns_it() {
        let mut tracker = tracker();
        assert!(!tracker.is_still(), "it is about to run");
        tracker.record(0, switch(1, 0, MAIN));
        assert!(!tracker.is_still());
        tracker.record(0, switch(2, MAIN, 99));
        assert!(tracker.is_still());
        tracker.record(0, switch(3, 99, 0));
        assert!(tracker.is_still(), "a stranger came and went");
        let waking =
            |tid, woken| Record { time: 4, tid, body: Body::Waking { woken, interrupt: false } };
        let records = [switch(4, 99, 98), waking(99, 98), switch(4, 99, MAIN), waking(99, MAIN)];
        assert_eq!(records.map(|record| tracker.concerns(&record)), [false, false, true, true]);
    }
}
