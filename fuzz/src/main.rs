//! `cargo run -p whyslow-fuzz -- TARGET --seconds 30`: feeds bent versions of
//! known inputs to a parser until it panics or the time is up. The same seed
//! gives the same inputs.

#![forbid(unsafe_code)]

mod hunt;
mod mutate;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::Parser;
use whyslow_fuzz::{TARGETS, corpus};

use crate::hunt::Outcome;

/// Feed bent inputs to a parser.
#[derive(Parser)]
struct Arguments {
    /// The target; without one, their names are listed
    target: Option<String>,
    /// How long to go on
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Start of the sequence of inputs; the process number by default
    #[arg(long)]
    seed: Option<u64>,
    /// Feed this input once instead
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Write the inputs made in code into this folder instead
    #[arg(long, value_name = "FOLDER")]
    write_seeds: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let Some(name) = &arguments.target else {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        return Ok(ExitCode::SUCCESS);
    };
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        bail!("no target {name}");
    };
    if let Some(folder) = &arguments.write_seeds {
        corpus::write_seeds(target, folder)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(path) = &arguments.input {
        (target.feed)(&std::fs::read(path)?);
        return Ok(ExitCode::SUCCESS);
    }
    let seed = arguments.seed.unwrap_or_else(|| std::process::id().into());
    let corpus = corpus::load(target)?;
    println!("{name}: {} known inputs, seed {seed}", corpus.len());
    let time = Duration::from_secs(arguments.seconds);
    match hunt::run(target, &corpus, seed, time)? {
        Outcome::Quiet { inputs } => {
            println!("{name}: {inputs} inputs, no panic");
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Panicked { input } => {
            println!("{name}: panics on {}", input.display());
            Ok(ExitCode::FAILURE)
        }
    }
}
