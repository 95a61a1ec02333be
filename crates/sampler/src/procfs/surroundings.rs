//! What goes on around the target: idle CPUs, and what CPU quotas do to it.

use std::collections::HashMap;

use whyslow_events::{Cpu, Event, Ns, Pid};

use crate::proc::{Proc, Quota};

/// Time between two readings, ns: the kernel counts idle time in ticks.
const INTERVAL: u64 = 250_000_000;
/// Processes whose quota is read at most.
const PROCESSES: usize = 16;

/// What was read last.
#[derive(Debug)]
pub(super) struct Surroundings {
    ticks: u64,
    last: Option<u64>,
    idle: HashMap<Cpu, u64>,
    quotas: HashMap<Pid, Quota>,
}

impl Surroundings {
    /// On a host with so many clock ticks a second.
    pub(super) fn new(ticks: u64) -> Self {
        Surroundings { ticks, last: None, idle: HashMap::new(), quotas: HashMap::new() }
    }

    /// What is to be told at `now`; nothing between two readings.
    pub(super) fn look(&mut self, proc: &Proc, now: u64, processes: &[Pid]) -> Vec<Event> {
        if self.last.is_some_and(|last| now.saturating_sub(last) < INTERVAL) {
            return vec![];
        }
        let since = self.last.replace(now);
        let mut events = vec![];
        for (cpu, idle) in proc.idle(self.ticks) {
            let before = self.idle.insert(cpu, idle);
            if let (Some(since), Some(before)) = (since, before) {
                let idle_ns = idle.saturating_sub(before).min(now - since);
                events.push(Event::Spare { cpu, since: Ns(since), idle_ns });
            }
        }
        for pid in processes.iter().take(PROCESSES) {
            let quota = proc.quota(pid.0);
            events.extend(quota.into_iter().flat_map(|it| it.news(*pid, &mut self.quotas)));
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_told_for_each_cpu_from_the_second_reading_on() {
        let root = tempfile::tempdir().unwrap();
        let write = |idle: u64| {
            let text = format!("cpu  1 1 1 99 1 0\ncpu0 1 1 1 {idle} 2 0\nintr 5\n");
            std::fs::write(root.path().join("stat"), text).unwrap();
        };
        write(10);
        let proc = Proc::at(root.path());
        let mut around = Surroundings::new(100);
        assert_eq!(around.look(&proc, 1, &[]), []);
        write(20);
        assert_eq!(around.look(&proc, 2, &[]), []);
        let spare = Event::Spare { cpu: Cpu(0), since: Ns(1), idle_ns: 100_000_000 };
        assert_eq!(around.look(&proc, INTERVAL + 1, &[]), [spare]);
    }
}
