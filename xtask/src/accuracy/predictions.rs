//! Predictions, tested by running them: a report is made from a program as it
//! is, then the program runs under each model of concurrency, alone. The model
//! that was recommended should be the fastest, and gain what was foretold.

mod program;
mod table;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{noise::Watch, report::Report, stage};
use crate::{bench::median, workloads::Programs};
use program::{Program, Running, Server};

pub(super) use table::markdown;

/// Of the gains of a model over so many rounds, the middle one counts.
const ROUNDS: usize = 4;
/// No further round begins after this time: what takes so long mostly waits,
/// and varies little.
const LONG: Duration = Duration::from_secs(15);
/// As fast as the fastest.
const AS_FAST: f64 = 1.05;
/// With more CPUs used by others than this, a wrong result is tried again.
const DISTURBED: f64 = 0.15;
const TRIES: u32 = 3;
/// Predictions, of which one may be missed.
const ONE_OF: usize = 8;

/// What came of one program.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    about: String,
    /// What was recorded.
    now: String,
    recommended: String,
    workers: u32,
    predicted: Option<[f64; 2]>,
    /// Speed-up of each model that ran, the recorded one included.
    measured: BTreeMap<String, f64>,
    antipatterns: Vec<String>,
    /// The mistake that should have been named and was not.
    unnamed: Option<String>,
}

impl Outcome {
    fn gained(&self) -> f64 {
        self.measured.get(&self.recommended).copied().unwrap_or(0.0)
    }

    fn fastest(&self) -> f64 {
        self.measured.values().copied().fold(0.0, f64::max)
    }

    fn is_fastest(&self) -> bool {
        self.gained() * AS_FAST >= self.fastest()
    }

    fn is_in_range(&self) -> bool {
        self.predicted.is_none_or(|[low, high]| (low..=high).contains(&self.gained()))
    }

    fn is_right(&self) -> bool {
        self.is_fastest() && self.is_in_range() && self.unnamed.is_none()
    }
}

/// How many of the results are wrong: each that is not the fastest, or does not
/// name its mistake, and missed ranges but for one of eight.
pub(super) fn wrong(outcomes: &[Outcome]) -> usize {
    let missed = outcomes.iter().filter(|it| !it.is_in_range()).count();
    let others = outcomes.iter().filter(|it| !it.is_fastest() || it.unnamed.is_some()).count();
    others + missed.saturating_sub(outcomes.len() / ONE_OF)
}

/// Runs the programs whose id contains `filter`.
pub(super) fn run(
    binary: &Path,
    programs: &Programs,
    folder: &Path,
    filter: &str,
) -> Result<Vec<Outcome>> {
    // Thousands of connections are as many files.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let trial = Trial { binary, programs, folder };
    let all = program::all()?;
    all.iter().filter(|it| it.id.contains(filter)).map(|it| trial.undisturbed(it)).collect()
}

struct Trial<'a> {
    binary: &'a Path,
    programs: &'a Programs,
    folder: &'a Path,
}

