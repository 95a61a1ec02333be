//! What the report says of the GIL, put together.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use whyslow_events::GilId;

use super::blame::Blame;
use super::holders::{Held, held};
use super::waits::{Slice, marks, slices};
use super::{GilTime, by_process};
use crate::State;
use crate::account::Account;
use crate::frames::{FrameId, Frames};
use crate::report::{Gil, GilEdge, GilLine, GilLock, GilThread};
use crate::tables::Tables;
use crate::timeline::{Doing, Timeline};
use crate::wilson;

/// Pairs of waiter and holder that are named.
const EDGES: usize = 50;
/// Looks closer together than this are one, ns: all threads of a round.
const SAME_LOOK: u64 = 1_000_000;

/// `None` when no thread ran CPython.
pub(crate) fn summary(
    tables: &Tables,
    timeline: &Timeline,
    accounts: &[Vec<Account>],
    times: &[Option<GilTime>],
    frames: &mut Frames<'_>,
) -> Option<Gil> {
    if times.iter().all(Option::is_none) {
        return None;
    }
    let slices = slices(tables, timeline, accounts, frames);
    let marks = marks(tables, timeline, accounts, &slices);
    let held: BTreeMap<GilId, Vec<Held>> =
        marks.iter().map(|(id, marks)| (*id, held(marks, timeline.start, timeline.end))).collect();
    let mut blame = Blame::default();
    for slice in &slices {
        let held = slice.gil.and_then(|gil| held.get(&gil)).map_or(&[][..], Vec::as_slice);
        blame.add(slice, held, timeline, frames);
    }
    let mut all = GilTime::default();
    by_process(timeline, times).into_values().for_each(|time| all += time);
    let mut gil = Gil {
        waiting_ns: slices.iter().map(length).sum(),
        with_ns: all.with_ns,
        without_ns: all.without_ns,
        unknown_ns: all.unknown_ns,
        with_interval: all.with_interval(),
        locks: locks(tables, timeline, accounts, &held, &slices),
        threads: threads(timeline, times, &slices),
        lines: lines(&slices, frames),
        holder_unknown_ns: blame.unknown_ns,
        ..Gil::default()
    };
    name_edges(&mut gil, blame, timeline, frames);
    Some(gil)
}

fn length(slice: &Slice) -> u64 {
    slice.end - slice.start
}

fn threads(timeline: &Timeline, times: &[Option<GilTime>], slices: &[Slice]) -> Vec<GilThread> {
    let mut waiting = vec![0; timeline.threads.len()];
    slices.iter().for_each(|slice| waiting[slice.thread as usize] += length(slice));
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

fn lines(slices: &[Slice], frames: &Frames<'_>) -> Vec<GilLine> {
    let mut sums: BTreeMap<Option<FrameId>, (u64, u64)> = BTreeMap::new();
    for wait in slices.chunk_by(|one, next| one.wait == next.wait) {
        let (count, ns) = sums.entry(wait[0].line).or_default();
        *count += 1;
        *ns += wait.iter().map(length).sum::<u64>();
    }
    let line = |(line, (count, waiting_ns)): (Option<FrameId>, _)| GilLine {
        r#where: line.map(|line| frames.shown(line)),
        count,
        waiting_ns,
    };
    let mut lines: Vec<GilLine> = sums.into_iter().map(line).collect();
    lines.sort_by_key(|line| Reverse(line.waiting_ns));
    lines
}

fn name_edges(gil: &mut Gil, blame: Blame, timeline: &Timeline, frames: &Frames<'_>) {
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
            waiter_where: edge.waiter_line.map(|line| frames.shown(line)),
            holder: holder.tid.0,
            holder_name: holder.name.clone(),
            holder_where: edge.holder_line.map(|line| frames.shown(line)),
            ns,
        }
    });
    gil.edges = named.collect();
}

fn locks(
    tables: &Tables,
    timeline: &Timeline,
    accounts: &[Vec<Account>],
    held: &BTreeMap<GilId, Vec<Held>>,
    slices: &[Slice],
) -> Vec<GilLock> {
    let wall = timeline.duration().max(1) as f64;
    let mut waiting: FxHashMap<GilId, u64> = FxHashMap::default();
    for slice in slices {
        if let Some(gil) = slice.gil {
            *waiting.entry(gil).or_default() += length(slice);
        }
    }
    let lock = |(id, gil): (&GilId, &crate::tables::Gil)| {
        let pid = tables.pid_of(gil.space)?;
        let held_ns: u64 = held.get(id)?.iter().map(|held| held.end - held.start).sum();
        let looks = looks(timeline, *id);
        let active = active(timeline, accounts, pid).max(held_ns) as f64;
        let share = held_ns as f64 / wall;
        let held_interval = (looks > 0 && active > 0.0).then(|| {
            wilson::interval(held_ns as f64 / active, looks as f64)
                .map(|bound| bound * active / wall)
        });
        let waiting_ns = waiting.get(id).copied().unwrap_or_default();
        Some(GilLock { pid: pid.0, held_share: share, held_interval, waiting_ns })
    };
    let mut locks: Vec<GilLock> = tables.gils.iter().filter_map(lock).collect();
    locks.sort_by_key(|lock| Reverse(lock.waiting_ns));
    locks
}

/// How often a GIL was looked at.
fn looks(timeline: &Timeline, id: GilId) -> usize {
    let all = timeline.threads.iter().flat_map(|thread| &thread.gil);
    let mut times: Vec<u64> = all.filter(|look| look.gil == id).map(|look| look.time).collect();
    times.sort_unstable();
    times.dedup_by(|next, one| *next - *one < SAME_LOOK);
    times.len()
}

/// Time in which a thread of a process ran, wanted to, or waited for a GIL.
fn active(timeline: &Timeline, accounts: &[Vec<Account>], pid: whyslow_events::Pid) -> u64 {
    let mut turns: Vec<(u64, i32)> = Vec::new();
    for (thread, accounts) in timeline.threads.iter().zip(accounts) {
        for ((start, end, interval), account) in thread.spans().zip(accounts) {
            let runs = matches!(interval.doing, Doing::OnCpu { .. } | Doing::Runq { .. });
            if thread.pid == pid && (runs || account.state == State::LockGil) {
                turns.extend([(start, 1), (end, -1)]);
            }
        }
    }
    turns.sort_unstable();
    let (mut active, mut running, mut since) = (0, 0, 0);
    for (time, turn) in turns {
        if running > 0 {
            active += time - since;
        }
        (running, since) = (running + turn, time);
    }
    active
}
