//! Threads that are stopped while they are read, one at a time, where the user asks for
//! that: what is read is then what was.

use std::collections::HashSet;

use nix::errno::Errno;
use whyslow_events::{Event, Fallback, Pid, Tid};

use super::Tracker;
use crate::sys::{Held, hold};

/// How the stops went.
#[derive(Debug, Default)]
pub(super) struct Precise {
    wanted: bool,
    /// The process that we launched, if we did: its end is heard of elsewhere.
    child: Option<Tid>,
    /// Processes whose threads may not be stopped.
    refused: HashSet<Pid>,
    told: bool,
    stops: u64,
    stopped_ns: u64,
    longest_ns: u64,
}

/// A thread that stands still since then.
pub(super) struct Standing {
    held: Held,
    since: u64,
}

impl Tracker {
    /// Stops threads while they are read, from now on. `child` is the process that we
    /// launched.
    pub(crate) fn stop_threads(&mut self, child: Option<u32>) {
        self.scripts.precise.wanted = true;
        self.scripts.precise.child = child.map(Tid);
    }

    /// Stops a thread if that is wanted and it runs: one that blocks stands still
    /// anyway, and its system call is not to be interrupted.
    pub(super) fn hold(&mut self, tid: Tid, clock: &impl Fn() -> u64) -> Option<Standing> {
        let pid = self.threads.get(&tid)?.pid;
        let space = self.processes.get(&pid)?.space;
        let may_run = self.scripts.may_run_in(space);
        let precise = &mut self.scripts.precise;
        if !precise.wanted || precise.refused.contains(&pid) || !may_run {
            return None;
        }
        if !self.waits.inspector().runs(pid.0, tid.0) {
            return None;
        }
        let since = clock();
        match hold(tid.0, precise.child == Some(tid)) {
            Ok(held) => Some(Standing { held, since }),
            Err(Errno::ESRCH) => None,
            Err(errno) => {
                precise.refused.insert(pid);
                if !std::mem::replace(&mut precise.told, true) {
                    let tracer = self.waits.inspector().tracer(pid.0, tid.0);
                    self.emit(self.now, Event::Fallback(refused(errno, tracer)));
                }
                None
            }
        }
    }

    /// Lets it go on.
    pub(super) fn release(&mut self, standing: Option<Standing>, clock: &impl Fn() -> u64) {
        let Some(Standing { held, since }) = standing else { return };
        drop(held);
        let ns = clock().saturating_sub(since);
        self.scripts.precise.stops += 1;
        self.scripts.precise.stopped_ns += ns;
        self.scripts.precise.longest_ns = self.scripts.precise.longest_ns.max(ns);
    }

    /// Says at the end how often threads were stopped.
    pub(super) fn note_stops(&mut self, time: u64) {
        let Precise { wanted, stops, stopped_ns, longest_ns, .. } = self.scripts.precise;
        if wanted {
            self.emit(time, Event::Stops { stops, stopped_ns, longest_ns });
        }
    }
}

fn refused(errno: Errno, tracer: Option<u32>) -> Fallback {
    let remedy = match tracer {
        Some(tracer) => format!("process {tracer} traces it: end that first"),
        None => "needs root or CAP_SYS_PTRACE, or kernel.yama.ptrace_scope at 0 and the same \
                 user"
            .to_owned(),
    };
    nobody_stopped(format!("{errno:?}"), remedy)
}

/// That threads are not stopped, though it was wanted.
pub(crate) fn nobody_stopped(errno: String, remedy: String) -> Fallback {
    Fallback {
        wanted: "threads that stand still while they are read (--precise)".to_owned(),
        got: "reads of threads that run, believed when two in a row agree".to_owned(),
        errno,
        remedy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_else_traces_is_named() {
        assert_eq!(refused(Errno::EPERM, Some(7)).remedy, "process 7 traces it: end that first");
        assert!(refused(Errno::EPERM, None).remedy.contains("ptrace_scope"));
    }
}
