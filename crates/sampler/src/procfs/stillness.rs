//! Processes of which no thread has moved but such as were seen to: one question to
//! the CPU clock of the process takes the place of a look at each of its threads, and
//! of a search for what they have started. What the clock tells beyond the counts of
//! the threads, as they were seen last, stays the same as long as nobody moves unseen.

use std::collections::HashMap;

use whyslow_events::Pid;

use super::pace::Pace;
use super::poller::{Poller, Thread};
use crate::Error;
use crate::session::now;

/// What is asked of a process before a round, and summed over its threads.
#[derive(Clone, Copy, Debug)]
struct Sum {
    /// A look at each of them is due, and none may run.
    due: bool,
    /// Their CPU time as it was seen last, ns.
    cpu_ns: u64,
}

/// What the clocks of processes said of which all threads are about to be looked at.
#[derive(Debug, Default)]
pub(super) struct Asked(HashMap<Pid, u64>);

impl Poller {
    /// Asks the clocks of those processes of which a look at every thread is due.
    pub(super) fn ask_clocks(&mut self, pace: &Pace) -> Result<Asked, Error> {
        let sums = self.sums(|thread| pace.is_due(thread.calm));
        let mut asked = HashMap::new();
        for (pid, process) in &mut self.processes {
            process.still = false;
            let Some(sum) = sums.get(pid).filter(|sum| sum.due) else { continue };
            let Some(time) = process.clock.and_then(|clock| clock.read()) else { continue };
            if process.unseen == Some(time.wrapping_sub(sum.cpu_ns)) {
                process.still = true;
                process.rested = now()?;
            } else {
                asked.insert(*pid, time);
            }
        }
        let many = self.threads.len();
        for Thread { pid, calm, .. } in self.threads.values_mut() {
            if self.processes.get(pid).is_some_and(|process| process.still) {
                *calm = calm.after(false, many);
            }
        }
        Ok(Asked(asked))
    }

    fn sums(&self, due: impl Fn(&Thread) -> bool) -> HashMap<Pid, Sum> {
        let mut sums = HashMap::new();
        for thread in self.threads.values() {
            let sum = sums.entry(thread.pid).or_insert(Sum { due: true, cpu_ns: 0 });
            sum.due &= !thread.running && due(thread);
            sum.cpu_ns = sum.cpu_ns.wrapping_add(thread.counts.cpu_ns);
        }
        sums
    }

    /// Whether nothing at all has moved unseen.
    pub(super) fn all_still(&self) -> bool {
        !self.processes.is_empty() && self.processes.values().all(|process| process.still)
    }

    /// Whether any process has had a CPU since we looked for what they start.
    pub(super) fn any_has_run(&mut self) -> bool {
        let mut any = false;
        for process in self.processes.values_mut() {
            let time = process.clock.and_then(|clock| clock.read());
            any |= time.is_none() || time != process.searched;
            process.searched = time;
        }
        any
    }

    /// Remembers what is beyond the counts when every thread was looked at: what
    /// moved since the clocks were asked makes them differ, and is looked for again.
    pub(super) fn remember(&mut self, Asked(asked): Asked) {
        let sums = self.sums(|_| true);
        for (pid, time) in asked {
            let sum = sums.get(&pid).filter(|sum| sum.due);
            if let Some(process) = self.processes.get_mut(&pid) {
                process.unseen = sum.map(|sum| time.wrapping_sub(sum.cpu_ns));
            }
        }
    }
}
