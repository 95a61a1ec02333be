//! What the waits, their wakers and looks from outside tell of each GIL.

use std::collections::BTreeMap;
use std::ops::Range;

use rustc_hash::FxHashMap;
use whyslow_events::{GilHolder, GilId, GilPart, Pid, Tid};

use super::holders::{Back, By, Drop, Facts, Held, held, union};
use super::waits::{Slice, slices};
use crate::State;
use crate::account::Account;
use crate::tables::Tables;
use crate::timeline::{Doing, Thread, Timeline, Waker};

/// The waits for GILs, and who had each of them.
#[derive(Debug)]
pub(crate) struct Known {
    pub(super) slices: Vec<Slice>,
    pub(super) locks: BTreeMap<GilId, Lock>,
}

/// A GIL.
#[derive(Debug)]
pub(super) struct Lock {
    /// Whose; `None` when no process that was seen has it.
    pub(super) pid: Option<Pid>,
    /// Who had it whenever somebody waited for it.
    pub(super) held: Vec<Held>,
    /// Who had it at instants.
    pub(super) seen: Vec<(u64, By)>,
}

impl Known {
    pub(crate) fn of(tables: &Tables, timeline: &Timeline, accounts: &[Vec<Account>]) -> Known {
        let slices = slices(tables, timeline, accounts);
        let back = |thread: u32, span: &Range<u64>| {
            back(&timeline.threads[thread as usize], &accounts[thread as usize], span)
        };
        let mut facts = facts(tables, &slices);
        look(timeline, &mut facts);
        let lock = |(id, mut facts): (GilId, Facts)| {
            sort(&mut facts);
            let pid = tables.gils.get(&id).and_then(|gil| tables.pid_of(gil.space));
            let held = held(&facts, back);
            (id, Lock { pid, held, seen: facts.seen })
        };
        let locks = facts.into_iter().map(lock).collect();
        Known { slices, locks }
    }

    /// The locks of a process.
    pub(super) fn of_process(&self, pid: Pid) -> impl Iterator<Item = &Lock> {
        self.locks.values().filter(move |lock| lock.pid == Some(pid))
    }
}

/// When `thread` last came back from a wait within `span`.
fn back(thread: &Thread, accounts: &[Account], span: &Range<u64>) -> Back {
    let mut back = Back { any: None, gil: None };
    let mut ran = None;
    for index in thread.indices(span).rev() {
        let doing = thread.intervals[index].doing;
        if matches!(doing, Doing::OnCpu { .. } | Doing::Runq { preempted: true, .. }) {
            ran = None;
            continue;
        }
        // Until it had a CPU, too.
        let end = thread.end_of(index).clamp(span.start, span.end);
        let end = *ran.get_or_insert(end);
        back.any.get_or_insert(end);
        if accounts[index].state == State::LockGil {
            back.gil = Some(end);
            break;
        }
    }
    back
}

/// What the waits tell.
fn facts(tables: &Tables, slices: &[Slice]) -> BTreeMap<GilId, Facts> {
    let mut all: BTreeMap<GilId, Facts> =
        tables.gils.keys().map(|id| (*id, Facts::default())).collect();
    for wait in slices.chunk_by(|one, next| one.wait == next.wait) {
        let Some(facts) = wait[0].gil.and_then(|gil| all.get_mut(&gil)) else { continue };
        let mut queued = wait.iter().filter(|slice| slice.part == GilPart::Queue);
        if let Some(first) = queued.next() {
            let last = queued.next_back().unwrap_or(first);
            facts.wanted.push(first.start..last.woken);
        }
        for slice in wait {
            match (slice.part, slice.waker) {
                (GilPart::Queue, Waker::Thread(by)) => {
                    let woken = Some(slice.thread);
                    facts.drops.push(Drop { time: slice.woken, by, woken });
                }
                (GilPart::Switch, waker) => {
                    let (time, by) = (slice.start, slice.thread);
                    facts.drops.push(Drop { time, by, woken: None });
                    if let Waker::Thread(by) = waker {
                        facts.takes.push((slice.woken, by));
                    }
                }
                (GilPart::Queue | GilPart::Guard, _) => {}
            }
            if slice.got {
                facts.takes.push((slice.end, slice.thread));
            }
        }
    }
    all
}

/// What looks from outside tell.
fn look(timeline: &Timeline, facts: &mut BTreeMap<GilId, Facts>) {
    let mut by_tid: FxHashMap<Tid, Vec<u32>> = FxHashMap::default();
    for (index, thread) in (0..).zip(&timeline.threads) {
        by_tid.entry(thread.tid).or_default().push(index);
    }
    let find = |tid: Tid, time: u64| {
        let known = by_tid.get(&tid)?.iter().copied();
        known.rev().find(|index| timeline.threads[*index as usize].start <= time)
    };
    for (index, thread) in (0..).zip(&timeline.threads) {
        for look in &thread.gil {
            let by = match look.holder {
                GilHolder::Nobody => By::Nobody,
                GilHolder::Itself => By::Thread(index),
                GilHolder::Other(tid) => {
                    tid.and_then(|tid| find(tid, look.time)).map_or(By::NotKnown, By::Thread)
                }
            };
            facts.entry(look.gil).or_default().seen.push((look.time, by));
        }
    }
}

fn sort(facts: &mut Facts) {
    facts.wanted = union(std::mem::take(&mut facts.wanted));
    facts.drops.sort_by_key(|drop| drop.time);
    facts.takes.sort_by_key(|(time, _)| *time);
    facts.seen.sort_by_key(|(time, _)| *time);
}
