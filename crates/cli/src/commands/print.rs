//! `whyslow completions` and the schema: fixed text on standard output.

use std::io::{self, Write};

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Ending;
use crate::render::json;

/// Prints the completion script for `shell`.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn completions(shell: Shell) -> anyhow::Result<Ending> {
    print(&script(shell))
}

fn script(shell: Shell) -> Vec<u8> {
    // Gathered first: the generator panics when a write fails.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "whyslow", &mut script);
    script
}

/// Prints the JSON Schema of the report.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn schema() -> anyhow::Result<Ending> {
    let mut schema = Vec::new();
    json::schema(&mut schema)?;
    print(&schema)
}

fn print(text: &[u8]) -> anyhow::Result<Ending> {
    let mut out = io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush()).context("cannot print")?;
    Ok(Ending::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_completes_the_commands_and_their_flags() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for word in ["record", "report", "duration", "no-inherit"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
