//! Who had the CPUs while a thread that was only looked at waited for one: not
//! told at each moment, but counted over slices of time.

use std::collections::HashMap;
use std::ops::Range;

use whyslow_events::{Cpu, CpuSet};

use super::{Doing, Queue, Thread, Timeline};

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
        let (start, duration) = (self.start, self.duration());
        let mut known: HashMap<CpuSet, Vec<u64>> = HashMap::new();
        for thread in &mut self.threads {
            let set = thread.cpus.clone();
            let own = known.entry(set.clone()).or_insert_with(|| own(&ran, &set));
            let alone = ran_of(thread, start, own.len());
            let ends: Vec<u64> = thread.spans().map(|(_, end, _)| end).collect();
            for (interval, end) in thread.intervals.iter_mut().zip(ends) {
                let Doing::Runq { queue, .. } = &mut interval.doing else { continue };
                let slice = (interval.start.saturating_sub(start) / SLICE) as usize;
                let passed = duration.saturating_sub(slice as u64 * SLICE).clamp(1, SLICE) as f64;
                let [all, mine] = [&*own, &alone]
                    .map(|sums| sums.get(slice).copied().unwrap_or_default() as f64 / passed);
                let length = end - interval.start;
                let saturated = (length as f64 * held(all, mine, set.len() as f64)) as u64;
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
            add_ran(sums, thread, self.start);
        }
        ran
    }
}

fn ran_of(thread: &Thread, start: u64, slices: usize) -> Vec<u64> {
    let mut sums = vec![0; slices];
    add_ran(&mut sums, thread, start);
    sums
}

fn add_ran(sums: &mut [u64], thread: &Thread, start: u64) {
    for (from, to, interval) in thread.spans() {
        if matches!(interval.doing, Doing::OnCpu { .. }) {
            add(sums, from.saturating_sub(start)..to.saturating_sub(start));
        }
    }
}

/// The part of the time without a CPU in which the program itself had all of
/// `cpus`, for a thread that used `mine` of them on average and the program `all`:
/// what the others must have had together, however their times lie.
fn held(all: f64, mine: f64, cpus: f64) -> f64 {
    if all >= ALL * cpus {
        return 1.0;
    }
    let away = 1.0 - mine;
    if away <= 0.0 {
        return 0.0;
    }
    let beside = (cpus - 1.0) * mine;
    ((all - mine - beside) / away - (cpus - 1.0)).clamp(0.0, 1.0)
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

/// For how long the threads that may use no others used the CPUs in `set`, in
/// each slice.
fn own(ran: &HashMap<CpuSet, Vec<u64>>, set: &CpuSet) -> Vec<u64> {
    let mut sums: Vec<u64> = vec![];
    for (_, ran) in ran.iter().filter(|(cpus, _)| within(cpus, set)) {
        sums.resize(ran.len(), 0);
        sums.iter_mut().zip(ran).for_each(|(sum, ran)| *sum += ran);
    }
    sums
}

fn within(inner: &CpuSet, outer: &CpuSet) -> bool {
    inner.iter().all(|cpu| outer.contains(cpu))
}

/// The part of the time around `at` in which one of the CPUs was idle.
fn idle_part(spare: &[Spare], set: &CpuSet, at: u64) -> f64 {
    let around = spare.iter().filter(|it| (it.from..it.to).contains(&at) && set.contains(it.cpu));
    around.map(|it| it.idle_ns as f64 / (it.to - it.from).max(1) as f64).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::held;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} and not {expected}");
    }

    #[test]
    fn four_that_share_a_cpu_are_held_up_by_each_other() {
        near(held(1.0, 0.25, 1.0), 1.0);
        near(held(2.0, 0.5, 2.0), 1.0);
    }

    #[test]
    fn what_neighbours_take_of_that_is_theirs() {
        // Of the 0.8 in which one does not run, three others run for 0.6.
        near(held(0.8, 0.2, 1.0), 0.75);
    }

    #[test]
    fn one_alone_is_never_held_up_by_itself() {
        near(held(0.5, 0.5, 1.0), 0.0);
        near(held(0.2, 0.2, 2.0), 0.0);
        near(held(0.0, 0.0, 1.0), 0.0);
    }

    #[test]
    fn where_one_cpu_of_two_may_have_been_free_nothing_is_claimed() {
        near(held(1.0, 0.5, 2.0), 0.0);
    }
}
