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
    pub(crate) fn tell_tally(
        &mut self,
        time: u64,
        tid: u32,
        (stays, ran): (Vec<Stay>, Option<u64>),
    ) {
        stays.into_iter().for_each(|stay| self.tell_stay(time, stay));
        // Who has not left a CPU ran all the time.
        self.emit(time, Event::TalliedCpu { tid: Tid(tid), cpu_ns: ran.unwrap_or(1) });
    }

    /// The same of a tally that was read at the pause's end, which is still to come; false
    /// where there is none.
    pub(crate) fn tell_pending_tally(&mut self, time: u64, tid: u32) -> bool {
        let Some(tally) = self.looks.pending_tally() else { return false };
        let own = tally.of(tid);
        self.tell_tally(time, tid, own);
        true
    }

    /// Reports it, when the records have come so far.
    pub(super) fn place_tally(&mut self, time: u64, Tally { stays, ran, ends }: Tally) {
        stays.into_iter().for_each(|stay| self.tell_stay(time, stay));
        for (tid, cpu_ns) in ran {
            if self.has(tid) {
                self.emit(time, Event::TalliedCpu { tid: Tid(tid), cpu_ns });
            }
        }
        for (tid, end) in ends {
            self.place_end(time, Tid(tid), end);
        }
        self.emit(time, Event::Tallied);
    }

    fn tell_stay(&mut self, time: u64, stay: Stay) {
        let Stay { tid, why, times, off_ns, queued_ns } = stay;
        let tid = Tid(tid);
        if let Some((off, _)) = self.off(time, tid, why) {
            self.tell_place(time, tid, off, why);
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
        let known = self.tell_place(time, tid, off, why);
        self.emit(time, Event::Tally { tid, off, times: 0, off_ns, queued_ns: 0 });
        match off {
            Some(Off::Preempted) => self.set(time, tid, Doing::Runnable),
            Some(Off::Blocked { site: Some(site), .. }) => {
                self.set(time, tid, Doing::Waiting);
                self.emit(time, Event::Look { tid, site, stack: None });
                let Some(thread) = self.threads.get_mut(&tid) else { return };
                thread.asleep = time.saturating_sub(off_ns);
                thread.site = Some(site);
                let (since, wait) = (thread.asleep, thread.wait);
                self.looks.want(since, tid, wait, wants_look, known);
            }
            _ => self.set(time, tid, Doing::Waiting),
        }
    }

    /// Tells where in the code a wait is, as far as it is known of one before.
    fn tell_place(&mut self, time: u64, tid: Tid, off: Option<Off>, why: Why) -> Known {
        let (Why::Left { pc, sp, .. }, Some(Off::Blocked { site: Some(site), .. })) = (why, off)
        else {
            return Known::No;
        };
        let Some(stack) = self.stack_lent(time, tid, (pc, sp)) else { return Known::No };
        self.emit(time, Event::TalliedIn { tid, site, stack });
        Known::FromBefore
    }

    /// Why a thread went off its CPU, and whether a look would tell more; nothing of one that
    /// is gone. The inner is nothing where it had none before.
    fn off(&mut self, now: u64, tid: Tid, why: Why) -> Option<(Option<Off>, bool)> {
        let pid = self.threads.get(&tid)?.pid;
        let space = self.processes.get(&pid)?.space;
        let Why::Left { state, call, pc, arguments, .. } = why else { return Some((None, false)) };
        let uninterruptible = match off_of(state) {
            Off::Blocked { uninterruptible, .. } => uninterruptible,
            Off::Dead => return None,
            other => return Some((Some(other), false)),
        };
        let mut new = vec![];
        let wait =
            self.waits.told(now, (pid, space), (call, pc, arguments), |event| new.push(event));
        self.define_sites(now, space, new);
        Some((Some(Off::Blocked { site: Some(wait.site), uninterruptible }), wait.wants_look))
    }
}

#[cfg(test)]
mod tests {
    use whyslow_events::{SiteId, Timed};

    use super::*;
    use crate::perf::KernelCalls;
    use crate::perf::record::{Body, Record};
    use crate::perf::waits::Call;
    use crate::target::Attached;

