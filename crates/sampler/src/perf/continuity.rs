//! Does every switch reach us? Each thread that leaves a CPU is the one that
//! the switch before brought there; where it is not, a record is missing.
//!
//! That happens without a ring overflow: a kernel that believes the idle task
//! to be inside a tracepoint already drops what its tracepoints tell from then
//! on, which are the switches that end idleness. Seen on Linux 6.18, where it
//! lasts until the machine is restarted. `PERF_RECORD_SWITCH` is not affected.

use rustc_hash::FxHashMap;
use whyslow_events::Fallback;

use super::record::{Body, Record};

/// The thread number of every idle task.
const IDLE: u32 = 0;

/// A CPU that switches so often without leaving idleness is too busy to: that each of its
/// switches is recorded twice would cost more than the first that may be missed.
const BUSY: u32 = 10_000;

/// Who runs on each CPU, by the switches so far.
#[derive(Debug, Default)]
pub(crate) struct Continuity(FxHashMap<u32, OfCpu>);

#[derive(Debug, Default)]
struct OfCpu {
    current: Option<u32>,
    switches: u32,
    broken: bool,
    /// Told of a switch out of idleness, or has hardly any.
    sound: bool,
}

impl Continuity {
    /// Takes in the records of each CPU, in order.
    pub(crate) fn see(&mut self, cpu: u32, record: &Record) {
        match record.body {
            Body::Switch { previous, next, .. } => {
                let of = self.0.entry(cpu).or_default();
                let expected = of.current.replace(next);
                of.broken |= expected.is_some_and(|expected| expected != previous);
                of.switches = of.switches.saturating_add(1);
                of.sound |= previous == IDLE || of.switches >= BUSY;
            }
            Body::Lost { .. } => {
                self.0.entry(cpu).or_default().current = None;
            }
            _ => {}
        }
    }

    /// Whether this CPU is taken to tell of every switch. One that has not left idleness yet
    /// is not.
    pub(crate) fn is_sound(&self, cpu: u32) -> bool {
        self.0.get(&cpu).is_some_and(|of| of.sound && !of.broken)
    }

    /// Whether a switch of this CPU has been missing.
    pub(crate) fn is_broken(&self, cpu: u32) -> bool {
        self.0.get(&cpu).is_some_and(|of| of.broken)
    }
}

/// What the report says where switch records take the place of the tracepoint.
pub(crate) fn fallback() -> Fallback {
    Fallback {
        wanted: "sched_switch out of idleness".to_owned(),
        got: "switch records without wakeups".to_owned(),
        errno: Fallback::NO_ERROR.to_owned(),
        remedy: "this kernel drops its idle task's tracepoints; a restart brings them back"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switch(previous: u32, next: u32) -> Record {
        let body = Body::Switch { previous, state: 1, next, registers: None };
        Record { time: 0, tid: previous, body }
    }

    #[test]
    fn a_gap_between_two_switches_of_a_cpu_is_noticed() {
        let mut whole = Continuity::default();
        for (cpu, record) in
            [(0, switch(1, 2)), (1, switch(5, 0)), (0, switch(2, 0)), (0, switch(0, 9))]
        {
            whole.see(cpu, &record);
        }
        assert_eq!([0, 1].map(|cpu| whole.is_broken(cpu)), [false; 2]);
        assert_eq!([0, 1].map(|cpu| whole.is_sound(cpu)), [true, false]);
        whole.see(1, &switch(7, 0));
        whole.see(1, &switch(8, 0));
        assert_eq!([0, 1].map(|cpu| whole.is_broken(cpu)), [false, true]);
        whole.see(0, &switch(1, 2));
        assert!(!whole.is_sound(0), "what was sound is so no more");
    }

    #[test]
    fn a_cpu_that_is_never_idle_is_doubted_for_a_while() {
        let mut continuity = Continuity::default();
        for switches in 1..=BUSY {
            assert!(!continuity.is_sound(3), "after {switches} switches");
            continuity.see(3, &switch(1 + switches % 2, 2 - switches % 2));
        }
        assert!(continuity.is_sound(3));
    }

    #[test]
    fn a_ring_that_overflowed_explains_a_gap() {
        let mut continuity = Continuity::default();
        continuity.see(0, &switch(1, 2));
        let body = Body::Lost { records: 1 };
        continuity.see(0, &Record { time: 0, tid: 0, body });
        continuity.see(0, &switch(7, 2));
        assert!(!continuity.is_broken(0));
    }
}
