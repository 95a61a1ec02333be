//! Who had the CPUs while a thread that was only looked at waited for one: not
//! told at each moment, but counted over slices of time.

use std::collections::HashMap;
use std::ops::Range;

use whyslow_events::{Cpu, CpuSet};

use super::{Doing, Queue, Timeline};

/// Length of a slice, ns: many looks long.
const SLICE: u64 = 250_000_000;
/// When the target itself ran on this much of what it may use, there was no more.
const ALL: f64 = 0.9;

/// How much of a stretch of time a CPU had nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spare {
    pub(crate) cpu: Cpu,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) idle_ns: u64,
}

impl Timeline {
    /// Says of every turn in the run queue between looks who had the CPUs.
    pub(crate) fn judge_queues(&mut self) {
        if self.threads.iter().all(|thread| thread.sampling.looks == 0) {
            return;
        }
        let ran = self.ran();
        let mut known: HashMap<CpuSet, Vec<f64>> = HashMap::new();
        for thread in &mut self.threads {
            let set = thread.cpus.clone();
            let own = known.entry(set.clone()).or_insert_with(|| own(&ran, &set));
            let ends: Vec<u64> = thread.spans().map(|(_, end, _)| end).collect();
            for (interval, end) in thread.intervals.iter_mut().zip(ends) {
                let Doing::Runq { queue, .. } = &mut interval.doing else { continue };
                let slice = interval.start.saturating_sub(self.start) / SLICE;
                let used = own.get(slice as usize).copied().unwrap_or_default();
                let length = end - interval.start;
                let saturated = if used >= ALL { length } else { 0 };
                let idle = idle_part(&self.spare, &set, interval.start);
                let neighbours = ((length - saturated) as f64 * (1.0 - idle)) as u64;
                *queue = Queue { saturated, neighbours };
            }
        }
    }

    /// For threads that may use the same CPUs, their time on them in each slice.
    fn ran(&self) -> HashMap<CpuSet, Vec<u64>> {
        let slices = (self.duration() / SLICE + 1) as usize;
        let mut ran: HashMap<CpuSet, Vec<u64>> = HashMap::new();
        for thread in &self.threads {
            let sums = ran.entry(thread.cpus.clone()).or_insert_with(|| vec![0; slices]);
            for (start, end, interval) in thread.spans() {
                if matches!(interval.doing, Doing::OnCpu { .. }) {
                    add(sums, start.saturating_sub(self.start)..end.saturating_sub(self.start));
                }
            }
        }
        ran
    }
}

/// Adds a span to the slices that it touches.
fn add(sums: &mut [u64], span: Range<u64>) {
    let mut from = span.start;
    while from < span.end {
        let slice = from / SLICE;
        let to = span.end.min((slice + 1) * SLICE);
        if let Some(sum) = sums.get_mut(slice as usize) {
            *sum += to - from;
        }
        from = to;
    }
}

/// How much of the CPUs in `set` the threads that may use no others used, as a
/// part of each slice.
fn own(ran: &HashMap<CpuSet, Vec<u64>>, set: &CpuSet) -> Vec<f64> {
    let mut sums: Vec<u64> = vec![];
    for (_, ran) in ran.iter().filter(|(cpus, _)| within(cpus, set)) {
        sums.resize(ran.len(), 0);
        sums.iter_mut().zip(ran).for_each(|(sum, ran)| *sum += ran);
    }
    let room = SLICE as f64 * set.len().max(1) as f64;
    sums.into_iter().map(|sum| sum as f64 / room).collect()
}

fn within(inner: &CpuSet, outer: &CpuSet) -> bool {
    inner.iter().all(|cpu| outer.contains(cpu))
}

/// The part of the time around `at` in which one of the CPUs was idle.
fn idle_part(spare: &[Spare], set: &CpuSet, at: u64) -> f64 {
    let around = spare.iter().filter(|it| (it.from..it.to).contains(&at) && set.contains(it.cpu));
    around.map(|it| it.idle_ns as f64 / (it.to - it.from).max(1) as f64).fold(0.0, f64::max)
}
