//! What is known of one address space.

use std::cell::OnceCell;
use std::path::Path;

use whyslow_events::Pid;

use crate::mappings::Mappings;
use crate::process::Process;

#[derive(Debug, Default)]
pub(crate) struct Space {
    /// Whose it is.
    pub(crate) pid: Option<Pid>,
    /// The executable memory in it.
    pub(crate) mappings: Mappings,
    /// Its runtime was reported.
    pub(crate) runtime_known: bool,
    pub(crate) process: OnceCell<Process>,
}

impl Space {
    /// Its process as it was when this was first asked, which is best done
    /// while it lives.
    pub(crate) fn process(&self, proc: &Path) -> Option<&Process> {
        let pid = self.pid?;
        Some(self.process.get_or_init(|| Process::look(proc, pid)))
    }
}
