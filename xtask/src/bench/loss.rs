//! What each profiler takes from a program that only computes. The program
//! watches for the gaps in its own time, and the share that it loses more with
//! a profiler than without is the cost. The gaps in which other programs have
//! the CPU are left out, which is why this tells tenths of a per cent where
//! the times of whole runs scatter by several per cent.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::{
    overhead::{self, lost, median, quality},
    profilers::{self, NONE, WHYSLOW},
    programs::{self, Programs},
};

const SECONDS: u32 = 4;
/// Frames on the stack, none to speak of and a usual number, and samples a second.
const LOOPS: [(u32, u32); 2] = [(1, profilers::DEFAULT_HERTZ), (30, profilers::STACKS_HERTZ)];

/// One depth of stack with all profilers.
#[derive(Serialize)]
pub(super) struct Loss {
    pub(super) frames: u32,
    pub(super) hertz: u32,
    pub(super) profilers: Vec<Shares>,
    /// What whyslow's reports say that recording took, as shares of the same time.
    pub(super) said: Vec<f64>,
    /// Records the kernel dropped, summed over the runs with whyslow.
    pub(super) lost_records: u64,
}

/// What the program lost with one profiler.
#[derive(Serialize)]
pub(super) struct Shares {
    pub(super) profiler: &'static str,
    /// Of its time on the CPU, one for each round.
    pub(super) lost: Vec<f64>,
}

/// Runs the loop at every depth with every profiler, which take turns.
pub(super) fn measure(
    programs: &Programs,
    whyslow: &Path,
    folder: &Path,
    rounds: usize,
) -> Result<Vec<Loss>> {
    LOOPS.iter().map(|at| measure_one(programs, whyslow, folder, rounds, *at)).collect()
}

fn measure_one(
    programs: &Programs,
    whyslow: &Path,
    folder: &Path,
    rounds: usize,
    (frames, hertz): (u32, u32),
) -> Result<Loss> {
    let all = profilers::sampling(hertz, whyslow, folder);
    let shares = |profiler: &profilers::Profiler| Shares { profiler: profiler.name, lost: vec![] };
    let shares = all.iter().map(shares).collect();
    let mut loss = Loss { frames, hertz, profilers: shares, said: vec![], lost_records: 0 };
    let program = programs.cpu_loop(SECONDS, frames);
    for round in 1..=rounds {
        for (profiler, shares) in all.iter().zip(&mut loss.profilers) {
            eprintln!("CPU loop, {frames} frames, {}, round {round}", profiler.name);
            overhead::remove(&profiler.output)?;
            let own = programs::run(&profiler.wrap(&program))?;
            shares.lost.push(own.lost.context("the loop does not say what it lost")?);
            if profiler.name == WHYSLOW {
                let quality = quality(whyslow, &profiler.output)?;
                loss.lost_records += lost(&quality)?;
                let cost = quality["overhead"]["target_cpu_ns"].as_f64();
                let cost = cost.context("no quality.overhead.target_cpu_ns in the report")?;
                loss.said.push(cost / own.elapsed_ns as f64);
            }
        }
    }
    Ok(loss)
}

impl Loss {
    /// What the program loses alone.
    pub(super) fn alone(&self) -> f64 {
        median(self.lost(NONE).to_vec())
    }

    /// What it loses more with `profiler`: the median over the rounds.
    pub(super) fn added(&self, profiler: &str) -> f64 {
        let pairs = self.lost(profiler).iter().zip(self.lost(NONE));
        median(pairs.map(|(with, without)| with - without).collect())
    }

    /// What the reports say that it loses to whyslow.
    pub(super) fn said(&self) -> f64 {
        median(self.said.clone())
    }

    fn lost(&self, profiler: &str) -> &[f64] {
        let shares = self.profilers.iter().find(|shares| shares.profiler == profiler);
        shares.map_or(&[], |shares| &shares.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_is_compared_with_its_own_run_alone() {
        let shares = |profiler, lost: &[f64]| Shares { profiler, lost: lost.to_vec() };
        let profilers = vec![shares(NONE, &[0.01, 0.05]), shares(WHYSLOW, &[0.02, 0.06])];
        let loss = Loss { frames: 1, hertz: 499, profilers, said: vec![], lost_records: 0 };
        assert!((loss.added(WHYSLOW) - 0.01).abs() < 1e-9);
        assert!((loss.alone() - 0.03).abs() < 1e-9);
    }
}
