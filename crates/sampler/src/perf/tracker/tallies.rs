//! From the kernel's tally of a pause to events, and what the threads do by its end.

use whyslow_events::{Event, Off, Tid};

use super::chains::Known;
use super::looks::Reading;
use super::{Doing, Tracker, off_of};
use crate::perf::Tally;
use crate::perf::tally::{AtEnd, Stay, Why};

impl Tracker {
    /// What was tallied in a pause that lasts, read at `time`.
    pub(crate) fn note_tally(&mut self, time: u64, tally: Tally) {
        self.looks.put(time, Reading::Tallied(tally));
    }

    /// Whether a thread is one of ours, in a pause that is tallied.
    pub(crate) fn is_tallied(&self, tid: u32) -> bool {
        self.pauses.is_tallied() && self.has(tid)
    }

    /// Tells what was tallied of a thread that ends at `time`.
    pub(crate) fn tell_tally(&mut self, time: u64, tid: u32, tally: &Tally) {
        let own = tally.stays.iter().filter(|stay| stay.tid == tid);
        own.for_each(|stay| self.tell_stay(time, *stay));
        // Who has no other ran all the time.
        let (tid, off) = (Tid(tid), None);
        self.emit(time, Event::Tally { tid, off, times: 0, off_ns: 0, queued_ns: 0 });
    }

    /// The same of a tally that was read at the pause's end, which is still to come; false
    /// where there is none.
    pub(crate) fn tell_pending_tally(&mut self, time: u64, tid: u32) -> bool {
        let Some(tally) = self.looks.pending_tally() else { return false };
        let own = tally.stays.iter().copied().filter(|stay| stay.tid == tid);
        let own = Tally { stays: own.collect(), ends: vec![] };
        self.tell_tally(time, tid, &own);
        true
    }

    /// Reports it, when the records have come so far.
    pub(super) fn place_tally(&mut self, time: u64, Tally { stays, ends }: Tally) {
        stays.into_iter().for_each(|stay| self.tell_stay(time, stay));
        for (tid, end) in ends {
            self.place_end(time, Tid(tid), end);
        }
        self.emit(time, Event::Tallied);
    }

    fn tell_stay(&mut self, time: u64, stay: Stay) {
        let Stay { tid, why, times, off_ns, queued_ns } = stay;
        let tid = Tid(tid);
        if let Some((off, _)) = self.off(time, tid, why) {
            self.emit(time, Event::Tally { tid, off, times, off_ns, queued_ns });
        }
    }

    fn place_end(&mut self, time: u64, tid: Tid, end: AtEnd) {
        if !self.threads.contains_key(&tid) {
            return;
        }
        let AtEnd::Off { why, off_ns } = end else {
            self.set(time, tid, Doing::Running);
            self.forget_wait(tid);
            return;
        };
        let Some((off, wants_look)) = self.off(time, tid, why) else { return };
        self.forget_wait(tid);
        self.emit(time, Event::Tally { tid, off, times: 0, off_ns, queued_ns: 0 });
        match off {
            Some(Off::Preempted) => self.set(time, tid, Doing::Runnable),
            Some(Off::Blocked { site: Some(site), .. }) => {
                self.set(time, tid, Doing::Waiting);
                self.emit(time, Event::Look { tid, site, stack: None });
                let Some(thread) = self.threads.get_mut(&tid) else { return };
                thread.asleep = time.saturating_sub(off_ns);
                thread.site = Some(site);
                let wait = thread.wait;
                self.looks.want(time, tid, wait, wants_look, Known::No);
            }
            _ => self.set(time, tid, Doing::Waiting),
        }
    }

    /// Why a thread went off its CPU, and whether a look would tell more; nothing of one that
    /// is gone. The inner is nothing where it had none before.
    fn off(&mut self, now: u64, tid: Tid, why: Why) -> Option<(Option<Off>, bool)> {
        let pid = self.threads.get(&tid)?.pid;
        let space = self.processes.get(&pid)?.space;
        let Why::Left { state, call, pc, arguments } = why else { return Some((None, false)) };
        let uninterruptible = match off_of(state) {
            Off::Blocked { uninterruptible, .. } => uninterruptible,
            Off::Dead => return None,
            other => return Some((Some(other), false)),
        };
        let mut new = vec![];
        let wait =
            self.waits.told(now, (pid, space), (call, pc, arguments), |event| new.push(event));
        if !new.is_empty() {
            self.report_space(now, space);
            new.into_iter().for_each(|event| self.emit(now, event));
        }
        Some((Some(Off::Blocked { site: Some(wait.site), uninterruptible }), wait.wants_look))
    }
}