    const MAIN: u32 = 10;
    const SLEEPS: Why =
        Why::Left { state: 1, call: Call::Number(230), pc: 5, sp: 6, arguments: [1, 2, 3] };

    fn tracker() -> Tracker {
        let mut tracker = Tracker::new(KernelCalls::default(), true, 0);
        let name = || "main".to_owned();
        tracker.adopt(0, Attached { pid: MAIN, parent: None, name: name(), mappings: vec![] });
        tracker.begin_thread(0, MAIN, MAIN, name());
        tell(&mut tracker, 1, Body::Paused { tallied: true });
        tracker
    }

    fn tell(tracker: &mut Tracker, time: u64, body: Body) {
        tracker.record(0, Record { time, tid: MAIN, body });
    }

    fn told(tracker: &mut Tracker) -> Vec<Event> {
        let told = tracker.take_events().map(|Timed { event, .. }| event);
        let of_pause = |event: &Event| {
            matches!(
                event,
                Event::Tally { .. }
                    | Event::TalliedCpu { .. }
                    | Event::Tallied
                    | Event::Look { .. }
                    | Event::Exit { .. }
                    | Event::Resumed
            )
        };
        told.filter(of_pause).collect()
    }

    fn event(off: Option<Off>, times: u64, off_ns: u64) -> Event {
        Event::Tally { tid: Tid(MAIN), off, times, off_ns, queued_ns: times }
    }

    fn stay(why: Why) -> Stay {
        Stay { tid: MAIN, why, times: 2, off_ns: 20, queued_ns: 2 }
    }

    #[test]
    fn a_tally_is_told_before_the_pause_ends_and_a_wait_that_goes_on_is_seen() {
        let mut tracker = tracker();
        let off = AtEnd::Off { why: SLEEPS, off_ns: 7 };
        let stays = vec![stay(Why::Before), stay(SLEEPS), Stay { tid: 99, ..stay(SLEEPS) }];
        tracker.note_tally(
            40,
            Tally { stays, ran: vec![(MAIN, 9), (99, 9)], ends: vec![(MAIN, off), (99, off)] },
        );
        tell(&mut tracker, 50, Body::Resumed);
        let site = SiteId(0);
        let sleeps = Some(Off::Blocked { site: Some(site), uninterruptible: false });
        let expected = [
            event(None, 2, 20),
            event(sleeps, 2, 20),
            Event::TalliedCpu { tid: Tid(MAIN), cpu_ns: 9 },
            event(sleeps, 0, 7),
            Event::Look { tid: Tid(MAIN), site, stack: None },
            Event::Tallied,
            Event::Resumed,
        ];
        assert_eq!(told(&mut tracker), expected);
        assert_eq!(tracker.rests_since(Tid(MAIN)), Some(33));
    }

    #[test]
    fn who_ends_in_a_pause_does_so_with_its_tally() {
        let tally = || Tally { stays: vec![stay(SLEEPS)], ran: vec![(MAIN, 9)], ends: vec![] };
        let ends = |tell_it: fn(&mut Tracker, Tally)| {
            let mut tracker = tracker();
            assert!(tracker.is_tallied(MAIN) && !tracker.is_tallied(99));
            tell_it(&mut tracker, tally());
            tell(&mut tracker, 30, Body::Exit { tid: MAIN });
            told(&mut tracker)
        };
        let of_the_living = ends(|tracker, tally| tracker.tell_tally(30, MAIN, tally.of(MAIN)));
        assert!(
            matches!(
                of_the_living[..],
                [
                    Event::Tally { times: 2, .. },
                    Event::TalliedCpu { cpu_ns: 9, .. },
                    Event::Exit { .. }
                ]
            ),
            "{of_the_living:?}"
        );
        let read_later = ends(|tracker, tally| {
            assert!(!tracker.tell_pending_tally(30, MAIN));
            tracker.note_tally(40, tally);
            assert!(tracker.tell_pending_tally(30, MAIN));
        });
        assert_eq!(read_later, of_the_living);
    }
}
