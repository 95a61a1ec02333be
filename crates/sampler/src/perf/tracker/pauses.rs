//! Pauses, in which no switch is recorded: what the threads do by their ends, nobody has
//! told. Those that have waited for long are taken to wait on; a look shows whether.

use whyslow_events::{Event, Tid};

use super::glances::{Glance, Looked};
use super::looks::{Reading, Why};
use super::{Doing, Occupant, Thread, Tracker};

/// Looks at the end of a pause at most: some 15 µs each.
const LOOKS: usize = 256;

/// Who has waited for so long, ns, is taken to wait on.
const LONG: u64 = 20_000_000;

/// Whether recording pauses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pauses {
    paused: bool,
    /// The kernel tallies what it does not tell.
    tallied: bool,
    /// It did so before, or does.
    any: bool,
    /// When a pause that nobody tallied was over last, ns; 0 where none is.
    untold_until: u64,
}

impl Pauses {
    pub(super) fn paused(self) -> bool {
        self.paused
    }

    /// It pauses, and there will be a tally of all that happens.
    pub(super) fn is_tallied(self) -> bool {
        self.paused && self.tallied
    }

    /// Whether no record has told what a thread does since a pause began that nobody tallied.
    pub(super) fn is_untold(self, thread: &Thread) -> bool {
        self.paused || thread.asleep.max(thread.ran) < self.untold_until
    }
}

impl Tracker {
    /// Whether recording paused, by all records so far, and nothing tallies what is done.
    pub(crate) fn paused(&self) -> bool {
        self.pauses.paused && !self.pauses.tallied
    }

    /// Whether it has paused at all.
    pub(crate) fn has_paused(&self) -> bool {
        self.pauses.any
    }

    /// Switches are recorded no more, but may be `tallied`.
    pub(super) fn pause(&mut self, time: u64, tallied: bool) {
        for on_cpu in self.cpus.values_mut() {
            (on_cpu.current, on_cpu.taken) = (None, None);
            if on_cpu.occupant == Occupant::Own {
                on_cpu.occupant = Occupant::Unknown;
                on_cpu.reported = Occupant::Unknown;
            }
        }
        if let Some(ticks) = &mut self.ticks {
            ticks.end_all();
        }
        self.emit(time, Event::Paused);
        self.pauses = Pauses { paused: true, tallied, any: true, ..self.pauses };
        let exiting = self.threads.iter().filter(|(_, thread)| thread.exiting);
        let exiting: Vec<Tid> = exiting.map(|(tid, _)| *tid).collect();
        exiting.into_iter().for_each(|tid| self.end_in_pause(tid));
        if !tallied {
            self.forget_waits();
        }
    }

    /// Those that have not lasted for long may end unheard: who is in one has a CPU, for all
    /// we know.
    fn forget_waits(&mut self) {
        let now = self.now;
        let lasts = |thread: &Thread| now.saturating_sub(thread.asleep.max(thread.ran)) >= LONG;
        let short = |thread: &Thread| thread.doing != Doing::Waiting || !lasts(thread);
        let short = self.threads.iter().filter(|(_, thread)| short(thread));
        let short: Vec<Tid> = short.map(|(tid, _)| *tid).collect();
        for tid in short {
            self.set(now, tid, Doing::Running);
            self.forget_wait(tid);
        }
    }

    /// What was known of the wait that a thread was in last is of no other.
    pub(super) fn forget_wait(&mut self, tid: Tid) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.wait += 1;
            (thread.site, thread.left, thread.waits_in) = (None, None, None);
            thread.looked_at = Looked::No;
        }
    }

    /// They are recorded again.
    pub(super) fn resume_recording(&mut self, time: u64) {
        self.emit(time, Event::Resumed);
        self.pauses.paused = false;
        if !self.pauses.tallied {
            self.pauses.untold_until = time;
        }
    }

    /// Looks at threads that wait as a pause begins and that nobody has looked at: what they do
    /// at an instant is what they mostly do.
    pub(crate) fn look_before_pause(&mut self, now: u64, clock: impl Fn() -> u64) {
        if self.glances.is_none() {
            return;
        }
        let unseen = |tid: &Tid| self.threads[tid].looked_at == Looked::No;
        let unseen: Vec<Tid> = self.unseen().into_iter().filter(unseen).take(LOOKS).collect();
        for tid in unseen {
            self.glance_at(now, tid, &mut 0, &clock);
        }
    }

    /// Looks at threads, before a pause begins, that wait where none of theirs was known to:
    /// what is tallied of them has the stacks of such waits.
    pub(crate) fn look_at_new_waits(&mut self, now: u64, clock: impl Fn() -> u64) {
        if self.glances.is_none() {
            self.look_at(Why::New, now, LOOKS, &clock);
        }
    }

    /// Looks at threads that have run in a pause that is just over: what they wait in now.
    pub(crate) fn look_after_pause(&mut self, now: u64, tids: Vec<Tid>, clock: impl Fn() -> u64) {
        if !self.pauses.paused {
            return;
        }
        for tid in tids.into_iter().take(LOOKS) {
            let start = clock();
            self.set(self.now, tid, Doing::Running);
            self.forget_wait(tid);
            if self.glances.is_some() {
                self.glance_at(now, tid, &mut 0, &clock);
            } else if let Some(wait) = self.look_for_site(now, tid) {
                let site = wait.site;
                let glance = Glance { start, tid, site, stack: None, limit: None, closely: false };
                self.looks.put(clock(), Reading::Glance(glance));
            }
        }
    }

    /// No record will tell of the last switch of a thread that has ended.
    pub(super) fn end_in_pause(&mut self, tid: Tid) {
        if self.pauses.paused && self.awaited != Some(tid) {
            self.dead(tid);
        }
    }
}

