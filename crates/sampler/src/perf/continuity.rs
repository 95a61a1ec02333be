//! Does every switch reach us? Each thread that leaves a CPU is the one that
//! the switch before brought there; where it is not, a record is missing.
//!
//! That happens without a ring overflow: there are kernels whose tracepoint tells
//! nothing of the switches of some threads, of the idle task perhaps, as long as the
//! machine runs. Seen on Linux 6.18. `PERF_RECORD_SWITCH` is not affected.

use rustc_hash::FxHashMap;
use whyslow_events::Fallback;

use super::record::{Body, Record};

/// The thread number of every idle task.
const IDLE: u32 = 0;

/// A CPU that switches so often without leaving idleness is too busy to: that each of its
/// switches is recorded twice would cost more than the first that may be missed.
const BUSY: u32 = 10_000;

/// The same on a machine that kept one to itself before, when it does so within this time, ns.
/// At lower rates a second record of each is not dear.
const BRIEFLY: u64 = 200_000_000;

/// So long nothing must be missing before a CPU is believed, ns. Threads whose leaving is told to
/// nobody run every second or more often, where there are such.
const WATCHED: u64 = 2_000_000_000;

/// Who runs on each CPU, by the switches so far.
#[derive(Debug, Default)]
pub(crate) struct Continuity {
    cpus: FxHashMap<u32, OfCpu>,
    /// The times of the first and of the last switch.
    seen: Option<(u64, u64)>,
    /// One was missing, on whatever CPU. The next may be on any.
    broken: bool,
}

#[derive(Debug, Default)]
struct OfCpu {
    current: Option<u32>,
    /// So many since this time.
    switches: u32,
    since: u64,
    /// Told of a switch out of idleness.
    left_idleness: bool,
    /// Has hardly any to tell of; until the next gap.
    busy: bool,
    /// What was missing was about idleness, or a thread of ours.
    matters: bool,
}

impl Continuity {
    /// Takes in the records of each CPU, in order. That a thread of another program, which
    /// `ours` tells, leaves may be kept from everybody: there is nothing to be said of that, but
    /// the next may be ours.
    pub(crate) fn see(&mut self, cpu: u32, record: &Record, ours: impl Fn(u32) -> bool) {
        match record.body {
            Body::Switch { previous, next, .. } => {
                let (first, last) = self.seen.unwrap_or((record.time, record.time));
                self.seen = Some((first, last.max(record.time)));
                let matters = |left: u32| left == IDLE || ours(left) || ours(previous);
                let of = self.cpus.entry(cpu).or_default();
                if let Some(left) = of.gap(record.time, [previous, next]) {
                    self.broken = true;
                    of.matters |= matters(left);
                }
                of.switch(record.time, previous, self.broken);
            }
            Body::Lost { .. } => {
                self.cpus.entry(cpu).or_default().current = None;
            }
            Body::Paused { .. } => self.cpus.values_mut().for_each(|of| of.current = None),
            _ => {}
        }
    }

    /// Whether this CPU is taken to tell of every switch. One that has not left idleness yet
    /// is not, and none is before all were watched for a while.
    pub(crate) fn is_sound(&self, cpu: u32) -> bool {
        let watched = self.seen.is_some_and(|(first, last)| last - first >= WATCHED);
        let told = |of: &OfCpu| of.left_idleness && watched && !self.broken;
        self.cpus.get(&cpu).is_some_and(|of| of.busy || told(of))
    }

    /// Whether a switch of this CPU has been missing that is of ours, or out of idleness.
    pub(crate) fn is_broken(&self, cpu: u32) -> bool {
        self.cpus.get(&cpu).is_some_and(|of| of.matters)
    }
}

impl OfCpu {
    /// Who left untold, if anybody did.
    fn gap(&mut self, time: u64, [previous, next]: [u32; 2]) -> Option<u32> {
        let left = self.current.replace(next).filter(|current| *current != previous);
        if left.is_some() {
            self.busy = false;
            (self.switches, self.since) = (0, time);
        }
        left
    }

    fn switch(&mut self, time: u64, previous: u32, broken: bool) {
        self.left_idleness |= previous == IDLE;
        self.switches += 1;
        if self.switches == BUSY {
            self.busy = !broken || time.saturating_sub(self.since) <= BRIEFLY;
            (self.switches, self.since) = (0, time);
        }
    }
}

