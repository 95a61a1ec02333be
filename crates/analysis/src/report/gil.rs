//! What the report says of the GIL.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The locks under which CPython runs code, one thread at a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gil {
    /// Time that threads waited for it, from asking to getting it and a CPU: what a
    /// clock around the call shows. `lock.gil` of the ledger is the part of it that
    /// they were blocked; the rest is in `runq.*` and, to ask again, `cpu.*`.
    pub waiting_ns: u64,
    /// CPU time with it.
    pub with_ns: u64,
    /// CPU time without it: compression, hashes, matrices.
    pub without_ns: u64,
    /// CPU time of threads that were never looked at, or are not Python's.
    pub unknown_ns: u64,
    /// Where the part of the known CPU time that ran with it lies, at 95 %.
    pub with_interval: Option<[f64; 2]>,
    /// Each lock: one a process, unless there are interpreters with their own.
    pub locks: Vec<GilLock>,
    /// Threads that ran or waited for it, longest wait first.
    pub threads: Vec<GilThread>,
    /// Lines that waited for it, longest first.
    pub lines: Vec<GilLine>,
    /// Who waited for whom, longest first.
    pub edges: Vec<GilEdge>,
    /// How many more pairs there are.
    pub more_edges: u64,
    /// Time of these.
    pub more_edges_ns: u64,
    /// Waiting time in which nobody had it: it was on its way to one that waited, who
    /// had to get a CPU first.
    pub free_ns: u64,
    /// Waiting time of which nobody is known to have held it.
    pub holder_unknown_ns: u64,
    /// Looks from outside while a thread waited whose holder other facts tell, ...
    pub holder_looks: u64,
    /// ... and how many of them saw that same holder.
    pub holder_agree: u64,
}

/// One lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GilLock {
    /// Whose.
    pub pid: u32,
    /// Part of the window in which somebody held it: exact while others waited for it,
    /// by looks from outside for the rest.
    pub held_share: f64,
    /// Where that lies, at 95 %; `null` when it was never looked at.
    pub held_interval: Option<[f64; 2]>,
    /// Time that threads waited for it.
    pub waiting_ns: u64,
}

/// A thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GilThread {
    /// Its process.
    pub pid: u32,
    /// Its number.
    pub tid: u32,
    /// Its name.
    pub name: String,
    /// Time that it waited.
    pub waiting_ns: u64,
    /// CPU time with the GIL.
    pub with_ns: u64,
    /// CPU time without it.
    pub without_ns: u64,
    /// CPU time of which it is not known.
    pub unknown_ns: u64,
}

/// A line that waited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GilLine {
    /// `function (file:line)`; `null` for short waits, whose calls nothing tells.
    pub r#where: Option<String>,
    /// How often. Waking up in the midst to ask for it again does not count.
    pub count: u64,
    /// Time that it waited.
    pub waiting_ns: u64,
    /// Part of it in waits that were over before anybody looked: the thread was in this
    /// call before and after.
    pub inferred_ns: u64,
}

/// One waited, another had it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GilEdge {
    /// The thread that waited.
    pub waiter: u32,
    /// Its name.
    pub waiter_name: String,
    /// Where it waited.
    pub waiter_where: Option<String>,
    /// The thread that had the GIL meanwhile.
    pub holder: u32,
    /// Its name.
    pub holder_name: String,
    /// Where that one was.
    pub holder_where: Option<String>,
    /// For how long.
    pub ns: u64,
}
