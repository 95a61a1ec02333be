//! Who waited while who held a GIL, and where both were.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::holders::{By, Held, within};
use super::lines::Lines;
use super::waits::Slice;
use crate::frames::{FrameId, Frames};
use crate::timeline::{Doing, Thread, Timeline};

/// A sample says nothing of an instant farther away, ns.
const NEAR: u64 = 10_000_000;
/// Who is made to give it away asks for it again this soon, ns.
const SOON: u64 = 1_000_000;

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
    /// Nobody had it: it was on its way, ns.
    pub(super) free_ns: u64,
    /// Nobody is known to have held it, ns.
    pub(super) unknown_ns: u64,
    /// Of each thread the waits, as it asked for it: when, and at which line.
    asked: BTreeMap<u32, Vec<(u64, FrameId)>>,
}

impl Blame {
    pub(super) fn new(slices: &[Slice], lines: &Lines) -> Blame {
        let mut asked: BTreeMap<u32, Vec<(u64, FrameId)>> = BTreeMap::new();
        for slice in slices {
            if let Some(line) = lines.of(slice) {
                asked.entry(slice.thread).or_default().push((slice.start, line));
            }
        }
        Blame { asked, ..Blame::default() }
    }

    /// Adds a wait for a GIL that was `held` by these.
    pub(super) fn add(
        &mut self,
        slice: &Slice,
        waiter_line: Option<FrameId>,
        held: &[Held],
        timeline: &Timeline,
        frames: &Frames,
    ) {
        let mut told = 0;
        for held in within(held, slice.start, slice.end) {
            let ns = held.end - held.start;
            match held.by {
                By::NotKnown => continue,
                By::Nobody => self.free_ns += ns,
                // It has got it, and is on its way back to its program.
                By::Thread(thread) if thread == slice.thread => self.free_ns += ns,
                By::Thread(thread) => {
                    let holder = &timeline.threads[thread as usize];
                    for (holder_line, ns) in self.lines(thread, holder, &held, frames) {
                        let waiter = slice.thread;
                        let edge = Edge { waiter, waiter_line, holder: thread, holder_line };
                        *self.edges.entry(edge).or_default() += ns;
                    }
                }
            }
            told += ns;
        }
        // Once it is woken, nobody else waits and none is known to have it: it is its own.
        let after = slice.end - slice.woken.max(slice.start);
        let rest = slice.end - slice.start - told;
        let own = after.min(rest);
        self.free_ns += own;
        self.unknown_ns += rest - own;
    }

    /// Where the holder was: at its samples in that time, each of the same weight, or
    /// where it asked for it again, or at the nearest sample.
    fn lines(
        &self,
        thread: u32,
        holder: &Thread,
        held: &Held,
        frames: &Frames,
    ) -> Vec<(Option<FrameId>, u64)> {
        let sampled = samples(holder, held, frames);
        if sampled.iter().any(|(line, _)| line.is_some()) {
            return sampled;
        }
        let asked = self.asked.get(&thread).map_or(&[][..], Vec::as_slice);
        let next = asked.partition_point(|(time, _)| *time < held.end);
        let again = asked.get(next).filter(|(time, _)| *time - held.end <= SOON);
        match again {
            Some((_, line)) => vec![(Some(*line), held.end - held.start)],
            None => sampled,
        }
    }
}

/// Where the samples show the holder.
fn samples(holder: &Thread, held: &Held, frames: &Frames) -> Vec<(Option<FrameId>, u64)> {
    let samples = &holder.samples;
    let first = samples.partition_point(|sample| sample.time < held.start);
    let last = samples.partition_point(|sample| sample.time < held.end);
    let span = held.end - held.start;
    let line = |stack: Option<_>| stack.and_then(|stack| frames.innermost_call(stack));
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
