//! Which time in the run queue a CPU quota is to blame for.

use rustc_hash::FxHashMap;
use whyslow_events::Pid;

use crate::tables::Tables;
use crate::timeline::Timeline;

/// A group that ran for this many percent of its quota used it up.
const USED_UP: u128 = 90;

/// What a quota did to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quota {
    /// There is none, or it was never reached.
    Harmless,
    /// It was reached at times: then a CPU is idle and the thread may not
    /// have it.
    AtTimes,
    /// It was used up: whoever else had the CPUs, there was no more to get.
    UsedUp,
}

/// What quotas did to each process that has threads.
pub(crate) fn quotas(tables: &Tables, timeline: &Timeline) -> FxHashMap<Pid, Quota> {
    let limits: FxHashMap<Pid, Option<u64>> =
        timeline.threads.iter().map(|it| (it.pid, tables.throttled(it.pid))).collect();
    let limited = timeline.threads.iter().filter(|it| limits[&it.pid].is_some());
    let ran: u64 = limited.map(|thread| thread.on_cpu(&(thread.start..thread.end))).sum();
    let judged = |limit: u64| {
        let allowed = u128::from(limit) * u128::from(timeline.duration()) / 1_000_000_000;
        let used_up = u128::from(ran) * 100 >= allowed * USED_UP;
        if used_up { Quota::UsedUp } else { Quota::AtTimes }
    };
    limits.into_iter().map(|(pid, limit)| (pid, limit.map_or(Quota::Harmless, judged))).collect()
}
