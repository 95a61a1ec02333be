//! What the records of the target's own threads tell where the scheduler's
//! cannot be had: when each leaves its CPU and gets one, but neither where it
//! waits nor who else runs.

use whyslow_events::{Cpu, Event, Fallback, Off, Pid, Tid};

use super::glances::{Glances, Looked};
use super::looks::Reading;
use super::ticks::Ticks;
use super::{Doing, Occupant, Tracker};

impl Tracker {
    /// Switches come from the threads' own records, and the clock, `frequency`
    /// times a second, ticks in user code alone.
    pub(crate) fn rely_on_looks(&mut self, frequency: u32) {
        self.ticks = Some(Ticks::new(frequency));
        self.glances = Some(Glances::default());
    }

    /// `tid` leaves `cpu`.
    pub(super) fn switched_out(&mut self, time: u64, cpu: u32, tid: Tid, preempted: bool) {
        self.stop_clock(time, cpu, tid);
        let on_cpu = self.cpus.entry(cpu).or_default();
        on_cpu.current = None;
        on_cpu.occupant = Occupant::Unknown;
        on_cpu.reported = Occupant::Unknown;
        if !self.knows(tid, time) {
            return;
        }
        let off = if preempted {
            Off::Preempted
        } else {
            Off::Blocked { site: None, uninterruptible: false }
        };
        self.emit(time, Event::SwitchOut { tid, cpu: Cpu(cpu), off, stack: None });
        if preempted {
            self.set(time, tid, Doing::Runnable);
            return;
        }
        if let Some(thread) = self.threads.get_mut(&tid) {
            if thread.doing == Doing::Waiting {
                // Nobody told since when.
                thread.ran = time;
            }
            thread.wait += 1;
            thread.site = None;
            thread.looked_at = Looked::No;
            thread.left = None;
            thread.asleep = time;
            thread.waits_in = None;
        }
        self.set(time, tid, Doing::Waiting);
    }

    /// `tid` has ended, and its events with it, before its last switch. Of a
    /// process that we wait for ourselves we hear when it is really gone.
    pub(super) fn ended(&mut self, time: u64, tid: Tid) {
        let withdrawn = self.is_withdrawn(tid);
        if withdrawn {
            self.tell_of_withdrawn(time, tid);
        }
        if withdrawn && self.awaited == Some(tid) {
            self.lose_sight_of(time, tid);
        } else {
            self.exit(time, tid);
        }
        if self.glances.is_some() && self.awaited != Some(tid) {
            self.dead(tid);
        }
    }

    /// Whether it is not `tid` that has ended, but what we are told of it: with a program that
    /// changes the user, or that he may not read, before anything of it is mapped.
    fn is_withdrawn(&self, tid: Tid) -> bool {
        let process = self.threads.get(&tid).and_then(|thread| self.processes.get(&thread.pid));
        self.glances.is_some() && process.is_some_and(|process| process.bare)
    }

    fn tell_of_withdrawn(&mut self, time: u64, tid: Tid) {
        let Some(thread) = self.threads.get(&tid) else { return };
        let name = self.processes.get(&thread.pid).map_or("", |process| &process.name);
        let told = withdrawn(name, thread.pid);
        self.emit(time, Event::Fallback(told));
    }

    /// What `tid` does from now on until it is gone is not known.
    fn lose_sight_of(&mut self, time: u64, tid: Tid) {
        let on_cpu = self.cpus.iter().find(|(_, on_cpu)| on_cpu.current == Some(tid));
        if let Some((cpu, _)) = on_cpu {
            self.switched_out(time, *cpu, tid, false);
        }
        // Nobody tells of its exit any more.
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.exiting = true;
        }
    }

    /// Somebody waits for the process of which `tid` is the first thread.
    pub(crate) fn await_end_of(&mut self, tid: Tid) {
        self.awaited = Some(tid);
    }

    /// The process that was waited for is gone since `time`.
    pub(crate) fn gone(&mut self, time: u64) {
        if let Some(tid) = self.awaited {
            self.found_gone(time, tid);
        }
    }

    /// `tid` is gone by `time`. One that was on its last way when it was found had no
    /// events any more to tell of its end.
    pub(crate) fn found_gone(&mut self, time: u64, tid: Tid) {
        if self.glances.is_some() {
            self.looks.put(time, Reading::Gone(tid));
        }
    }

    /// Every record from before `time` has been taken in.
    pub(super) fn place_gone(&mut self, time: u64, tid: Tid) {
        let on_cpu = self.cpus.iter().find(|(_, on_cpu)| on_cpu.current == Some(tid));
        let cpu = Cpu(on_cpu.map_or(0, |(cpu, _)| *cpu));
        let untold = self.awaited != Some(tid);
        if self.threads.get(&tid).is_some_and(|thread| thread.exiting || untold) {
            self.emit(time, Event::SwitchOut { tid, cpu, off: Off::Dead, stack: None });
            self.dead(tid);
        }
    }

    /// The kernel's count of a thread's time in the run queue, where no wakeups
    /// tell of it, nor anything else.
    pub(crate) fn note_run_delay(&mut self, time: u64, tid: Tid, delay_ns: u64) {
        if self.glances.is_some() || self.paused() {
            self.note_at(time, Event::RunDelay { tid, delay_ns });
        }
    }
}

fn withdrawn(name: &str, pid: Pid) -> Fallback {
    Fallback {
        wanted: format!("events of {name} (process {pid})"),
        got: "nothing from the start of that program on".to_owned(),
        errno: Fallback::NO_ERROR.to_owned(),
        remedy: "it changes its user or may not be read, and the kernel hides what such \
                 programs do from others than root: record it as root"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests;
