//! What each profiler adds to the time of a program that waits, calls the
//! kernel, or starts others. All profilers take turns
//! within each round, so that a machine that slows down slows all of them.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

use super::{
    profilers::{self, NONE, Profiler, WHYSLOW},
    programs::{self, Program, Programs, Unit},
};

/// A slow profiler is stopped after this time; some take minutes for a second.
const SLOWEST: Duration = Duration::from_secs(30);

/// One program with all profilers.
#[derive(Serialize)]
pub(super) struct Overhead {
    pub(super) program: &'static str,
    pub(super) unit: Unit,
    /// Blocking switches of one run alone.
    pub(super) switches: Option<u64>,
    pub(super) profilers: Vec<Times>,
    /// Records the kernel dropped, summed over the runs with whyslow.
    pub(super) lost: u64,
}

/// The times of one program with one profiler.
#[derive(Serialize)]
pub(super) struct Times {
    pub(super) profiler: &'static str,
    /// By the program's own clock, one for each round.
    pub(super) elapsed_ns: Vec<u64>,
    /// It was stopped after so long, and would have gone on.
    pub(super) stopped: bool,
}

/// Runs every program with every profiler.
pub(super) fn measure(
    programs: &Programs,
    whyslow: &Path,
    folder: &Path,
    rounds: usize,
) -> Result<Vec<Overhead>> {
    let profilers = profilers::all(whyslow, folder);
    let measure = |program: &Program| measure_one(program, &profilers, whyslow, rounds);
    programs.timed().iter().map(measure).collect()
}

/// Runs one program with every profiler.
pub(super) fn measure_one(
    program: &Program,
    profilers: &[Profiler],
    whyslow: &Path,
    rounds: usize,
) -> Result<Overhead> {
    let times = |profiler: &Profiler| Times {
        profiler: profiler.name,
        elapsed_ns: Vec::new(),
        stopped: false,
    };
    let mut overhead = Overhead {
        program: program.name,
        unit: program.unit,
        switches: None,
        profilers: profilers.iter().map(times).collect(),
        lost: 0,
    };
    for round in 0..rounds {
        for (profiler, times) in profilers.iter().zip(&mut overhead.profilers) {
            if profiler.slow && round > 0 {
                continue;
            }
            eprintln!("{}, {}, round {}", program.name, profiler.name, round + 1);
            remove(&profiler.output)?;
            let words = profiler.wrap(&program.command);
            if profiler.slow {
                let own = programs::run_at_most(SLOWEST, &words)?;
                times.stopped = own.is_none();
                let limit = SLOWEST.as_nanos() as u64;
                times.elapsed_ns.push(own.map_or(limit, |own| own.elapsed_ns));
                continue;
            }
            let own = programs::run(&words)?;
            times.elapsed_ns.push(own.elapsed_ns);
            match profiler.name {
                NONE => overhead.switches = own.switches,
                WHYSLOW => overhead.lost += lost(&quality(whyslow, &profiler.output)?)?,
                _ => {}
            }
        }
    }
    Ok(overhead)
}

/// What the report of a recording says of its quality.
pub(super) fn quality(whyslow: &Path, recording: &Path) -> Result<Value> {
    let output = Command::new(whyslow).arg("report").arg(recording).arg("--json").output()?;
    if !output.status.success() {
        bail!("whyslow report: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut report: Value = serde_json::from_slice(&output.stdout)?;
    Ok(report["quality"].take())
}

/// The records that the kernel dropped, by that.
pub(super) fn lost(quality: &Value) -> Result<u64> {
    quality["lost"].as_u64().context("no quality.lost in the report")
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

impl Overhead {
    /// The median time alone, ns.
    pub(super) fn alone_ns(&self) -> f64 {
        median(self.times(NONE).iter().map(|ns| *ns as f64).collect())
    }

    /// What `profiler` multiplies the program's time by: the median over the pairs.
    pub(super) fn factor(&self, profiler: &str) -> f64 {
        let pairs = self.times(profiler).iter().zip(self.times(NONE));
        median(pairs.map(|(with, without)| *with as f64 / *without as f64).collect())
    }

    /// What `profiler` adds to each blocking switch, ns: the median over the pairs.
    pub(super) fn per_switch_ns(&self, profiler: &str) -> Option<f64> {
        let switches = self.switches? as f64;
        let pairs = self.times(profiler).iter().zip(self.times(NONE));
        Some(median(
            pairs.map(|(with, without)| (*with as f64 - *without as f64) / switches).collect(),
        ))
    }

    /// Whether `profiler` was too slow to be waited for: its factor is the least it can be.
    pub(super) fn stopped(&self, profiler: &str) -> bool {
        self.of(profiler).is_some_and(|times| times.stopped)
    }

    fn times(&self, profiler: &str) -> &[u64] {
        self.of(profiler).map_or(&[], |times| &times.elapsed_ns)
    }

    fn of(&self, profiler: &str) -> Option<&Times> {
        self.profilers.iter().find(|times| times.profiler == profiler)
    }
}

/// The middle one, or the middle between the middle two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overhead(alone: &[u64], with: &[u64]) -> Overhead {
        let times =
            |profiler, ns: &[u64]| Times { profiler, elapsed_ns: ns.to_vec(), stopped: false };
        Overhead {
            program: "p",
            unit: Unit::Switch,
            switches: Some(10),
            profilers: vec![times(NONE, alone), times(WHYSLOW, with)],
            lost: 0,
        }
    }

    #[test]
    fn each_run_is_compared_with_the_one_beside_it() {
        // The machine halves its speed after the first round; the overhead is the same.
        let overhead = overhead(&[100, 200, 200], &[110, 220, 220]);
        assert!((overhead.factor(WHYSLOW) - 1.1).abs() < 1e-9);
        assert!((overhead.alone_ns() - 200.0).abs() < 1e-9);
        assert!((overhead.per_switch_ns(WHYSLOW).unwrap() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_profiler_that_ran_once_is_compared_with_the_first_round() {
        assert!((overhead(&[100, 999], &[300]).factor(WHYSLOW) - 3.0).abs() < 1e-9);
    }
}
