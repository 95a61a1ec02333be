//! `cargo xtask bench`: what whyslow costs the program it records, and how fast
//! it reports, against other profilers on the same machine in the same run.

mod chains;
mod cost;
mod flamegraph;
mod goals;
mod idle;
mod loss;
mod overhead;
mod pairs;
mod profilers;
mod programs;
mod python;
mod recorder;
mod reporting;
mod running;
mod stacks;
mod table;

pub(crate) use cost::print_cost_of;
pub(crate) use overhead::median;

use std::fs;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{readme, run, tools};

/// What to measure and where to write it.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Pairs of each program with each fast profiler; slow profilers run once
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Measure one part, print its table, and judge nothing
    #[arg(long)]
    only: Option<Part>,
    /// Print JSON with every single time
    #[arg(long)]
    json: bool,
    /// Write the tables into README.md
    #[arg(long)]
    readme: bool,
}

/// What can be measured alone.
#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// What a program that computes loses
    Losses,
    /// What programs that wait, call the kernel or start others lose
    Overhead,
    /// What Python programs lose
    Python,
    /// What the recorder takes while the program does nothing
    Idle,
    /// Whole stacks
    Stacks,
    /// From the recording to the flamegraph
    Reporting,
}

/// Everything one run measured.
#[derive(Serialize)]
struct Results {
    losses: Vec<loss::Loss>,
    overhead: Vec<overhead::Overhead>,
    python: Vec<python::Slowdowns>,
    idle: Vec<idle::Idle>,
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
    let flamegraph = || flamegraph::Flamegraph::new(&whyslow, &folder);
    let rounds = arguments.rounds;
    let losses = || loss::measure(&programs, &whyslow, &folder, rounds);
    let overhead = || overhead::measure(&programs, &whyslow, &folder, rounds);
    let python = || python::measure(&whyslow, &folder, rounds);
    let idle = || idle::measure(&whyslow, &folder);
    let stacks = || stacks::measure(&programs, &whyslow, &flamegraph()?, &folder, rounds);
    let reporting = || reporting::measure(&programs, &whyslow, &flamegraph()?, &folder);
    if let Some(part) = arguments.only {
        let table = match part {
            Part::Losses => table::losses(&losses()?),
            Part::Overhead => table::overheads(&overhead()?),
            Part::Python => table::slowdowns(&python()?),
            Part::Idle => table::idle(&idle()?),
            Part::Stacks => table::stacks(&stacks()?),
            Part::Reporting => table::reporting(&reporting()?),
        };
        println!("{table}");
        return Ok(());
    }
    let results = Results {
        losses: losses()?,
        overhead: overhead()?,
        python: python()?,
        idle: idle()?,
        stacks: stacks()?,
        reporting: reporting()?,
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
