//! The project's own chores, one subcommand each: `cargo xtask test`, `tidy`,
//! `bless`, `accuracy`, `bench`. What is measured or checked lives in the modules.

#![forbid(unsafe_code)]

mod accuracy;
mod bench;
mod bless;
mod cross;
mod fuzz;
mod readme;
mod run;
mod sanitize;
mod soak;
mod test;
mod tidy;
mod tools;
mod workloads;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own chores.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what the tests need, then run every check and test.
    Test,
    /// Measure what recording costs, against other profilers.
    Bench(bench::Arguments),
    /// Run a command and print its time and peak memory as JSON.
    #[command(hide = true)]
    Cost {
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Fuzz every parser, led by coverage, and add to the corpora.
    Fuzz(fuzz::Arguments),
    /// Run the tests of the unsafe code under `AddressSanitizer`.
    Sanitize,
    /// Write the goldens and the report's JSON Schema anew.
    Bless,
    /// Check the house rules that no compiler checks.
    Tidy,
    /// Run the labelled suite under whyslow and compare with what is known about it.
    Accuracy(accuracy::Arguments),
    /// Attach to a program and detach from it for long; fails when something is left behind.
    Soak(soak::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Test => return test::run(),
        Chore::Bench(arguments) => bench::run(&arguments),
        Chore::Cost { command } => bench::print_cost_of(&command),
        Chore::Fuzz(arguments) => fuzz::guided(&arguments),
        Chore::Sanitize => sanitize::run(),
        Chore::Bless => bless::run(),
        Chore::Tidy => tidy::run(),
        Chore::Accuracy(arguments) => accuracy::run(&arguments),
        Chore::Soak(arguments) => soak::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
