//! Who waited while who held a GIL, and where both were.

use rustc_hash::FxHashMap;

use super::holders::{Held, within};
use super::waits::Slice;
use crate::frames::{FrameId, Frames};
use crate::timeline::{Doing, Thread, Timeline};

/// A sample says nothing of an instant farther away, ns.
const NEAR: u64 = 10_000_000;

/// One waited, another had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Edge {
    pub(super) waiter: u32,
    pub(super) waiter_line: Option<FrameId>,
    pub(super) holder: u32,
    pub(super) holder_line: Option<FrameId>,
}

/// Sums of waiting time.
#[derive(Debug, Default)]
pub(super) struct Blame {
    pub(super) edges: FxHashMap<Edge, u64>,
    /// Nobody is known to have held it, ns.
    pub(super) unknown_ns: u64,
}

impl Blame {
    /// Adds a wait for a GIL that was `held` by these.
    pub(super) fn add(
        &mut self,
        slice: &Slice,
        held: &[Held],
        timeline: &Timeline,
        frames: &mut Frames<'_>,
    ) {
        let mut known = 0;
        for held in within(held, slice.start, slice.end) {
            if held.thread == slice.thread {
                continue;
            }
            known += held.end - held.start;
            let holder = &timeline.threads[held.thread as usize];
            for (holder_line, ns) in lines(holder, &held, frames) {
                let (waiter, waiter_line) = (slice.thread, slice.line);
                let edge = Edge { waiter, waiter_line, holder: held.thread, holder_line };
                *self.edges.entry(edge).or_default() += ns;
            }
        }
        self.unknown_ns += slice.end - slice.start - known;
    }
}

/// Where the holder was: at its samples in that time, each of the same weight, or
/// at the nearest one.
fn lines(holder: &Thread, held: &Held, frames: &mut Frames<'_>) -> Vec<(Option<FrameId>, u64)> {
    let samples = &holder.samples;
    let first = samples.partition_point(|sample| sample.time < held.start);
    let last = samples.partition_point(|sample| sample.time < held.end);
    let span = held.end - held.start;
    let mut line = |stack: Option<_>| stack.and_then(|stack| frames.innermost_call(stack));
    if first == last {
        let middle = held.start.midpoint(held.end);
        let near = samples[first.saturating_sub(1)..samples.len().min(last + 1)]
            .iter()
            .filter(|sample| sample.time.abs_diff(middle) <= NEAR)
            .min_by_key(|sample| sample.time.abs_diff(middle));
        let stack = blocked_in(holder, middle).or_else(|| near.and_then(|sample| sample.stack));
        return vec![(line(stack), span)];
    }
    let count = (last - first) as u64;
    let part = |number: u64| u128::from(span) * u128::from(number) / u128::from(count);
    let parts = samples[first..last].iter().zip(0..).map(|(sample, number)| {
        let ns = u64::try_from(part(number + 1) - part(number)).unwrap_or(span);
        (line(sample.stack), ns)
    });
    parts.collect()
}

/// The stack of a thread that blocks at `time`, with the GIL.
fn blocked_in(thread: &Thread, time: u64) -> Option<whyslow_events::StackId> {
    let index = thread.intervals.partition_point(|interval| interval.start <= time);
    let interval = thread.intervals.get(index.checked_sub(1)?)?;
    interval.stack.filter(|_| matches!(interval.doing, Doing::Blocked(_)))
}
