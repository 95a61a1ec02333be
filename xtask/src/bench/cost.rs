//! The time and the peak memory of one command. The kernel keeps the peak of
//! all children together, so each command is run by a process of its own: this
//! program again.

use std::{
    env,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use crate::run;

/// The name of the hidden subcommand that calls [`print_cost_of`].
const SUBCOMMAND: &str = "cost";

/// What a command cost.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Cost {
    pub(super) wall_ns: u64,
    /// Of the largest process among the command and its children.
    pub(super) peak_bytes: u64,
}

/// Runs a command and measures it.
pub(super) fn of(words: &[String]) -> Result<Cost> {
    let ourselves = env::current_exe()?;
    let mut command = Command::new(ourselves);
    command.current_dir(run::root()).args([SUBCOMMAND, "--"]).args(words);
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{}: {}", words.join(" "), output.status);
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The other half: runs the command, with its output thrown away, and prints
/// the cost as JSON.
pub(crate) fn print_cost_of(words: &[String]) -> Result<()> {
    let (program, arguments) = words.split_first().context("no command")?;
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null());
    let start = Instant::now();
    run::check(command)?;
    let wall_ns = u64::try_from(start.elapsed().as_nanos())?;
    let peak_kib = u64::try_from(getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss())?;
    println!("{}", serde_json::to_string(&Cost { wall_ns, peak_bytes: peak_kib * 1024 })?);
    Ok(())
}
