//! From a finished recording to a flamegraph: ours against `perf script` and inferno.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::{
    cost::{self, Cost},
    flamegraph::Flamegraph,
    overhead::{quality, remove},
    profilers::{self, Profiler},
    programs::{self, Programs},
};

/// Two switches each; a switch is an event or more.
const ROUND_TRIPS: u64 = 500_000;
/// Runs of each, of which the fastest counts.
const RUNS: usize = 3;

/// Both ways from a recording of the same program.
#[derive(Serialize)]
pub(super) struct Reporting {
    pub(super) whyslow: Cost,
    pub(super) whyslow_events: u64,
    pub(super) whyslow_bytes: u64,
    pub(super) perf: Cost,
    pub(super) perf_bytes: u64,
}

/// Records the ping-pong with both and reports on it with both.
pub(super) fn measure(
    programs: &Programs,
    whyslow: &Path,
    flamegraph: &Flamegraph<'_>,
    folder: &Path,
) -> Result<Reporting> {
    let program = programs.ping_pong(ROUND_TRIPS).command;
    let record = |profiler: &Profiler| -> Result<u64> {
        remove(&profiler.output)?;
        programs::run(&profiler.wrap(&program))?;
        Ok(profiler.output.metadata()?.len())
    };
    let ours = profilers::whyslow(whyslow, folder);
    let theirs = profilers::perf_record(profilers::DEFAULT_HERTZ, folder);
    let (whyslow_bytes, perf_bytes) = (record(&ours)?, record(&theirs)?);
    let events = quality(whyslow, &ours.output)?["overhead"]["events"].as_u64();
    let (report, pipeline) =
        (flamegraph.of_whyslow(&ours.output), flamegraph.of_perf(&theirs.output));
    let (mut whyslow, mut perf) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        whyslow.push(cost::of(&report)?);
        perf.push(cost::of(&pipeline)?);
    }
    Ok(Reporting {
        whyslow: fastest(&whyslow)?,
        whyslow_events: events.context("no quality.overhead.events in the report")?,
        whyslow_bytes,
        perf: fastest(&perf)?,
        perf_bytes,
    })
}

/// Of several runs the one that was disturbed least.
pub(super) fn fastest(costs: &[Cost]) -> Result<Cost> {
    costs.iter().min_by_key(|cost| cost.wall_ns).copied().context("nothing was measured")
}

impl Reporting {
    /// How many times faster we are.
    pub(super) fn speedup(&self) -> f64 {
        self.perf.wall_ns as f64 / self.whyslow.wall_ns as f64
    }
}
