//! `cargo xtask accuracy`: runs the labelled suite under whyslow, and compares
//! each report with what the workload is and what it measured of itself. Its
//! second part, `predictions`, does what reports advise, and measures that.

mod groups;
mod intervals;
mod judge;
mod noise;
mod predictions;
mod record;
mod report;
mod stage;
mod table;
mod truth;
mod user;

use std::{env, fs, path::PathBuf};

use anyhow::{Result, ensure};

use crate::{
    readme, run,
    workloads::{self, Mode, Programs, Workload},
};
use judge::Judgement;
use noise::Watch;
use record::{Recorded, Recorder};
use stage::{Prepared, Stage};

/// How long a launched workload runs, where it can be told.
const LAUNCH_SECONDS: u64 = 3;
/// How long an attached one would run if it was left alone.
const ATTACH_SECONDS: u64 = 120;
/// With more than so many CPUs used by others, a wrong result proves nothing.
const DISTURBED: f64 = 0.15;
/// How often a disturbed run is tried.
const TRIES: u32 = 3;

/// Arguments of `cargo xtask accuracy`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only workloads whose id contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Only one part
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Only launch or only attach
    #[arg(long)]
    mode: Option<Mode>,
    /// Which engine whyslow is to take
    #[arg(long, default_value = "auto", value_name = "NAME")]
    engine: String,
    /// What recording may cost, such as 1%
    #[arg(long, value_name = "PERCENT")]
    max_overhead: Option<String>,
    /// How often to run each
    #[arg(long, default_value_t = 1, value_name = "N")]
    runs: u32,
    /// Write every result to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put the tables into the README
    #[arg(long)]
    readme: bool,
    /// Run all of it as this user, who has no privilege (needs root)
    #[arg(long, value_name = "NAME", conflicts_with = "readme")]
    user: Option<String>,
    /// Where its files go
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Verdicts and shares of the labelled suite.
    Workloads,
    /// What following the advice of a report gains.
    Predictions,
    /// How often the truth is inside the intervals of sampled waits; only when named.
    Intervals,
}

impl Part {
    fn as_str(self) -> &'static str {
        match self {
            Part::Workloads => "workloads",
            Part::Predictions => "predictions",
            Part::Intervals => "intervals",
        }
    }
}

/// Runs what is asked for; an error when anything is wrong.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(name) = &arguments.user {
        return user::run_as(name, &binary()?, arguments);
    }
    let folder = match &arguments.folder {
        Some(folder) => folder.clone(),
        None => run::target_directory()?.join("accuracy"),
    };
    let suite = Suite {
        binary: binary()?,
        programs: Programs::new(&folder.join("bin"))?,
        folder,
        engine: arguments.engine.clone(),
        limit: arguments.max_overhead.clone(),
        // Where results are decided, a workload that cannot run is a failure.
        may_skip: env::var_os("CI").is_none(),
    };
    let wanted = |part| arguments.only.is_none_or(|only| only == part);
    let mut wrong = 0;
    if wanted(Part::Workloads) {
        wrong += labelled(&suite, arguments)?;
    }
    if wanted(Part::Predictions) {
        wrong += predicted(&suite, arguments)?;
    }
    if arguments.only == Some(Part::Intervals) {
        wrong += usize::from(covered(&suite, arguments)?);
    }
    ensure!(wrong == 0, "{wrong} results are wrong; see {}", suite.folder.display());
    Ok(())
}

/// How many runs of the labelled suite are wrong.
fn labelled(suite: &Suite, arguments: &Arguments) -> Result<usize> {
    let judgements = suite.run(arguments)?;
    let tables = table::markdown(&judgements);
    println!("\n{tables}");
    if let Some(path) = &arguments.json {
        fs::write(path, serde_json::to_vec_pretty(&judgements)?)?;
    }
    if arguments.readme {
        readme::replace("accuracy", &tables)?;
    }
    Ok(judgements.iter().filter(|judgement| !judgement.wrong.is_empty()).count())
}

/// How many predictions are wrong, where one of eight is allowed to be.
fn predicted(suite: &Suite, arguments: &Arguments) -> Result<usize> {
    let filter = arguments.filter.as_deref().unwrap_or_default();
    let results = predictions::run(&suite.binary, &suite.programs, &suite.folder, filter)?;
    if results.is_empty() {
        return Ok(0);
    }
    let table = predictions::markdown(&results);
    println!("\n{table}");
    if arguments.readme {
        readme::replace("predictions", &table)?;
    }
    Ok(predictions::wrong(&results))
}

