//! What is there when the window begins: a child at the gate, or processes in
//! the middle of their work.

use std::cmp::Reverse;

use whyslow_events::{Off, Pid, Seen, Tid};

use super::{Session, now};
use crate::Error;
use crate::perf::Found;
use crate::proc::{Proc, affinity};
use crate::target::{Attached, Child, What, attach, seen};

impl Session {
    /// The child, which has not executed its command yet.
    pub(super) fn seed_child(&mut self) {
        let Some(pid) = self.child.as_ref().map(Child::pid) else { return };
        let name = self.options.command.first().map(|command| comm_of(command)).unwrap_or_default();
        let start = self.header.start.0;
        let process = Attached { pid, parent: None, name: name.clone(), mappings: vec![] };
        self.tracker.adopt(start, process);
        self.tracker.begin_thread(start, pid, pid, name.clone());
        if let Some(cpus) = affinity(pid) {
            self.tracker.affinity(Tid(pid), cpus, start);
        }
        self.upkeep.begin(&self.proc, pid, pid);
        self.header.target.pids = vec![Pid(pid)];
        self.header.target.name = name;
    }

    /// Running processes and each of their threads, as they are found.
    pub(super) fn seed_running(&mut self, pids: &[u32]) -> Result<(), Error> {
        let family = attach(&self.proc, pids, self.options.inherit)?;
        let start = self.header.start.0;
        let mut found = vec![];
        let mut counted = vec![];
        for process in family {
            if process.pid == pids[0] {
                self.header.target.name.clone_from(&process.name);
            }
            let pid = process.pid;
            found.push(pid);
            self.tracker.adopt(start, process);
            self.tracker.prepare(start, pid, pid);
        }
        // What their threads wait on may be another of them.
        for pid in found {
            self.seed_threads(pid, &mut counted)?;
        }
        self.header.target.pids = pids.iter().copied().map(Pid).collect();
        // Each thread was found at a time of its own, and all of them enter
        // together, with what the records say they did in between.
        self.begin_now()?;
        // What they did before is none of the window's. Those that are likely to do
        // something meanwhile are asked first.
        counted.sort_by_key(|(runs, cpu_ns, ..)| Reverse((*runs, *cpu_ns)));
        for (_, _, pid, tid) in counted {
            self.upkeep.begin_within(&self.proc, &mut self.tracker, Tid(tid), Pid(pid))?;
        }
        Ok(())
    }

    /// The threads of a process: whether each runs, and its CPU time so far.
    fn seed_threads(
        &mut self,
        pid: u32,
        counted: &mut Vec<(bool, u64, u32, u32)>,
    ) -> Result<(), Error> {
        let Some(tasks) = self.proc.process(pid).and_then(|process| process.tasks().ok()) else {
            return Ok(());
        };
        for task in tasks.flatten() {
            let Ok(stat) = task.stat() else { continue };
            let tid = task.tid.cast_unsigned();
            let mut seen = seen(stat.state);
            if let Seen::Off(Off::Blocked { uninterruptible, .. }) = seen
                && let Some(Off::Blocked { site, .. }) =
                    self.tracker.site_of_found(self.header.start.0, pid, tid)
            {
                seen = Seen::Off(Off::Blocked { site, uninterruptible });
            }
            if seen == Seen::Off(Off::Dead) {
                continue;
            }
            let time = now()?;
            self.upkeep.begin(&self.proc, pid, tid);
            counted.push((seen == Seen::Runnable, self.upkeep.before(Tid(tid)), pid, tid));
            self.tracker.find(Found { time, pid, tid, name: stat.comm, seen });
        }
        Ok(())
    }
}

/// The threads of the target, as they are now.
pub(super) fn threads_of(
    proc: &Proc,
    what: &What,
    child: Option<&Child>,
    inherit: bool,
) -> Vec<u32> {
    let mut pids = match what {
        What::Attach(pids) if inherit => proc.family(pids),
        What::Attach(pids) => pids.clone(),
        What::Launch(_) => child.map(Child::pid).into_iter().collect(),
    };
    pids.retain(|pid| *pid != std::process::id());
    pids.iter().flat_map(|pid| proc.tids(*pid)).collect()
}

/// The name the kernel will give a command: the last part of its path.
pub(crate) fn comm_of(command: &str) -> String {
    /// `TASK_COMM_LEN` without its end.
    const LONGEST: usize = 15;
    command.rsplit('/').next().unwrap_or(command).chars().take(LONGEST).collect()
}
