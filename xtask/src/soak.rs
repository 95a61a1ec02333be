//! `cargo xtask soak`: attaches and detaches for long, and fails when something is
//! left behind. What it does is a test; this runs it for as long as wanted.

use anyhow::Result;
use clap::Args;

use crate::run::{cargo, check, release_binary};

const TEST: &str = "soak::attaching_for_long_leaves_nothing_behind";

/// For how long.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Minutes
    #[arg(long, default_value_t = 60)]
    minutes: u64,
}

/// Runs the test, which prints what it finds.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut soak = cargo("test --release --package whyslow-tests --locked");
    soak.args(["--", "--ignored", "--exact", TEST, "--nocapture"]);
    soak.env("WHYSLOW_BIN", release_binary()?);
    soak.env("WHYSLOW_SOAK_SECONDS", (arguments.minutes * 60).to_string());
    check(soak)
}
