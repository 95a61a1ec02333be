//! Which time in the run queue a CPU quota is to blame for.

use rustc_hash::FxHashMap;
use whyslow_events::Pid;

use crate::tables::Tables;
use crate::timeline::{Timeline, Whole};

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
#[derive(Debug)]
pub(crate) struct Quotas(FxHashMap<Pid, Quota>);

impl Quotas {
    /// Of a recording in one segment.
    pub(crate) fn of_one(tables: &Tables, timeline: &Timeline) -> Self {
        let pids = timeline.threads.iter().map(|thread| thread.pid);
        Quotas::new(tables, pids, timeline.duration(), |limited| {
            let limited = timeline.threads.iter().filter(|thread| limited(thread.pid));
            limited.map(|thread| thread.on_cpu(&(thread.start..thread.end))).sum()
        })
    }

    /// Of a recording in many segments, `duration` ns long.
    pub(crate) fn of_many(tables: &Tables, whole: &Whole, duration: u64) -> Self {
        Quotas::new(tables, whole.pids(), duration, |limited| whole.ran(limited))
    }

    fn new(
        tables: &Tables,
        pids: impl Iterator<Item = Pid>,
        duration: u64,
        ran: impl FnOnce(&dyn Fn(Pid) -> bool) -> u64,
    ) -> Self {
        let limits: FxHashMap<Pid, Option<u64>> =
            pids.map(|pid| (pid, tables.throttled(pid))).collect();
        let ran = ran(&|pid| limits.get(&pid).is_some_and(Option::is_some));
        let judged = |pid: Pid, limit: u64| {
            let allowed = u128::from(limit) * u128::from(duration) / 1_000_000_000;
            // Others in the group use it up, too.
            let ran = ran.max(tables.group_ran(pid));
            let used_up = u128::from(ran) * 100 >= allowed * USED_UP;
            if used_up { Quota::UsedUp } else { Quota::AtTimes }
        };
        let quota = |pid, limit: Option<u64>| limit.map_or(Quota::Harmless, |it| judged(pid, it));
        let all = limits.iter().map(|(pid, limit)| (*pid, quota(*pid, *limit)));
        Quotas(all.collect())
    }

    pub(crate) fn of(&self, pid: Pid) -> Quota {
        self.0.get(&pid).copied().unwrap_or(Quota::Harmless)
    }
}
