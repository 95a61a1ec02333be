//! The report, schema `whyslow.report/1`. Stable keys; times in ns; what is
//! not known is `null`, never absent.

mod event_loop;
mod functions;
mod gil;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use event_loop::{Away, Concurrency, EventLoop, Stall};
pub use functions::{Function, Functions, OtherFunctions, Spent};
pub use gil::{Gil, GilEdge, GilLine, GilLock, GilThread};

/// The value of [`Report::schema`].
pub const SCHEMA: &str = "whyslow.report/1";

/// Nanoseconds by ledger key ([`crate::State::key`]); keys with no time are left out.
pub type States = BTreeMap<String, u64>;

/// Everything one run found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Always `whyslow.report/1`.
    pub schema: String,
    /// What was recorded.
    pub target: Target,
    /// How.
    pub engine: Engine,
    /// When.
    pub window: Window,
    /// What it waits for.
    pub verdict: Verdict,
    /// I/O against CPU.
    pub ratio: Ratio,
    /// Wall-clock time shared out.
    pub bottleneck: Bottleneck,
    /// Thread time, every nanosecond of it.
    pub ledger: Ledger,
    /// The places of waiting, largest total first.
    pub waits: Vec<Wait>,
    /// The functions, largest self CPU time first.
    pub hot: Vec<Hot>,
    /// The functions with what they waited for, as asked; idle time is left out.
    pub functions: Functions,
    /// Event loops, the one that was longest away from its poll first.
    pub event_loops: Vec<EventLoop>,
    /// The lock under which CPython runs code; `null` when no CPython ran.
    pub gil: Option<Gil>,
    /// How the class changed over time.
    pub phases: Vec<Phase>,
    /// What to do. `null` until there is enough evidence for one.
    pub prescription: Option<Prescription>,
    /// How good the numbers are.
    pub quality: Quality,
}

/// What was recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// `launch` or `attach`.
    pub mode: String,
    /// The first process.
    pub pid: u32,
    /// Its command line, secrets removed.
    pub command: Vec<String>,
    /// How it ended; `null` when it did not or is not ours to wait for.
    pub exit: Option<Exit>,
    /// Processes seen.
    pub processes: u64,
    /// Threads seen.
    pub threads: u64,
    /// Such as `cpython 3.11.7`, or `native`.
    pub runtime: String,
}

/// How a launched command ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Exit {
    /// Exit code.
    pub code: Option<i32>,
    /// Signal that killed it.
    pub signal: Option<i32>,
}

/// How it was recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Engine {
    /// `perf`, `procfs` or `bpf`.
    pub name: String,
    /// What it can see.
    pub capabilities: Vec<String>,
    /// What it had to do without.
    pub fallbacks: Vec<Fallback>,
}

/// Something wanted, refused and replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fallback {
    /// What was asked for.
    pub wanted: String,
    /// What is used instead.
    pub got: String,
    /// The error's name.
    pub errno: String,
    /// What to do about it.
    pub remedy: String,
}

/// When it was recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// First instant, RFC 3339, UTC.
    pub start: String,
    /// Length.
    pub duration_ns: u64,
}

/// The classes of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// It computes.
    CpuBound,
    /// It waits for input, output, a timer or another program.
    IoBound,
    /// It waits for locks.
    LockBound,
    /// It wants a CPU and does not get one.
    CpuStarved,
    /// It waits for memory.
    MemoryBound,
    /// It waits for work.
    Idle,
    /// Two classes are within 10 points.
    Mixed,
    /// What we could not see could change the answer.
    Inconclusive,
}

impl Class {
    /// The name in the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Class::CpuBound => "cpu-bound",
            Class::IoBound => "io-bound",
            Class::LockBound => "lock-bound",
            Class::CpuStarved => "cpu-starved",
            Class::MemoryBound => "memory-bound",
            Class::Idle => "idle",
            Class::Mixed => "mixed",
            Class::Inconclusive => "inconclusive",
        }
    }
}

/// What the program waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// The class.
    pub class: Class,
    /// What within the class: `user`, `kernel`, `gil`, `disk`, `network`, `quota`, …
    pub cause: String,
    /// Share of the wall-clock time, 0 to 1.
    pub share: f64,
    /// Lowest and highest share the evidence allows.
    pub interval: [f64; 2],
    /// One sentence.
    pub summary: String,
    /// What holds it up when it works: the same question with idle time left out.
    pub active: Active,
}

