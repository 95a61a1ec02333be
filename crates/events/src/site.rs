//! Where a thread left the CPU to wait: the evidence from which a cause is told.

use serde::{Deserialize, Serialize};

use crate::{Object, Pid};

/// How the thread got into the kernel to wait.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Entry {
    /// By a system call, named without prefix (`recvfrom`, `futex`).
    Syscall(String),
    /// By a system call whose number we did not learn.
    UnknownSyscall,
    /// By a page fault or another exception: not in a system call.
    Fault,
    /// A kernel thread, or nothing is known.
    Unseen,
    /// It was stopped by a signal or a debugger, wherever it was.
    Stopped,
}

/// One place of waiting. Interned: waits with equal evidence share a site.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Site {
    /// The process that waits.
    pub pid: Pid,
    /// How it got there.
    pub entry: Entry,
    /// The user program counter after the entry; 0 when unknown.
    pub pc: u64,
    /// What it waits on.
    pub object: Object,
}
