//! What the records of the target's own threads tell where the scheduler's
//! cannot be had: when each leaves its CPU and gets one, but neither where it
//! waits nor who else runs.

use whyslow_events::{Cpu, Event, Off, Tid};

use super::{Doing, Occupant, Tracker};
use crate::perf::tracker::glances::Glances;
use crate::perf::tracker::ticks::Ticks;

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
            thread.wait += 1;
            thread.site = None;
            thread.left = None;
            thread.asleep = time;
            thread.waits_in = None;
        }
        self.set(time, tid, Doing::Waiting);
    }

    /// `tid` has ended: its events go before its last switch.
    pub(super) fn ended(&mut self, time: u64, tid: Tid) {
        self.exit(time, tid);
        if self.glances.is_some() {
            self.dead(tid);
        }
    }
}
