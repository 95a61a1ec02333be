//! From a finished recording to a flamegraph: ours against `perf script` and inferno.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use super::{
    cost::{self, Cost},
    overhead::{quality, remove},
    profilers::{self, Profiler},
    programs::{self, Programs},
};
use crate::run::{cargo, check, root};

/// Two switches each; a switch is an event or more.
const ROUND_TRIPS: u64 = 500_000;
/// What inferno reads, without what `sched_switch` says beside the stack.
const PERF_FIELDS: &str = "comm,pid,tid,time,event,ip,sym,dso";
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
pub(super) fn measure(programs: &Programs, whyslow: &Path, folder: &Path) -> Result<Reporting> {
    let inferno = inferno(folder)?;
    let program = programs.ping_pong(ROUND_TRIPS).command;
    let record = |profiler: &Profiler| -> Result<u64> {
        remove(&profiler.output)?;
        programs::run(&profiler.wrap(&program))?;
        Ok(profiler.output.metadata()?.len())
    };
    let (ours, theirs) = (profilers::whyslow(whyslow, folder), profilers::perf_record(folder));
    let (whyslow_bytes, perf_bytes) = (record(&ours)?, record(&theirs)?);
    let events = quality(whyslow, &ours.output)?["overhead"]["events"].as_u64();
    let report = words(&[whyslow, Path::new("report"), &ours.output, Path::new("-q")]);
    let svg = folder.join("bench.svg").to_string_lossy().into_owned();
    let report: Vec<String> =
        report.into_iter().chain(["--force".into(), "-o".into(), svg.clone()]).collect();
    let pipeline = format!(
        "perf script -F {PERF_FIELDS} -i '{}' | '{}' | '{}' > '{svg}'",
        theirs.output.display(),
        inferno.join("inferno-collapse-perf").display(),
        inferno.join("inferno-flamegraph").display(),
    );
    let pipeline = ["sh".into(), "-c".into(), pipeline];
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

fn words(paths: &[&Path]) -> Vec<String> {
    paths.iter().map(|path| path.to_string_lossy().into_owned()).collect()
}

fn fastest(costs: &[Cost]) -> Result<Cost> {
    costs.iter().min_by_key(|cost| cost.wall_ns).copied().context("nothing was measured")
}

/// Where inferno's programs are; builds them the first time, in the version that
/// `Cargo.lock` names for us.
fn inferno(folder: &Path) -> Result<PathBuf> {
    let tools = folder.join("tools");
    let programs = tools.join("bin");
    if !programs.join("inferno-flamegraph").is_file() {
        let version = locked_version("inferno")?;
        let mut install = cargo(&format!("install inferno --version ={version} --locked"));
        install.arg("--root").arg(&tools);
        check(install)?;
    }
    Ok(programs)
}

fn locked_version(package: &str) -> Result<String> {
    let metadata = cargo_metadata::MetadataCommand::new().current_dir(root()).exec()?;
    let found = metadata.packages.iter().find(|found| found.name.as_str() == package);
    Ok(found.with_context(|| format!("{package} is not in Cargo.lock"))?.version.to_string())
}

impl Reporting {
    /// How many times faster we are.
    pub(super) fn speedup(&self) -> f64 {
        self.perf.wall_ns as f64 / self.whyslow.wall_ns as f64
    }
}
