//! What records cost where they are written: the program that is recorded, and not us.

use std::time::{Duration, Instant};

use perf_event_open::config::{Cpu, Opts, Priv, Proc, SampleOn};
use perf_event_open::count::Counter;
use perf_event_open::event::sw::Software;

use super::record::Body;

/// A sample without the interrupt that it is taken in, ns: the chain and the stack.
const SAMPLE: u64 = 5_000;
/// With an interrupt that is as cheap as they come, ns.
const CHEAPEST_SAMPLE: u64 = 8_000;

/// How often the clock interrupts us to be measured, and how far apart, ns.
const INTERRUPTS: usize = 25;
const APART: u64 = 200_000;
/// What takes less is no interrupt, ns.
const NO_INTERRUPT: u64 = 1_000;

/// What each sort of record takes of the CPU on which it is written, ns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prices {
    sample: u64,
}

impl Default for Prices {
    fn default() -> Prices {
        Prices { sample: CHEAPEST_SAMPLE }
    }
}

impl Prices {
    /// As they are on this machine. What differs most is what an interrupt takes: a virtual
    /// machine needs its host for it. That is measured, for some milliseconds.
    pub(crate) fn here() -> Prices {
        let sample = interrupts().and_then(typical).map_or(0, |interrupt| interrupt + SAMPLE);
        Prices { sample: sample.max(CHEAPEST_SAMPLE) }
    }

    /// The stack is what is dear of a switch: copied, and followed in the kernel.
    pub(crate) fn of(self, body: &Body) -> u64 {
        match body {
            Body::Clock { .. } => self.sample,
            Body::Stack { .. } => 12_000,
            Body::Switch { .. } => 900,
            Body::Waking { .. } => 800,
            Body::SwitchedIn | Body::SwitchedOut { .. } => 600,
            _ => 500,
        }
    }
}

/// What we miss of our own time while the clock interrupts us, ns each; `None` when the kernel
/// does not let it.
fn interrupts() -> Option<Vec<u64>> {
    let opts = Opts {
        exclude: Priv { kernel: true, hv: true, ..Priv::default() },
        sample_on: SampleOn::Count(APART),
        enable: true,
        ..Opts::default()
    };
    let _clock = Counter::new(Software::CpuClock, (Proc::CURRENT, Cpu::ALL), &opts).ok()?;
    let whole = Duration::from_nanos(APART * INTERRUPTS as u64);
    let (begun, mut missed) = (Instant::now(), vec![]);
    let mut last = begun;
    while last - begun < whole {
        let now = Instant::now();
        let gap = u64::try_from((now - last).as_nanos()).unwrap_or(u64::MAX);
        if gap >= NO_INTERRUPT {
            missed.push(gap);
        }
        last = now;
    }
    Some(missed)
}

/// The median of the longest, as many as there were interrupts; `None` when most of these took
/// next to nothing.
fn typical(mut missed: Vec<u64>) -> Option<u64> {
    missed.sort_unstable_by(|a, b| b.cmp(a));
    missed.get(INTERRUPTS / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_is_told_from_what_else_takes_time() {
        // One in ten is something else that takes longer, and there is much that takes less.
        let longer = [400_000, 90_000];
        let interrupts = (0..INTERRUPTS as u64 - 2).map(|nth| 27_000 + nth);
        let missed: Vec<u64> = [1_100; 80].into_iter().chain(interrupts).chain(longer).collect();
        let interrupt = typical(missed).unwrap();
        assert!((27_000..27_000 + INTERRUPTS as u64).contains(&interrupt), "{interrupt}");
        assert_eq!(typical(vec![27_000; INTERRUPTS / 2]), None);
    }

    #[test]
    fn no_sample_is_taken_for_cheaper_than_anywhere() {
        let body = Body::Clock { kernel: false, chain: Box::default(), user: None };
        assert!(Prices::here().of(&body) >= CHEAPEST_SAMPLE);
    }
}
