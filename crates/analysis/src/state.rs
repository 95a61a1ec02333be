//! The states a thread can be in: the keys of the ledger.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $key:literal in $group:ident,)*) => {
        /// What a thread does at an instant. Every nanosecond of every thread
        /// is in exactly one state.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        pub enum State {
            $($(#[$doc])* #[serde(rename = $key)] $name,)*
        }

        impl State {
            /// Every state, in the order of the ledger.
            pub const ALL: &'static [State] = &[$(State::$name),*];

            /// The key in the report.
            #[must_use]
            pub fn key(self) -> &'static str {
                match self { $(State::$name => $key,)* }
            }

            /// What the verdict counts it under.
            #[must_use]
            pub fn group(self) -> Group {
                match self { $(State::$name => Group::$group,)* }
            }
        }
    };
}

states! {
    /// Running user code.
    CpuUser = "cpu.user" in Cpu,
    /// Running in the kernel.
    CpuKernel = "cpu.kernel" in Cpu,
    /// Wants to run; another thread was preferred.
    RunqPreempted = "runq.preempted" in Starved,
    /// Woken and not yet on a CPU.
    RunqWaking = "runq.waking" in Starved,
    /// Wants to run; the CPU quota of its control group is used up.
    RunqThrottled = "runq.throttled" in Starved,
    /// File systems and block devices.
    IoDisk = "io.disk" in Io,
    /// TCP and UDP.
    IoNetwork = "io.network" in Io,
    /// Pipes, FIFOs, Unix sockets, eventfd, message queues.
    IoIpc = "io.ipc" in Io,
    /// Terminals.
    IoTerminal = "io.terminal" in Io,
    /// Other character devices.
    IoDevice = "io.device" in Io,
    /// Input or output of another kind.
    IoOther = "io.other" in Io,
    /// A timer and nothing else.
    Sleep = "sleep" in Io,
    /// A child process.
    Child = "child" in Io,
    /// CPython's global interpreter lock.
    LockGil = "lock.gil" in Lock,
    /// A futex lock.
    LockUser = "lock.user" in Lock,
    /// A lock inside the kernel: inode, mmap, flock.
    LockKernel = "lock.kernel" in Lock,
    /// A thread of the same program that is to finish or hand something over.
    SyncThread = "sync.thread" in Sync,
    /// Major page faults on memory, swap, reclaim.
    Memory = "memory" in Memory,
    /// Waiting for work: nothing is outstanding.
    Idle = "idle" in Idle,
    /// Stopped by a signal or a debugger.
    Stopped = "stopped" in Stopped,
    /// Everything we could not see.
    Unknown = "unknown" in Unknown,
}

/// What the verdict weighs against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// `cpu.*`, and the run queue while the program itself holds every CPU.
    Cpu,
    /// `io.*`, `sleep`, `child`.
    Io,
    /// `lock.*`.
    Lock,
    /// `sync.thread`.
    Sync,
    /// `runq.*` because of others.
    Starved,
    /// `memory`.
    Memory,
    /// `idle`.
    Idle,
    /// `stopped`.
    Stopped,
    /// `unknown`.
    Unknown,
}
