//! What the rings do not tell and `/proc` does, read now and then: affinities,
//! quotas, and the kernel's own count of CPU time.

use std::collections::HashMap;

use procfs::process::Task;
use whyslow_events::{Event, Pid, Tid};

use crate::perf::Tracker;
use crate::proc::{Proc, Quota, affinity};

/// Time between two readings, ns.
const INTERVAL: u64 = 100_000_000;
/// Threads and processes read each time at most.
const THREADS: usize = 64;
const PROCESSES: usize = 16;

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    last: u64,
    quotas: HashMap<Pid, Quota>,
    /// CPU time at the start of the window, ns.
    cpu_before: HashMap<Tid, u64>,
}

impl Upkeep {
    /// Remembers what CPU time a thread had when it was found.
    pub(super) fn begin(&mut self, task: &Task, tid: u32) {
        if let Ok(schedstat) = task.schedstat() {
            self.cpu_before.insert(Tid(tid), schedstat.sum_exec_runtime);
        }
    }

    /// Reads what is due at `now`; events are stamped `settled`.
    pub(super) fn round(&mut self, proc: &Proc, tracker: &mut Tracker, now: u64, settled: u64) {
        if now.saturating_sub(self.last) < INTERVAL {
            return;
        }
        self.last = now;
        let threads: Vec<Tid> = tracker.threads().map(|(tid, _)| tid).take(THREADS).collect();
        for tid in threads {
            if let Some(cpus) = affinity(tid.0) {
                tracker.affinity(settled, tid, cpus);
            }
        }
        let processes: Vec<Pid> = tracker.processes().take(PROCESSES).collect();
        for pid in processes {
            if let Some(quota) = proc.quota(pid.0)
                && self.quotas.insert(pid, quota) != Some(quota)
            {
                let Quota { per_second_ns, periods, throttled_ns } = quota;
                tracker.note(settled, Event::Quota { pid, per_second_ns, periods, throttled_ns });
            }
        }
    }

    /// The kernel's count of CPU time within the window for each thread that
    /// was there from its start and still is.
    pub(super) fn kernel_counts(&self, proc: &Proc, tracker: &Tracker) -> Vec<(Tid, u64)> {
        let count = |(tid, pid): (Tid, Pid)| {
            let before = *self.cpu_before.get(&tid)?;
            let after = proc.task(pid.0, tid.0)?.schedstat().ok()?.sum_exec_runtime;
            Some((tid, after.saturating_sub(before)))
        };
        tracker.threads().filter_map(count).collect()
    }
}