/// The verdict on the time that is not idle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Active {
    /// The class; never `idle` unless there is no other time.
    pub class: Class,
    /// What within the class.
    pub cause: String,
    /// Share of the time that is not idle.
    pub share: f64,
}

/// I/O against CPU, from the bottleneck's shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ratio {
    /// Share of I/O, sleep and child waits.
    pub io: f64,
    /// Share of CPU.
    pub cpu: f64,
    /// Their quotient; `null` without CPU time.
    pub io_to_cpu: Option<f64>,
}

/// Wall-clock time, shared out equally at each instant among the threads that hold the program up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bottleneck {
    /// `fair-share` or `critical-path`.
    pub method: String,
    /// By ledger key; they sum to 1.
    pub shares: BTreeMap<String, f64>,
}

/// Thread time by state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ledger {
    /// Sum over all threads.
    pub process: States,
    /// Each thread.
    pub threads: Vec<ThreadLedger>,
}

/// One thread's account: `states` sums to `lifetime_ns` exactly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThreadLedger {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Its last name.
    pub name: String,
    /// From its first to its last instant in the window.
    pub lifetime_ns: u64,
    /// Time by state.
    pub states: States,
}

/// A place of waiting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Wait {
    /// Ledger key.
    pub state: String,
    /// System call, `page fault`, or `null`.
    pub syscall: Option<String>,
    /// What is waited on; `null` when the call names nothing.
    pub object: Option<String>,
    /// Innermost user function of the stack that waited longest.
    pub r#where: Option<String>,
    /// How many waits.
    pub count: u64,
    /// Total time.
    pub total_ns: u64,
    /// Median.
    pub p50_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// Longest.
    pub max_ns: u64,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hot {
    /// Name.
    pub function: String,
    /// Source file.
    pub file: Option<String>,
    /// Source line.
    pub line: Option<u32>,
    /// CPU time in the function itself.
    pub self_cpu_ns: u64,
    /// CPU time in it and what it calls.
    pub total_cpu_ns: u64,
    /// Waiting in it and what it calls, idle left out.
    pub total_wait_ns: u64,
}

/// A stretch of the window with one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Phase {
    /// From the start of the window.
    pub from_ns: u64,
    /// From the start of the window.
    pub to_ns: u64,
    /// Its class.
    pub class: Class,
    /// Its cause.
    pub cause: String,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Prescription {
    /// `threads`, `asyncio`, `multiprocessing`, `keep`, …
    pub model: String,
    /// Why.
    pub because: Vec<String>,
    /// What it would gain.
    pub predicted: Option<Predicted>,
    /// Why the others lose.
    pub rejected: Vec<Rejected>,
    /// Named mistakes.
    pub antipatterns: Vec<Antipattern>,
}

/// A predicted gain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Predicted {
    /// Workers.
    pub workers: u32,
    /// Wall-clock time, lowest and highest, ns.
    pub wall_ns: [u64; 2],
    /// Speed-up, lowest and highest: as many times as fast.
    pub speedup: [f64; 2],
    /// Memory cost, bytes.
    pub memory_bytes: Option<u64>,
}

/// A model that loses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rejected {
    /// Which.
    pub model: String,
    /// Why.
    pub why: String,
}

/// A named mistake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Antipattern {
    /// Such as `threads-on-cpu`.
    pub id: String,
    /// What shows it.
    pub evidence: String,
}