/// Whether too few intervals hold the truth.
fn covered(suite: &Suite, arguments: &Arguments) -> Result<bool> {
    let filter = arguments.filter.as_deref().unwrap_or_default();
    let mut suite = suite.clone();
    if suite.limit.is_none() {
        "procfs".clone_into(&mut suite.engine);
    }
    let results = intervals::run(&suite, filter, arguments.runs)?;
    let table = intervals::markdown(&results);
    println!("\n{table}");
    if arguments.readme {
        readme::replace("intervals", &table)?;
    }
    Ok(intervals::coverage(&results).1)
}

/// `WHYSLOW_BIN`, or what cargo builds.
fn binary() -> Result<PathBuf> {
    match env::var_os("WHYSLOW_BIN") {
        Some(path) => Ok(path.into()),
        None => run::release_binary(),
    }
}

#[derive(Clone)]
struct Suite {
    binary: PathBuf,
    programs: Programs,
    folder: PathBuf,
    engine: String,
    limit: Option<String>,
    may_skip: bool,
}

impl Suite {
    fn run(&self, arguments: &Arguments) -> Result<Vec<Judgement>> {
        let wanted = |workload: &&Workload| {
            arguments.filter.as_ref().is_none_or(|filter| workload.id.contains(filter.as_str()))
        };
        let all = workloads::all()?;
        let mut judgements = Vec::new();
        for workload in all.iter().filter(wanted) {
            for &mode in workload
                .modes
                .iter()
                .filter(|&&mode| arguments.mode.is_none_or(|only| only == mode))
            {
                for _ in 0..arguments.runs {
                    judgements.push(self.undisturbed(workload, mode)?);
                }
            }
        }
        ensure!(!judgements.is_empty() || arguments.filter.is_some(), "no workload at all");
        Ok(judgements)
    }

    /// Runs once, or again when the machine was busy and the result is wrong.
    fn undisturbed(&self, workload: &Workload, mode: Mode) -> Result<Judgement> {
        let mut tries = 0;
        loop {
            tries += 1;
            let judgement = self.once(workload, mode)?;
            print(&judgement);
            let disturbed = judgement.found.is_some() && judgement.others > DISTURBED;
            if judgement.wrong.is_empty() || !disturbed || tries == TRIES {
                return Ok(judgement);
            }
            println!("      others used {:.2} CPUs; again", judgement.others);
        }
    }

    fn once(&self, workload: &Workload, mode: Mode) -> Result<Judgement> {
        let mut judgement = Judgement::new(workload, mode);
        let watch = Watch::begin()?;
        let seconds = match mode {
            Mode::Launch => LAUNCH_SECONDS,
            Mode::Attach => ATTACH_SECONDS,
        };
        let recorded = self.record(workload, mode, seconds);
        judgement.others = watch.end()?;
        match recorded {
            Ok(Outcome::Recorded(recorded)) => {
                let (report, truth) = *recorded;
                judgement.compare(workload, &report, truth.as_ref());
            }
            Ok(Outcome::Impossible(reason)) => {
                if !self.may_skip {
                    judgement.wrong.push(reason.clone());
                }
                judgement.skipped = Some(reason);
            }
            Err(error) => judgement.wrong.push(format!("{error:#}")),
        }
        Ok(judgement)
    }

    /// Records a workload that runs for `seconds` unless it is ended before.
    fn record(&self, workload: &Workload, mode: Mode, seconds: u64) -> Result<Outcome> {
        let stage = match Stage::prepare(workload, &self.programs, &self.folder, seconds)? {
            Prepared::Ready(stage) => stage,
            Prepared::Impossible(reason) => return Ok(Outcome::Impossible(reason)),
        };
        let recorder = Recorder {
            binary: &self.binary,
            engine: &self.engine,
            limit: self.limit.as_deref(),
            stem: self.folder.join(format!("{}-{}", workload.id, mode.as_str())),
            shares: workload.shares,
        };
        match mode {
            Mode::Launch => recorder.launch(&stage),
            Mode::Attach => recorder.attach(&stage),
        }
        .map(|recorded| Outcome::Recorded(Box::new(recorded)))
    }
}

/// What came of an attempt.
enum Outcome {
    Recorded(Box<Recorded>),
    /// This machine cannot; why.
    Impossible(String),
}

fn print(judgement: &Judgement) {
    let Judgement { id, mode, wrong, .. } = judgement;
    let outcome = match (&judgement.skipped, wrong.is_empty()) {
        (Some(reason), _) => format!("skipped: {reason}"),
        (None, true) => "right".into(),
        (None, false) => "WRONG".into(),
    };
    let error = |share: Option<judge::Share>| share.map_or(0.0, judge::Share::error);
    let (io, cpu) = (error(judgement.io), error(judgement.cpu));
    println!("{id:<24} {mode:<6} {outcome}   I/O {io:+.2}  CPU {cpu:+.2}");
    for what in wrong {
        println!("      {what}");
    }
}
