//! `cargo xtask bench`: what whyslow costs the program it records, and how fast
//! it reports, against other profilers on the same machine in the same run.

mod cost;
mod goals;
mod overhead;
mod profilers;
mod programs;
mod reporting;
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
    overhead: Vec<overhead::Overhead>,
    reporting: reporting::Reporting,
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
    let overhead = overhead::measure(&programs, &whyslow, &folder, arguments.rounds)?;
    let reporting = reporting::measure(&programs, &whyslow, &folder)?;
    let goals = goals::judge(&overhead, &reporting)?;
    let results = Results { overhead, reporting, goals };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&results)?);
    } else {
        println!("{}", table::markdown(&results));
    }
    if arguments.readme {
        readme::replace("bench", &table::markdown(&results))?;
    }
    match results.goals.iter().filter(|goal| !goal.met).count() {
        0 => Ok(()),
        missed => bail!("{missed} goals missed"),
    }
}