#[cfg(test)]
mod tests {
    use whyslow_events::{Entrance, SiteId, Timed};

    use super::*;
    use crate::perf::KernelCalls;
    use crate::perf::record::{Body, Record};
    use crate::target::Attached;

    const MAIN: u32 = 10;

    fn tracker() -> Tracker {
        let mut tracker = Tracker::new(KernelCalls::default(), true, 0);
        let name = || "main".to_owned();
        tracker.adopt(0, Attached { pid: MAIN, parent: None, name: name(), mappings: vec![] });
        tracker.begin_thread(0, MAIN, MAIN, name());
        tracker
    }

    fn tell(tracker: &mut Tracker, time: u64, body: Body) {
        tracker.record(0, Record { time, tid: MAIN, body });
    }

    fn switch(previous: u32, next: u32) -> Body {
        Body::switch(previous, 1, next)
    }

    #[test]
    fn who_waits_for_long_waits_on_and_of_others_nobody_knows() {
        let still = |waited: u64| {
            let mut tracker = tracker();
            tell(&mut tracker, 1, switch(0, MAIN));
            tell(&mut tracker, 2, switch(MAIN, 0));
            tell(&mut tracker, 2 + waited, Body::Paused { tallied: false });
            tell(&mut tracker, 3 + waited, Body::Resumed);
            assert!(!tracker.ran_since(Tid(MAIN), 2) && tracker.ran_since(Tid(MAIN), 1));
            tracker.is_still()
        };
        assert_eq!([LONG - 1, LONG].map(still), [false, true]);
    }

    #[test]
    fn what_is_seen_after_a_pause_counts_until_a_record_tells_more() {
        let mut tracker = tracker();
        tell(&mut tracker, 1, switch(0, MAIN));
        tell(&mut tracker, 2, Body::Paused { tallied: false });
        tell(&mut tracker, 10, Body::Resumed);
        let mut counts = |start: u64| {
            let (tid, site) = (Tid(MAIN), SiteId('p'.into()));
            let glance = Glance { start, tid, site, stack: None, limit: None, closely: false };
            tracker.place_glance(start + 1, glance);
            let looked = |it: Timed| matches!(it.event, Event::Look { .. });
            let counts = tracker.take_events().any(looked);
            tell(&mut tracker, start + 2, switch(MAIN, 0));
            tell(&mut tracker, start + 3, switch(0, MAIN));
            counts
        };
        assert!(counts(11));
        assert!(!counts(15), "it runs, by all records");
    }

    #[test]
    fn births_and_ends_are_told_in_a_pause() {
        let mut tracker = tracker();
        tell(&mut tracker, 1, Body::Paused { tallied: false });
        tell(&mut tracker, 2, Body::Fork { pid: MAIN, tid: 11, parent: MAIN });
        assert!(tracker.has(11));
        tell(&mut tracker, 3, Body::Exit { tid: 11 });
        assert!(!tracker.has(11), "no switch tells when it is gone");
        tell(&mut tracker, 4, Body::Resumed);
        let told: Vec<Event> = tracker.take_events().map(|Timed { event, .. }| event).collect();
        let born = |event: &Event| {
            matches!(event, Event::Thread { tid: Tid(11), entrance: Entrance::Born, .. })
        };
        assert!(told.iter().any(born), "{told:?}");
        assert!(told.contains(&Event::Exit { tid: Tid(11) }), "{told:?}");
    }
}