/// What the report says where the switch out of idleness is heard of, and the wakeup before it
/// is not.
pub(crate) fn wakeups_fallback() -> Fallback {
    Fallback {
        wanted: "sched_waking on idle CPUs".to_owned(),
        got: "the switches that follow".to_owned(),
        ..fallback()
    }
}

/// What the report says where switch records take the place of the tracepoint.
pub(crate) fn fallback() -> Fallback {
    Fallback {
        wanted: "every sched_switch".to_owned(),
        got: "switch records for those kept back".to_owned(),
        errno: Fallback::NO_ERROR.to_owned(),
        remedy: "this kernel's tracepoint is silent on some threads; a restart may mend it"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: fn(u32) -> bool = |_| true;

    fn switch(previous: u32, next: u32) -> Record {
        let body = Body::switch(previous, 1, next);
        Record { time: 0, tid: previous, body }
    }

    /// At `time`, in place of 0.
    fn at(time: u64, record: Record) -> Record {
        Record { time, ..record }
    }

    #[test]
    fn a_gap_between_two_switches_is_noticed_and_no_cpu_is_believed_from_then_on() {
        let mut whole = Continuity::default();
        for (cpu, record) in
            [(0, switch(1, 2)), (1, switch(5, 0)), (0, switch(2, 0)), (0, switch(0, 9))]
        {
            whole.see(cpu, &record, OURS);
        }
        assert_eq!([0, 1].map(|cpu| whole.is_sound(cpu)), [false; 2], "not watched yet");
        whole.see(0, &at(WATCHED, switch(9, 0)), OURS);
        assert_eq!([0, 1].map(|cpu| whole.is_broken(cpu)), [false; 2]);
        assert_eq!([0, 1].map(|cpu| whole.is_sound(cpu)), [true, false]);
        whole.see(1, &at(WATCHED, switch(7, 0)), OURS);
        assert_eq!([0, 1].map(|cpu| whole.is_broken(cpu)), [false, true]);
        assert!(!whole.is_sound(0), "what was sound is so no more");
    }

    #[test]
    fn a_cpu_that_is_never_idle_is_doubted_for_a_while() {
        let mut continuity = Continuity::default();
        for switches in 1..=BUSY {
            assert!(!continuity.is_sound(3), "after {switches} switches");
            continuity.see(3, &switch(1 + switches % 2, 2 - switches % 2), OURS);
        }
        assert!(continuity.is_sound(3));
    }

    #[test]
    fn on_a_broken_machine_a_cpu_that_gets_very_busy_is_believed_until_it_calms_or_has_a_gap() {
        let mut continuity = Continuity::default();
        let mut time = 0;
        continuity.see(2, &switch(9, IDLE), OURS);
        continuity.see(2, &switch(1, 2), OURS);
        let mut switches = |interval: u64| {
            for switches in 0..BUSY {
                time += interval;
                let (previous, next) = (1 + switches % 2, 2 - switches % 2);
                continuity.see(3, &at(time, switch(previous, next)), OURS);
            }
            continuity.is_sound(3)
        };
        let often = BRIEFLY / u64::from(BUSY);
        assert_eq!([often, 2 * often, often].map(&mut switches), [true, false, true]);
        continuity.see(3, &at(time, switch(5, IDLE)), OURS);
        assert!(!continuity.is_sound(3) && continuity.is_broken(3));
    }

    #[test]
    fn a_ring_that_overflowed_explains_a_gap() {
        let mut continuity = Continuity::default();
        continuity.see(0, &switch(1, 2), OURS);
        let body = Body::Lost { records: 1 };
        continuity.see(0, &Record { time: 0, tid: 0, body }, OURS);
        continuity.see(0, &switch(7, 2), OURS);
        assert!(!continuity.is_broken(0));
    }

    #[test]
    fn a_switch_from_one_other_program_to_the_next_may_be_missing() {
        let broken = |ours: fn(u32) -> bool, [left, previous]: [u32; 2]| {
            let mut continuity = Continuity::default();
            continuity.see(0, &switch(1, left), ours);
            continuity.see(0, &switch(previous, 2), ours);
            continuity.is_broken(0)
        };
        let others = [[7, 8], [7, IDLE]];
        assert_eq!(others.map(|gap| broken(|_| false, gap)), [false; 2], "and is not told");
        assert_eq!(others.map(|gap| broken(|tid| tid == 7, gap)), [true; 2], "ours left");
        assert!(broken(|tid| tid == 8, [7, 8]), "ours came");
        assert!(broken(|_| false, [IDLE, 8]), "idleness ended");
    }
}
