//! What the report says of the GIL, put together.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use whyslow_events::GilId;

use super::blame::Blame;
use super::known::{Known, Lock};
use super::lines::Lines;
use super::share::{checked, held_time};
use super::waits::Slice;
use super::{GilTime, by_process};
use crate::frames::{FrameId, Frames};
use crate::report::{Gil, GilEdge, GilLine, GilLock, GilThread};
use crate::tables::Tables;
use crate::timeline::Timeline;

/// Pairs of waiter and holder that are named.
const EDGES: usize = 50;

/// `None` when no thread ran a CPython that has a GIL.
pub(crate) fn summary(
    tables: &Tables,
    timeline: &Timeline,
    known: &Known,
    times: &[Option<GilTime>],
    frames: &Frames,
) -> Option<Gil> {
    if times.iter().all(Option::is_none) {
        return None;
    }
    let Known { slices, locks: all_locks } = known;
    let by_wait = Lines::new(tables, timeline, slices, frames);
    let mut blame = Blame::new(slices, &by_wait);
    for slice in slices {
        let lock = slice.gil.and_then(|gil| all_locks.get(&gil));
        let held = lock.map_or(&[][..], |lock| &lock.held);
        blame.add(slice, by_wait.of(slice), held, timeline, frames);
    }
    let mut all = GilTime::default();
    by_process(timeline, times).into_values().for_each(|time| all += time);
    let mut gil = Gil {
        waiting_ns: slices.iter().map(Slice::length).sum(),
        with_ns: all.with_ns,
        without_ns: all.without_ns,
        unknown_ns: all.unknown_ns,
        with_interval: all.with_interval(),
        locks: locks(timeline, all_locks, slices),
        threads: threads(timeline, times, slices),
        lines: lines(slices, &by_wait, frames),
        free_ns: blame.free_ns,
        holder_unknown_ns: blame.unknown_ns,
        ..Gil::default()
    };
    for (agree, looks) in all_locks.values().map(checked) {
        gil.holder_looks += looks;
        gil.holder_agree += agree;
    }
    name_edges(&mut gil, blame, timeline, frames);
    Some(gil)
}

fn threads(timeline: &Timeline, times: &[Option<GilTime>], slices: &[Slice]) -> Vec<GilThread> {
    let mut waiting = vec![0; timeline.threads.len()];
    slices.iter().for_each(|slice| waiting[slice.thread as usize] += slice.length());
    let of = timeline.threads.iter().zip(times).zip(waiting);
    let mut threads: Vec<GilThread> = of
        .filter_map(|((thread, time), waiting_ns)| {
            let time = (*time)?;
            Some(GilThread {
                pid: thread.pid.0,
                tid: thread.tid.0,
                name: thread.name.clone(),
                waiting_ns,
                with_ns: time.with_ns,
                without_ns: time.without_ns,
                unknown_ns: time.unknown_ns,
            })
        })
        .collect();
    threads.sort_by_key(|thread| Reverse(thread.waiting_ns));
    threads
}

fn lines(slices: &[Slice], by_wait: &Lines, frames: &Frames) -> Vec<GilLine> {
    let mut sums: BTreeMap<Option<FrameId>, GilLine> = BTreeMap::new();
    for wait in slices.chunk_by(|one, next| one.wait == next.wait) {
        let line = by_wait.get(&wait[0]);
        let frame = line.map(|line| line.frame);
        let ns: u64 = wait.iter().map(Slice::length).sum();
        let sum = sums.entry(frame).or_default();
        sum.count += 1;
        sum.waiting_ns += ns;
        sum.inferred_ns += if line.is_some_and(|line| line.inferred) { ns } else { 0 };
    }
    let line = |(line, sum): (Option<FrameId>, GilLine)| GilLine {
        r#where: line.map(|line| frames.get(line).shown()),
        ..sum
    };
    let mut lines: Vec<GilLine> = sums.into_iter().map(line).collect();
    lines.sort_by_key(|line| Reverse(line.waiting_ns));
    lines
}

fn name_edges(gil: &mut Gil, blame: Blame, timeline: &Timeline, frames: &Frames) {
    let mut edges: Vec<_> = blame.edges.into_iter().collect();
    edges.sort_unstable_by_key(|(edge, ns)| (Reverse(*ns), *edge));
    let more = edges.split_off(EDGES.min(edges.len()));
    gil.more_edges = more.len() as u64;
    gil.more_edges_ns = more.iter().map(|(_, ns)| ns).sum();
    let named = edges.into_iter().map(|(edge, ns)| {
        let [waiter, holder] =
            [edge.waiter, edge.holder].map(|thread| &timeline.threads[thread as usize]);
        GilEdge {
            waiter: waiter.tid.0,
            waiter_name: waiter.name.clone(),
            waiter_where: edge.waiter_line.map(|line| frames.get(line).shown()),
            holder: holder.tid.0,
            holder_name: holder.name.clone(),
            holder_where: edge.holder_line.map(|line| frames.get(line).shown()),
            ns,
        }
    });
    gil.edges = named.collect();
}

fn locks(timeline: &Timeline, locks: &BTreeMap<GilId, Lock>, slices: &[Slice]) -> Vec<GilLock> {
    let wall = timeline.duration().max(1) as f64;
    let mut waiting: FxHashMap<GilId, u64> = FxHashMap::default();
    for slice in slices {
        if let Some(gil) = slice.gil {
            *waiting.entry(gil).or_default() += slice.length();
        }
    }
    let lock = |(id, lock): (&GilId, &Lock)| {
        let held = held_time(timeline, lock);
        Some(GilLock {
            pid: lock.pid?.0,
            held_share: held.ns / wall,
            held_interval: (!lock.seen.is_empty()).then(|| held.interval.map(|ns| ns / wall)),
            waiting_ns: waiting.get(id).copied().unwrap_or_default(),
        })
    };
    let mut locks: Vec<GilLock> = locks.iter().filter_map(lock).collect();
    locks.sort_by_key(|lock| Reverse(lock.waiting_ns));
    locks
}
