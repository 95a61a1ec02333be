//! `cargo xtask bench`: what whyslow costs the program it records, and how fast
//! it reports, against other profilers on the same machine in the same run.

mod chains;
mod cost;
mod flamegraph;
mod goals;
mod loss;
mod overhead;
mod profilers;
mod programs;
mod python;
mod recorder;
mod reporting;
mod stacks;
mod table;

pub(crate) use cost::print_cost_of;

use std::fs;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use crate::{readme, run, tools};

/// What to measure and where to write it.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Pairs of each program with each fast profiler; slow profilers run once
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Print JSON with every single time
    #[arg(long)]
    json: bool,
    /// Write the tables into README.md
    #[arg(long)]
    readme: bool,
}

/// Everything one run measured.
#[derive(Serialize)]
struct Results {
    losses: Vec<loss::Loss>,
    overhead: Vec<overhead::Overhead>,
    python: Vec<overhead::Overhead>,
    stacks: stacks::Stacks,
    reporting: reporting::Reporting,
}

/// The same, judged.
#[derive(Serialize)]
struct Judged {
    #[serde(flatten)]
    results: Results,
    goals: Vec<goals::Goal>,
}

/// Measures, prints, and fails when a goal is missed.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let missing = tools::ensure(tools::FOR_BENCH);
    if !missing.is_empty() {
        bail!("needs {}", missing.join(", "));
    }
    tools::mount_tracefs();
    let whyslow = run::release_binary()?;
    let folder = run::target_directory()?.join("bench");
    fs::create_dir_all(&folder)?;
    let programs = programs::compile(&folder)?;
    let flamegraph = flamegraph::Flamegraph::new(&whyslow, &folder)?;
    let rounds = arguments.rounds;
    let results = Results {
        losses: loss::measure(&programs, &whyslow, &folder, rounds)?,
        overhead: overhead::measure(&programs, &whyslow, &folder, rounds)?,
        python: python::measure(&whyslow, &folder, rounds)?,
        stacks: stacks::measure(&programs, &whyslow, &flamegraph, &folder, rounds)?,
        reporting: reporting::measure(&programs, &whyslow, &flamegraph, &folder)?,
    };
    let judged = Judged { goals: goals::judge(&results)?, results };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&judged)?);
    } else {
        println!("{}", table::markdown(&judged));
    }
    if arguments.readme {
        readme::replace("bench", &table::markdown(&judged))?;
    }
    match judged.goals.iter().filter(|goal| !goal.met).count() {
        0 => Ok(()),
        missed => bail!("{missed} goals missed"),
    }
}
