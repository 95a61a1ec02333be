//! The waits for a GIL. CPython asks again every few milliseconds: the slices of
//! one attempt are one wait, at one line. It lasts as the program sees it: waking
//! up to ask again, and getting a CPU once it is one's turn, are parts of it.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use whyslow_events::{GilHolder, GilId, Object, SiteId, Tid};

use super::holders::Mark;
use crate::State;
use crate::account::Account;
use crate::frames::{FrameId, Frames};
use crate::tables::Tables;
use crate::timeline::{Doing, Thread, Timeline, Wait, Waker};

/// Who computes longer than this has got the GIL, ns: asking again takes microseconds.
const ASKING: u64 = 1_000_000;

/// A stretch of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// Index into [`Timeline::threads`].
    pub(super) thread: u32,
    /// `None` when the lock was never looked at.
    pub(super) gil: Option<GilId>,
    pub(super) start: u64,
    /// When it was woken, or gave up for now.
    woken: u64,
    /// When it ran again or, if it then asked again, when it did.
    pub(super) end: u64,
    /// It wants the GIL; else it has just given it away, and waits until it is taken.
    wants: bool,
    waker: Waker,
    /// Slices of one wait have the same.
    pub(super) wait: u32,
    /// The innermost call of the waiting thread.
    pub(super) line: Option<FrameId>,
}

/// All slices, by thread and in order of time.
pub(super) fn slices(
    tables: &Tables,
    timeline: &Timeline,
    accounts: &[Vec<Account>],
    frames: &mut Frames<'_>,
) -> Vec<Slice> {
    let mut slices = Vec::new();
    let mut kinds = FxHashMap::default();
    let mut waits = 0;
    for (thread, accounts) in (0..).zip(accounts) {
        let of = &timeline.threads[thread as usize];
        // Whether the thread still asks for what it asked for before.
        let mut asks = false;
        // CPU time since it last waited; `None` when that wait is over.
        let mut ran = None;
        for ((start, end, interval), account) in of.spans().zip(accounts) {
            match interval.doing {
                Doing::Blocked(Wait { site, waker, .. }) if account.state == State::LockGil => {
                    let kind = kinds.entry(site).or_insert_with(|| kind(tables, of, site));
                    let (gil, wants) = *kind;
                    match slices.last_mut() {
                        Some(Slice { end, .. }) if asks && ran.is_some_and(|ran| ran < ASKING) => {
                            *end = start;
                        }
                        _ => waits += 1,
                    }
                    asks = !(wants && matches!(waker, Waker::Thread(_)));
                    let line = interval.stack.and_then(|stack| frames.innermost_call(stack));
                    let wait = waits;
                    let woken = end;
                    slices.push(Slice { thread, gil, start, woken, end, wants, waker, wait, line });
                    ran = Some(0);
                }
                Doing::Runq { .. } => {
                    if let (Some(0), Some(slice)) = (ran, slices.last_mut()) {
                        slice.end = end;
                    }
                }
                Doing::OnCpu { .. } => ran = ran.map(|ran| ran + (end - start)),
                _ => ran = None,
            }
        }
    }
    for wait in slices.chunk_by_mut(|one, next| one.wait == next.wait) {
        let line = wait.iter().find_map(|slice| slice.line);
        wait.iter_mut().for_each(|slice| slice.line = line);
    }
    slices
}

/// Which GIL is waited for at a site, and whether it is wanted there.
fn kind(tables: &Tables, thread: &Thread, site: Option<SiteId>) -> (Option<GilId>, bool) {
    let site = site.and_then(|site| tables.sites.get(&site));
    let Some(Object::Futex { address, .. }) = site.map(|site| &site.object) else {
        return (None, true);
    };
    match tables.gil_at(thread.pid, *address) {
        Some((id, gil)) => {
            let (start, end) = gil.place.queue;
            (Some(id), (start..end).contains(address))
        }
        None => (None, true),
    }
}

/// What is known of each GIL, in order of time.
pub(super) fn marks(
    tables: &Tables,
    timeline: &Timeline,
    accounts: &[Vec<Account>],
    slices: &[Slice],
) -> BTreeMap<GilId, Vec<(u64, Mark)>> {
    let mut marks: BTreeMap<GilId, Vec<(u64, Mark)>> =
        tables.gils.keys().map(|id| (*id, Vec::new())).collect();
    let mut before = None;
    for slice in slices {
        let begins = before.replace(slice.wait) != Some(slice.wait);
        let Some(marks) = slice.gil.and_then(|gil| marks.get_mut(&gil)) else { continue };
        // Who asks again did not have it meanwhile.
        if begins {
            marks.push((slice.start, Mark::Leaves(slice.thread)));
        }
        match slice.waker {
            Waker::Thread(from) if slice.wants => {
                marks.push((slice.woken, Mark::Passes { from, to: slice.thread }));
            }
            Waker::Thread(by) => marks.push((slice.woken, Mark::Takes(by))),
            _ => {}
        }
    }
    let mut by_tid: FxHashMap<Tid, Vec<u32>> = FxHashMap::default();
    for (index, thread) in (0..).zip(&timeline.threads) {
        by_tid.entry(thread.tid).or_default().push(index);
    }
    let find = |tid: Tid, time: u64| {
        let known = by_tid.get(&tid)?.iter().copied();
        known.rev().find(|index| timeline.threads[*index as usize].start <= time)
    };
    for (index, thread) in (0..).zip(&timeline.threads) {
        let own = tables.gils.iter().filter(|(_, gil)| tables.is_in(gil.space, thread.pid));
        let comings = comings(index, thread, &accounts[index as usize]);
        for (id, _) in own {
            marks.entry(*id).or_default().extend_from_slice(&comings);
        }
        for look in &thread.gil {
            let seen = match look.holder {
                GilHolder::Nobody => None,
                GilHolder::Itself => Some(index),
                GilHolder::Other(tid) => match tid.and_then(|tid| find(tid, look.time)) {
                    None => continue,
                    known => known,
                },
            };
            marks.entry(look.gil).or_default().push((look.time, Mark::Seen(seen)));
        }
    }
    marks.values_mut().for_each(|marks| marks.sort_by_key(|(time, _)| *time));
    marks
}

/// The waits of a thread for other things.
fn comings(index: u32, thread: &Thread, accounts: &[Account]) -> Vec<(u64, Mark)> {
    let mut comings = Vec::new();
    for ((start, end, interval), account) in thread.spans().zip(accounts) {
        let waits = matches!(interval.doing, Doing::Blocked(_) | Doing::Stopped);
        if waits && account.state != State::LockGil {
            comings.extend([(start, Mark::Leaves(index)), (end, Mark::Arrives)]);
        }
    }
    comings.push((thread.end, Mark::Leaves(index)));
    comings
}
