//! The function table of a report.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The function table. The `self` times of `rows` and `others` and the time
/// `without_stack` sum to `total`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Functions {
    /// What `rows` are sorted by, such as `self`, `gil` or `total-cpu`.
    pub sort: String,
    /// The functions with most of it.
    pub rows: Vec<Function>,
    /// All other functions.
    pub others: OtherFunctions,
    /// Time of which no function is known.
    pub without_stack: Spent,
    /// All time of all threads but idle.
    pub total: Spent,
}

/// A function and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Function {
    /// Name. In an interpreted program what it calls in C counts as its own.
    pub function: String,
    /// Source file.
    pub file: Option<String>,
    /// Where its definition begins, or the first line of it that was seen.
    pub line: Option<u32>,
    /// In the function itself.
    #[serde(rename = "self")]
    pub alone: Spent,
    /// In it and what it calls; once where it calls itself.
    pub total: Spent,
}

/// Functions that have no row of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OtherFunctions {
    /// How many.
    pub count: u64,
    /// In these functions themselves.
    #[serde(rename = "self")]
    pub alone: Spent,
}

/// Thread time, by what the thread did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spent {
    /// All of it; the sum of the others.
    pub total_ns: u64,
    /// `cpu.*`.
    pub cpu_ns: u64,
    /// `lock.gil`.
    pub gil_ns: u64,
    /// `io.*`.
    pub io_ns: u64,
    /// `lock.user`, `lock.kernel`, `sync.thread`.
    pub lock_ns: u64,
    /// `runq.*`.
    pub runq_ns: u64,
    /// `sleep`, `child`, `memory`, `stopped`, `unknown`.
    pub other_ns: u64,
}
