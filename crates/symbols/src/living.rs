//! Which address spaces belong to processes that live.

use std::collections::{HashMap, VecDeque};

use whyslow_events::{Event, Pid, SpaceId, Tid};

/// Spaces kept after their process: a thread that exits runs a little longer.
pub(crate) const GONE: usize = 64;

/// The processes that live, and the last that did.
#[derive(Debug, Default)]
pub(crate) struct Living {
    processes: HashMap<Pid, Process>,
    threads: HashMap<Tid, Pid>,
    gone: VecDeque<SpaceId>,
}

#[derive(Debug)]
struct Process {
    space: SpaceId,
    threads: usize,
}

impl Living {
    /// Learns who lives from the events that pass by; the space to forget now, if
    /// there is one.
    pub(crate) fn observe(&mut self, event: &Event) -> Option<SpaceId> {
        match event {
            Event::Process { pid, space, .. } => {
                let process = Process { space: *space, threads: 0 };
                let old = self.processes.insert(*pid, process)?;
                self.retire(old.space)
            }
            Event::Exec { pid, space, .. } => {
                let process = self.processes.get_mut(pid)?;
                let old = std::mem::replace(&mut process.space, *space);
                self.retire(old)
            }
            Event::Thread { tid, pid, .. } => {
                self.threads.insert(*tid, *pid);
                self.processes.get_mut(pid)?.threads += 1;
                None
            }
            Event::Exit { tid } => self.exit(*tid),
            _ => None,
        }
    }

    /// Processes and threads.
    #[cfg(test)]
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.processes.len(), self.threads.len())
    }

    fn exit(&mut self, tid: Tid) -> Option<SpaceId> {
        let pid = self.threads.remove(&tid)?;
        let process = self.processes.get_mut(&pid)?;
        process.threads = process.threads.saturating_sub(1);
        if process.threads > 0 {
            return None;
        }
        let space = process.space;
        self.processes.remove(&pid);
        self.retire(space)
    }

    /// A space is gone, though not at once.
    fn retire(&mut self, space: SpaceId) -> Option<SpaceId> {
        self.gone.push_back(space);
        if self.gone.len() > GONE { self.gone.pop_front() } else { None }
    }
}
