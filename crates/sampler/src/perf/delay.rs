//! When a switch record stands for a switch that the tracepoint kept to itself
//! (see `continuity`), it comes late: the thread says that it is there when
//! the switch is over. How late is learned from the switches that both tell.

use super::record::{Body, Record};

/// New measurements weigh one part in so many.
const WEIGHT: u64 = 16;
/// Longer than any switch takes: something came between.
const ABSURD: u64 = 20_000;

#[derive(Clone, Copy, Debug, Default)]
struct OnCpu {
    /// Whom the tracepoint brought last, and when.
    brought: Option<(u32, u64)>,
    last: u64,
}

/// The delay of switch records.
#[derive(Debug, Default)]
pub(super) struct Delay {
    cpus: Vec<OnCpu>,
    /// Running mean, ns.
    mean: u64,
}

impl Delay {
    /// Takes in the records of each CPU in order, and moves a switch record to
    /// the time of its switch, but not before `earliest`.
    pub(super) fn correct(&mut self, cpu: u32, record: &mut Record, earliest: u64) {
        let cpu = cpu as usize;
        if self.cpus.len() <= cpu {
            self.cpus.resize(cpu + 1, OnCpu::default());
        }
        let on_cpu = &mut self.cpus[cpu];
        match record.body {
            Body::Switch { next, .. } => on_cpu.brought = Some((next, record.time)),
            Body::SwitchedIn => match on_cpu.brought.take() {
                Some((tid, time)) if tid == record.tid => {
                    let delay = record.time.saturating_sub(time);
                    if delay < ABSURD {
                        self.mean = (self.mean * (WEIGHT - 1) + delay) / WEIGHT;
                    }
                }
                _ => {
                    let moved = record.time.saturating_sub(self.mean);
                    record.time = moved.max(on_cpu.last).max(earliest.min(record.time));
                }
            },
            _ => {}
        }
        on_cpu.last = on_cpu.last.max(record.time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corrected(delay: &mut Delay, time: u64, tid: u32, body: Body) -> u64 {
        let mut record = Record { time, tid, body };
        delay.correct(1, &mut record, 0);
        record.time
    }

    fn to(next: u32) -> Body {
        Body::switch(1, 1, next)
    }

    #[test]
    fn a_lone_switch_record_is_moved_by_the_usual_delay_and_not_past_its_cpus_last() {
        let mut delay = Delay::default();
        for round in 1..200 {
            let begin = round * 10_000;
            assert_eq!(corrected(&mut delay, begin, 1, to(7)), begin);
            assert_eq!(corrected(&mut delay, begin + 2000, 7, Body::SwitchedIn), begin + 2000);
        }
        let moved = corrected(&mut delay, 3_000_000, 9, Body::SwitchedIn);
        assert!((2_997_900..=2_998_200).contains(&moved), "{moved}");
        corrected(&mut delay, 3_100_000, 9, Body::Other);
        assert_eq!(corrected(&mut delay, 3_100_500, 9, Body::SwitchedIn), 3_100_000);
    }
}
