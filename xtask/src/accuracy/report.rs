//! What a report says, read by its published keys alone: the schema is the
//! contract, so the types that wrote it are not used to read it.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use serde::Deserialize;

/// The part of a report that is compared.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Report {
    pub(crate) target: Target,
    pub(crate) window: Window,
    pub(crate) verdict: Verdict,
    pub(crate) ledger: Ledger,
    pub(crate) prescription: Option<Prescription>,
    pub(crate) quality: Quality,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) exit: Option<Exit>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Exit {
    pub(crate) code: Option<i32>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Window {
    pub(crate) start: String,
    pub(crate) duration_ns: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) class: String,
    pub(crate) cause: String,
    pub(crate) share: f64,
    pub(crate) interval: [f64; 2],
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Ledger {
    pub(crate) process: BTreeMap<String, u64>,
    pub(crate) threads: Vec<Thread>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Thread {
    pub(crate) tid: u32,
    pub(crate) lifetime_ns: u64,
    pub(crate) states: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Prescription {
    pub(crate) model: String,
    pub(crate) predicted: Option<Predicted>,
    pub(crate) antipatterns: Vec<Antipattern>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Predicted {
    pub(crate) workers: u32,
    pub(crate) speedup: [f64; 2],
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Antipattern {
    pub(crate) id: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Quality {
    pub(crate) lost: u64,
    pub(crate) oncpu_vs_kernel: Option<f64>,
    pub(crate) stolen_ns: u64,
    /// Absent in reports of older versions.
    pub(crate) sampling: Option<Sampling>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Sampling {
    pub(crate) looks: u64,
    pub(crate) margin: f64,
}

impl Report {
    /// Reads the JSON file `path`.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }

    /// Thread time in the states that `belongs` accepts, as a share of all of it.
    pub(crate) fn share(&self, belongs: impl Fn(&str) -> bool) -> f64 {
        let states = self.ledger.process.iter();
        let part: u64 = states.filter(|(key, _)| belongs(key)).map(|(_, ns)| ns).sum();
        part as f64 / self.lifetime().max(1.0)
    }

    /// The time of all threads, in ns.
    pub(crate) fn lifetime(&self) -> f64 {
        self.ledger.threads.iter().map(|thread| thread.lifetime_ns).sum::<u64>() as f64
    }
}

/// Is this state I/O? The ledger's keys and the workloads' are the same.
pub(crate) fn is_io(key: &str) -> bool {
    key.starts_with("io.") || key == "sleep" || key == "child"
}

/// Is this state time on a CPU?
pub(crate) fn is_cpu(key: &str) -> bool {
    key.starts_with("cpu.")
}
