//! How often the truth lies inside the intervals that a report of sampled waits
//! prints: short workloads, each many times, under the engine that only looks, or under
//! perf events where recording pauses to keep to a limit.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};

use super::{
    Outcome, Suite,
    judge::Share,
    report::{Report, is_cpu, is_io},
    truth::Totals,
};
use crate::workloads::{self, Mode};

/// How long each run lasts, and with a limit: some pauses are to be in it.
const SECONDS: u64 = 1;
const SECONDS_WITH_PAUSES: u64 = 5;
/// Of all intervals, so many are to hold the truth.
const GOAL: f64 = 0.95;

/// What is run, and whether it has one thread: then the share of the verdict is
/// one of thread time, of which it knows the truth.
const WORKLOADS: &[(&str, bool)] = &[
    ("waits-long", true),
    ("waits-short", true),
    ("mutex-convoy-sleep", false),
    ("network-workers", false),
    ("pipeline-sleep", false),
];

/// What the runs of one workload gave.
#[derive(Debug, Default)]
pub(super) struct Covered {
    about: String,
    /// Whether the I/O share's interval held the truth, run by run.
    shares: Vec<bool>,
    /// The same of the verdict's interval.
    verdicts: Vec<bool>,
    /// Half the width of the interval of shares, on average.
    margin: f64,
}

/// Runs each workload whose id contains `filter` so many times.
pub(super) fn run(suite: &Suite, filter: &str, runs: u32) -> Result<Vec<Covered>> {
    let all = workloads::all()?;
    let seconds = if suite.limit.is_some() { SECONDS_WITH_PAUSES } else { SECONDS };
    let mut results = Vec::new();
    for (id, single) in WORKLOADS.iter().filter(|(id, _)| id.contains(filter)) {
        let workload = all.iter().find(|it| it.id == *id).context("not in the manifest")?;
        let mut covered = Covered { about: workload.about.clone(), ..Covered::default() };
        for _ in 0..runs {
            let Outcome::Recorded(recorded) = suite.record(workload, Mode::Launch, seconds)? else {
                continue;
            };
            let (report, truth) = *recorded;
            let truth = truth.with_context(|| format!("{id} keeps no account of itself"))?;
            covered.add(&report, &truth, *single)?;
        }
        println!("{id:<20} {}", covered.row());
        results.push(covered);
    }
    Ok(results)
}

impl Covered {
    fn add(&mut self, report: &Report, truth: &Totals, single: bool) -> Result<()> {
        let sampling = report.quality.sampling.as_ref().context("nothing was sampled")?;
        ensure!(sampling.margin > 0.0, "the interval has no width");
        let slack = Share::slack_of(report);
        let share = Share { truth: truth.io(), report: report.share(is_io), slack };
        self.shares.push(share.error().abs() <= sampling.margin * 100.0);
        self.margin += sampling.margin;
        if single {
            let [low, high] = report.verdict.interval;
            let told = match report.verdict.class.as_str() {
                "io-bound" => truth.io(),
                "cpu-bound" => truth.cpu(),
                "lock-bound" => 1.0 - truth.io() - truth.cpu(),
                // Nothing was claimed.
                _ => return Ok(()),
            };
            self.verdicts.push(low <= told && told - slack <= high);
        }
        ensure!(report.share(is_cpu) <= 1.0, "more CPU time than time");
        Ok(())
    }

    fn row(&self) -> String {
        let runs = self.shares.len();
        let margin = self.margin * 100.0 / runs.max(1) as f64;
        let shares = held(&self.shares);
        let verdicts = if self.verdicts.is_empty() { String::new() } else { held(&self.verdicts) };
        format!("{runs} | ± {margin:.1} | {shares} | {verdicts}")
    }
}

/// `57 of 60`.
fn held(intervals: &[bool]) -> String {
    let held = intervals.iter().filter(|held| **held).count();
    format!("{held} of {}", intervals.len())
}

/// How many of all intervals held the truth, and whether that is too few.
pub(super) fn coverage(results: &[Covered]) -> (f64, bool) {
    let all: Vec<bool> =
        results.iter().flat_map(|it| it.shares.iter().chain(&it.verdicts)).copied().collect();
    let held = all.iter().filter(|held| **held).count() as f64 / all.len().max(1) as f64;
    (held, held < GOAL)
}

/// The results as Markdown.
pub(super) fn markdown(results: &[Covered]) -> String {
    let mut text = String::from(
        "| workload | runs | points | share inside | verdict inside |\n|---|--:|--:|--:|--:|\n",
    );
    for covered in results {
        writeln!(text, "| {} | {} |", covered.about, covered.row()).expect("a string takes all");
    }
    let (held, _) = coverage(results);
    writeln!(text, "| all | | | {:.1} % | |", held * 100.0).expect("a string takes all");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_counts_every_interval() {
        let covered = Covered {
            about: "waits".into(),
            shares: vec![true; 19],
            verdicts: vec![true, false],
            margin: 19.0 * 0.02,
        };
        assert_eq!(covered.row(), "19 | ± 2.0 | 19 of 19 | 1 of 2");
        let (held, few) = coverage(&[covered]);
        assert!((held - 20.0 / 21.0).abs() < 1e-9 && !few, "{held}");
        assert!(coverage(&[Covered { shares: vec![true, false], ..Covered::default() }]).1);
    }
}
