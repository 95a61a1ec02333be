//! What is known before the first event: the host, the target, the engine.

use serde::{Deserialize, Serialize};

use crate::{Capabilities, Fallback, Ns, Pid};

/// Facts of the host that parsers and analysis must not guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemFacts {
    /// Bytes in a page.
    pub page_size: u64,
    /// `USER_HZ`: ticks per second in `/proc` files.
    pub clock_ticks: u64,
    /// CPUs online.
    pub cpus: u32,
}

/// How the target came to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// We started it.
    Launch,
    /// It was running.
    Attach,
}

/// What is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// How we got at it.
    pub mode: Mode,
    /// The root processes, first the one named in the report.
    pub pids: Vec<Pid>,
    /// The command line of the first, secrets already removed.
    pub command: Vec<String>,
    /// The kernel's name of the first process.
    pub name: String,
}

/// Which engine captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EngineName {
    /// `perf_event_open`.
    Perf,
    /// Polling `/proc`.
    Procfs,
    /// eBPF.
    Bpf,
}

impl EngineName {
    /// The name in the report schema.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EngineName::Perf => "perf",
            EngineName::Procfs => "procfs",
            EngineName::Bpf => "bpf",
        }
    }
}

/// How a launched command ended: one of the two is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
}

/// The first thing in a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The whyslow that wrote it.
    pub tool_version: String,
    /// Host name.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// The kernel's random name of this boot; empty when not known. Addresses
    /// of the kernel hold other code after the next.
    pub boot_id: String,
    /// Machine architecture, such as `x86_64`.
    pub arch: String,
    /// Facts of the host.
    pub facts: SystemFacts,
    /// The engine.
    pub engine: EngineName,
    /// What the engine can see.
    pub capabilities: Capabilities,
    /// What it had to do without.
    pub fallbacks: Vec<Fallback>,
    /// On-CPU samples per second and CPU.
    pub frequency: u32,
    /// The target.
    pub target: Target,
    /// First instant of the window, on the events' clock.
    pub start: Ns,
    /// The same instant in nanoseconds since the Unix epoch, UTC.
    pub start_unix_ns: i64,
}
