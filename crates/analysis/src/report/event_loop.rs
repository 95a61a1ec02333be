//! What a report says of event loops.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A thread that waits for whatever comes first, and then runs what is due.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventLoop {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// The thread's last name.
    pub thread: String,
    /// `asyncio`, `uvloop`, or `native` for libuv, Redis and nginx.
    pub kind: String,
    /// Rounds seen. A poll that returns at once leaves no trace, so there may have
    /// been more.
    pub iterations: u64,
    /// How long it was away from its poll, each time.
    pub away: Away,
    /// Half of the rounds lasted 10 ms or more, or one lasted 100 ms or more.
    pub blocked: bool,
    /// Who kept it away for 10 ms or more, the largest sum first.
    pub stalls: Vec<Stall>,
    /// What it had on its hands; `null` when nothing tells.
    pub concurrency: Option<Concurrency>,
}

/// Lengths of the rounds of an event loop. Of a round that no waiting poll ends, it
/// is what the loop's own note of its begin proves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Away {
    /// Median.
    pub p50_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// Longest.
    pub max_ns: u64,
    /// All time away between two polls that waited.
    pub total_ns: u64,
    /// Part of it that is in no round seen: the loop polled without waiting, or
    /// records are lost.
    pub unseen_ns: u64,
}

/// What kept an event loop away from its poll. The five parts sum to `total_ns`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stall {
    /// Innermost call, `function (file:line)`, with most of the time.
    pub r#where: Option<String>,
    /// The callback, or the coroutine of the task, that the loop called; `null` when
    /// it is the loop itself. Callbacks of one function that follow each other in
    /// one round count as one.
    pub callback: Option<String>,
    /// Name of the task in the longest of them, from Python 3.14 on.
    pub task: Option<String>,
    /// How often.
    pub count: u64,
    /// Total time.
    pub total_ns: u64,
    /// Longest.
    pub max_ns: u64,
    /// On the CPU.
    pub cpu_ns: u64,
    /// In calls that block.
    pub blocking_ns: u64,
    /// Waiting for the interpreter lock.
    pub gil_ns: u64,
    /// Waiting for a CPU.
    pub runq_ns: u64,
    /// Not known.
    pub unknown_ns: u64,
    /// The call that blocked longest, and on what; `null` when blocking calls took
    /// less than a tenth of the time.
    pub call: Option<String>,
}

/// The most that an event loop had on its hands at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Concurrency {
    /// Connections that it watched while it polled, looked at once a second at most;
    /// `null` when not known, or there are too many to be looked at.
    pub connections: Option<u64>,
    /// Tasks that were not done, from Python 3.14 on.
    pub tasks: Option<u64>,
}
