//! Pauses, in which no switch is recorded: what the threads do by their ends, nobody has
//! told. Those that have waited since before are taken to wait on; a look shows whether.

use whyslow_events::{Event, Tid};

use super::glances::{Glance, Looked};
use super::looks::Reading;
use super::{Doing, Occupant, Thread, Tracker};

/// Looks at the end of a pause at most: some 15 µs each.
const LOOKS: usize = 64;

/// Since when recording pauses, and since when it went on before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pauses {
    paused: bool,
    resumed: u64,
}

impl Pauses {
    pub(super) fn paused(self) -> bool {
        self.paused
    }
}

impl Tracker {
    /// Whether recording paused, by all records so far.
    pub(crate) fn paused(&self) -> bool {
        self.pauses.paused
    }

    /// Switches are recorded no more.
    pub(super) fn pause(&mut self, time: u64) {
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
        self.pauses.paused = true;
        let exiting = self.threads.iter().filter(|(_, thread)| thread.exiting);
        let exiting: Vec<Tid> = exiting.map(|(tid, _)| *tid).collect();
        exiting.into_iter().for_each(|tid| self.end_in_pause(tid));
        self.forget_waits();
    }

    /// Those that have not lasted for long may end unheard: who is in one has a CPU, for all
    /// we know.
    fn forget_waits(&mut self) {
        let since = self.pauses.resumed;
        let lasts = |thread: &Thread| thread.asleep.max(thread.ran) < since;
        let short = self.threads.iter().filter(|(_, thread)| {
            thread.doing != Doing::Waiting || !lasts(thread)
        });
        let short: Vec<Tid> = short.map(|(tid, _)| *tid).collect();
        for tid in short {
            self.set(self.now, tid, Doing::Running);
            if let Some(thread) = self.threads.get_mut(&tid) {
                thread.wait += 1;
                (thread.site, thread.left, thread.waits_in) = (None, None, None);
                thread.looked_at = Looked::No;
            }
        }
    }

    /// They are recorded again.
    pub(super) fn resume_recording(&mut self, time: u64) {
        self.emit(time, Event::Resumed);
        self.pauses = Pauses { paused: false, resumed: time };
    }

    /// Looks at threads that have run in a pause: what they wait in at its end.
    pub(crate) fn look_in_pause(&mut self, now: u64, tids: Vec<Tid>, clock: impl Fn() -> u64) {
        if !self.pauses.paused {
            return;
        }
        for tid in tids.into_iter().take(LOOKS) {
            let start = clock();
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
