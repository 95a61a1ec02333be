//! `whyslow`: reads the command line, runs the command, ends as `exit` says.

#![forbid(unsafe_code)]

mod ahead;
mod args;
mod commands;
mod debuginfod;
mod exit;
mod files;
mod output;
mod progress;
mod redact;
mod render;
mod sanitize;
mod symbols;
#[cfg(test)]
mod testing;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use exit::Ending;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // Help is no failure, and a closed stream leaves nobody to tell.
            let _ = usage.print();
            let code = if usage.use_stderr() { exit::FAILURE } else { 0 };
            return Ending::Code(code).conclude();
        }
    };
    match run(cli.command) {
        Ok(ending) => ending.conclude(),
        Err(error) if exit::is_broken_pipe(&error) => Ending::SUCCESS.conclude(),
        Err(error) => {
            anstream::eprintln!("{}: {}", output::error_label(), exit::message(&error));
            Ending::Code(exit::code_of(&error)).conclude()
        }
    }
}

fn run(command: Command) -> anyhow::Result<Ending> {
    match command {
        Command::Record(args) => commands::record::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Completions { shell } => commands::print::completions(shell),
        Command::Schema => commands::print::schema(),
    }
}