impl Trial<'_> {
    fn undisturbed(&self, program: &Program) -> Result<Outcome> {
        let mut tries = 0;
        loop {
            tries += 1;
            let watch = Watch::begin()?;
            let outcome = self.once(program).with_context(|| program.id.clone())?;
            let others = watch.end()?;
            println!("{}", table::line(&program.id, &outcome));
            if outcome.is_right() || others <= DISTURBED || tries == TRIES {
                return Ok(outcome);
            }
            println!("      others used {others:.2} CPUs; again");
        }
    }

    fn once(&self, program: &Program) -> Result<Outcome> {
        let server = program.server.map(|delay| Server::start(self.programs, delay));
        let server = server.transpose()?;
        let mut variables = Vec::new();
        variables.extend(server.iter().map(|server| ("SERVER", server.port.clone())));
        if program.data {
            variables.push(("DATA", stage::data(self.folder)?));
        }
        let running = Running { programs: self.programs, program, variables };
        let report = self.record(&running)?;
        let prescription = report.prescription.context("the report has no prescription")?;
        let workers = prescription.predicted.as_ref().map_or(1, |it| it.workers);
        let recommended = match prescription.model.as_str() {
            "keep" => program.now.clone(),
            model => model.to_owned(),
        };
        let others = program.models.iter().filter(|model| **model != program.now);
        let others = others.map(|model| {
            let workers = if *model == recommended { workers } else { program.workers };
            (model.as_str(), workers)
        });
        let measured = speedups(&running, &others.collect::<Vec<_>>())?;
        let antipatterns: Vec<String> =
            prescription.antipatterns.into_iter().map(|it| it.id).collect();
        let unnamed = program.shows.clone().filter(|shows| !antipatterns.contains(shows));
        Ok(Outcome {
            about: program.about.clone(),
            now: program.now.clone(),
            recommended,
            workers,
            predicted: prescription.predicted.map(|it| it.speedup),
            measured,
            antipatterns,
            unnamed,
        })
    }

    /// The report on the program as it is.
    fn record(&self, running: &Running<'_>) -> Result<Report> {
        let stem = self.folder.join(format!("prediction-{}", running.program.id));
        let [json, recording] = ["json", "whyslow"].map(|it| stem.with_extension(it));
        let mut words: Vec<PathBuf> = vec![self.binary.into()];
        words.extend(["record", "-q", "--force", "-o"].map(PathBuf::from));
        words.extend([json.clone(), "-o".into(), recording, "--".into()]);
        let status = running.command(&words, &running.program.now, running.program.workers)?;
        ensure!(status.success(), "whyslow: {status}");
        Report::read(&json)
    }
}

/// How many times as fast as the program is now each model is. All take turns
/// within a round, so that a machine that changes its speed does so for all, and
/// every other round goes backwards: what used all CPUs slows what comes next.
fn speedups(running: &Running<'_>, models: &[(&str, u32)]) -> Result<BTreeMap<String, f64>> {
    let Program { now, workers, .. } = running.program;
    let mut all = vec![(now.as_str(), *workers)];
    all.extend_from_slice(models);
    let mut gains: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        let times = all.iter().map(|(model, workers)| seconds(running, model, *workers));
        let times = times.collect::<Result<Vec<f64>>>()?;
        let before = all.iter().position(|(model, _)| model == now).map_or(1.0, |at| times[at]);
        for ((model, _), time) in all.iter().zip(times) {
            gains.entry((*model).to_owned()).or_default().push(before / time);
        }
        if begin.elapsed() >= LONG {
            break;
        }
        all.reverse();
    }
    Ok(gains.into_iter().map(|(model, gains)| (model, median(gains))).collect())
}

fn seconds(running: &Running<'_>, model: &str, workers: u32) -> Result<f64> {
    let begin = Instant::now();
    let status = running.command(&[], model, workers)?;
    ensure!(status.success(), "{model}: {status}");
    Ok(begin.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn outcome(
        recommended: &str,
        predicted: [f64; 2],
        measured: &[(&str, f64)],
    ) -> Outcome {
        Outcome {
            about: "does x".into(),
            now: "sequential".into(),
            recommended: recommended.into(),
            workers: 5,
            predicted: Some(predicted),
            measured: measured.iter().map(|(model, it)| ((*model).to_owned(), *it)).collect(),
            antipatterns: vec!["sequential-waits".into()],
            unnamed: None,
        }
    }

    #[test]
    fn the_recommended_must_be_about_the_fastest() {
        let measured = [("sequential", 1.0), ("threads", 4.8), ("asyncio", 5.0)];
        assert!(outcome("threads", [4.0, 5.0], &measured).is_right());
        assert!(!outcome("sequential", [1.0, 1.0], &measured).is_fastest());
        assert!(!outcome("multiprocessing", [1.0, 2.0], &measured).is_fastest());
    }

    #[test]
    fn one_range_of_eight_may_be_missed() {
        let measured = [("sequential", 1.0), ("threads", 4.8)];
        let right = outcome("threads", [4.0, 5.0], &measured);
        let missed = outcome("threads", [4.9, 5.0], &measured);
        let mut all = vec![right; 7];
        all.push(missed.clone());
        assert_eq!(wrong(&all), 0);
        all[0] = missed;
        assert_eq!(wrong(&all), 1);
        all[1].unnamed = Some("x".into());
        assert_eq!(wrong(&all), 2);
    }
}