/// How good the numbers are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quality {
    /// Records the kernel dropped.
    pub lost: u64,
    /// Records that came too late.
    pub late: u64,
    /// Time in state `unknown`.
    pub unknown_ns: u64,
    /// Relative difference of our on-CPU sum to the kernel's; `null` when the kernel's is not known.
    pub oncpu_vs_kernel: Option<f64>,
    /// Time that a hypervisor took from running threads. The ledger has it in `runq.preempted`.
    pub stolen_ns: u64,
    /// Share of folded time that carries at least one user frame with a name.
    pub stack_coverage: f64,
    /// How far the call chains reach.
    pub stacks: StackReach,
    /// Reads of interpreted stacks; `null` when no interpreter was found.
    pub scripts: Option<Scripts>,
    /// Threads that were stopped while they were read, as `--precise` asks; `null`
    /// without it.
    pub stops: Option<Stops>,
    /// How well a sampled timeline is known; `null` when every switch was
    /// reported, with its cause.
    pub sampling: Option<Sampling>,
    /// What was left out to keep to `--max-overhead`; `null` when nothing was asked for.
    pub thinned: Option<Thinned>,
    /// From where on, in ns, a recording that is too long to keep whole was looked at in
    /// detail: the interpreter lock, event loops and the prescription are of that part
    /// alone, and percentiles of waits within 1 %. `null` when all of it was.
    pub recent_from_ns: Option<u64>,
    /// Why the recording is incomplete; `null` when it is whole.
    pub damage: Option<String>,
    /// What recording cost.
    pub overhead: Overhead,
}

/// How far the call chains reach, in parts of thread time; idle time is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StackReach {
    /// Of computing.
    pub cpu: Reach,
    /// Of everything else.
    pub waits: Reach,
}

/// Parts of the time by what their call chains are; `complete`, `none` and what
/// is `truncated` sum to 1 where there is any.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reach {
    /// The chain begins at the thread's first function.
    pub complete: f64,
    /// Of these, the outer part was read a moment after the rest.
    pub extended: f64,
    /// Of these, the chain was taken from another wait at the same place.
    pub lent: f64,
    /// The calls of an interpreted program in the chain were not seen, but those of
    /// another that came there the same way.
    pub calls_inferred: f64,
    /// It does not, by reason: `copy-too-short`, `over-budget` (more of it was not
    /// read, for it would have cost too much), `no-unwind-info`, `bad-unwind-info`,
    /// `unknown-register`, `too-deep`, `frame-pointers` (not unwound), `same-site` (that
    /// of another wait in the same call on the same object), `32-bit` (not unwound).
    pub truncated: BTreeMap<String, f64>,
    /// No user half is known.
    pub none: f64,
}

impl Reach {
    /// Whether there was any time to have a stack.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.complete > 0.0 || self.none > 0.0 || !self.truncated.is_empty()
    }
}

/// Reads of interpreted stacks, from outside. Of threads that moved meanwhile the
/// innermost calls are not told, so that slow code is read more often than fast code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scripts {
    /// Believed.
    pub accepted: u64,
    /// Believed for the outer calls that stood still, if any did.
    pub rejected: u64,
}

/// Stops of threads, one at a time, for the time of a read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stops {
    /// How many.
    pub count: u64,
    /// From asking a thread to stop to letting it go on, in all.
    pub total_ns: u64,
    /// The longest of these.
    pub max_ns: u64,
}

/// How well the timeline is known, where threads were only looked at, switches were
/// recorded for a part of the time and not tallied meanwhile, or waits of which nobody saw the
/// cause are taken to be like others. The time on the CPU and in the run queue is exact all
/// the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sampling {
    /// How often a thread was looked at.
    pub looks: u64,
    /// How often it had moved since the look before.
    pub moved: u64,
    /// Thread time between such two looks, or in such waits: where it was spent is sampled.
    pub sampled_ns: u64,
    /// How far off a share of all time may be (95 %).
    pub margin: f64,
}

/// Detail that was left out to keep to a limit, as parts of the whole, 0 to 1. CPU time is
/// as exact as without, and so are waits as long as all switches were recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Thinned {
    /// What recording may cost, of one CPU.
    pub limit: f64,
    /// What it cost from the start of the window on, of one CPU: the recorder's own
    /// time, and an estimate of the kernel's in the programs' context.
    pub cost: f64,
    /// Part of the time in which stacks of waits were taken.
    pub stacks: f64,
    /// Part of the samples that were taken.
    pub samples: f64,
    /// Part of the looks from outside that were taken.
    pub looks: f64,
    /// Part of the time in which switches were recorded. What the threads did in the rest
    /// is estimated, but for their CPU time.
    pub switches: f64,
}

/// What recording cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Overhead {
    /// CPU time of the recorder; `null` when the recorder was killed.
    pub profiler_cpu_ns: Option<u64>,
    /// What it took the kernel to record in the program's own threads, an estimate, within
    /// their CPU time; `null` where that is not known.
    pub target_cpu_ns: Option<u64>,
    /// Records read.
    pub events: u64,
}
