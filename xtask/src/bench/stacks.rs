//! What whole stacks cost, on a program that computes on every CPU in code
//! without frame pointers: ours against `perf record --call-graph dwarf`.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::{
    chains,
    cost::{self, Cost},
    flamegraph::Flamegraph,
    overhead::{lost, median, quality, remove},
    profilers::{self, PERF_DWARF, Profiler},
    programs::{self, Programs},
    recorder::{self, Recorded},
};

const SECONDS: u32 = 5;
/// Samples a second and CPU where many are wanted.
const MANY: u32 = 9999;

/// Everything about stacks.
#[derive(Serialize)]
pub(super) struct Stacks {
    /// The share of its time that the program loses alone, one for each round.
    pub(super) alone: Vec<f64>,
    pub(super) recorders: Vec<Recorder>,
    pub(super) many: Many,
}

/// One profiler, at the default rate.
#[derive(Serialize)]
pub(super) struct Recorder {
    pub(super) profiler: &'static str,
    /// The share of its time that the program loses, one for each round.
    pub(super) lost: Vec<f64>,
    /// CPU time of the profiler while it records, as a share of one CPU.
    pub(super) cpu: Vec<f64>,
    /// Peak memory while it records, of any round.
    pub(super) peak_bytes: u64,
    /// Size of the last recording.
    pub(super) bytes: u64,
    /// The share of chains in it that are complete.
    pub(super) complete: f64,
    /// From it to a flamegraph.
    pub(super) flamegraph: Cost,
    /// Records the kernel dropped, of ours.
    pub(super) lost_records: u64,
}

/// Many samples in a short time.
#[derive(Serialize)]
pub(super) struct Many {
    /// Samples asked for: the rate on each CPU for as long as the program runs.
    pub(super) samples: u64,
    /// From the end of the program to all reports, fastest of the rounds.
    pub(super) after_ns: u64,
    pub(super) peak_bytes: u64,
    pub(super) lost_records: u64,
}

/// Runs the program alone, with every profiler, and with many samples; all of
/// them take turns.
pub(super) fn measure(
    programs: &Programs,
    whyslow: &Path,
    flamegraph: &Flamegraph<'_>,
    folder: &Path,
    rounds: usize,
) -> Result<Stacks> {
    let program = programs.stacks(SECONDS);
    let profilers = profilers::of_stacks(whyslow, folder);
    let at_many = profilers::whyslow_at(MANY, whyslow, folder);
    let mut runs: Vec<Vec<Recorded>> = profilers.iter().map(|_| vec![]).collect();
    let (mut alone, mut many) = (vec![], vec![]);
    let mut lost_at_many = 0;
    for round in 1..=rounds {
        eprintln!("stacks, round {round}");
        alone.push(programs::run(&program)?.lost.context("it does not say what it lost")?);
        for (profiler, runs) in profilers.iter().zip(&mut runs) {
            runs.push(record(profiler, &program)?);
        }
        many.push(record(&at_many, &program)?);
        lost_at_many += lost(&quality(whyslow, &at_many.output)?)?;
    }
    let recorders =
        profilers.iter().zip(&runs).map(|(p, runs)| judge(p, runs, whyslow, flamegraph));
    let cpus = std::thread::available_parallelism()?.get() as u64;
    Ok(Stacks {
        alone,
        recorders: recorders.collect::<Result<_>>()?,
        many: Many {
            samples: u64::from(MANY) * u64::from(SECONDS) * cpus,
            after_ns: many.iter().map(|run| run.after_ns).min().context("no rounds")?,
            peak_bytes: peak(&many),
            lost_records: lost_at_many,
        },
    })
}

fn record(profiler: &Profiler, program: &[String]) -> Result<Recorded> {
    remove(&profiler.output)?;
    recorder::record(&profiler.wrap(program))
}

fn judge(
    profiler: &Profiler,
    runs: &[Recorded],
    whyslow: &Path,
    flamegraph: &Flamegraph<'_>,
) -> Result<Recorder> {
    let recording = &profiler.output;
    let (complete, command, lost_records) = if profiler.name == PERF_DWARF {
        (chains::of_perf(recording)?, flamegraph.of_perf(recording), 0)
    } else {
        let lost = lost(&quality(whyslow, recording)?)?;
        (chains::of_whyslow(whyslow, recording)?, flamegraph.of_whyslow(recording), lost)
    };
    Ok(Recorder {
        profiler: profiler.name,
        lost: runs.iter().filter_map(|run| run.own.lost).collect(),
        cpu: runs.iter().map(|run| run.cpu).collect(),
        peak_bytes: peak(runs),
        bytes: recording.metadata()?.len(),
        complete,
        flamegraph: cost::of(&command)?,
        lost_records,
    })
}

fn peak(runs: &[Recorded]) -> u64 {
    runs.iter().map(|run| run.peak_bytes).max().unwrap_or(0)
}

impl Stacks {
    /// What the program loses more with this recorder: the median over the rounds.
    pub(super) fn added(&self, recorder: &Recorder) -> f64 {
        median(recorder.lost.iter().zip(&self.alone).map(|(with, alone)| with - alone).collect())
    }

    /// Records that the kernel dropped in any recording of ours.
    pub(super) fn lost_records(&self) -> u64 {
        let lost = self.recorders.iter().map(|recorder| recorder.lost_records);
        lost.sum::<u64>() + self.many.lost_records
    }
}

impl Recorder {
    /// CPU time while it records, as a share of one CPU: the median over the rounds.
    pub(super) fn cpu(&self) -> f64 {
        median(self.cpu.clone())
    }
}
