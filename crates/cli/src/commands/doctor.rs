//! `whyslow doctor`: what this host allows, what is missing, and what to do.

use std::io::{self, Write};

use anyhow::Context;
use whyslow_sampler::examine;

use crate::args::DoctorArgs;
use crate::debuginfod;
use crate::exit::Ending;
use crate::render::doctor;

/// Prints what was found; ends with 1 when something is missing.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<Ending> {
    let diagnosis = examine(debuginfod::from_environment().is_some());
    let mut out = io::stdout().lock();
    let printed = match args.json {
        true => doctor::json(&diagnosis, &mut out),
        false => doctor::text(&diagnosis, &mut out),
    };
    printed.and_then(|()| out.flush()).context("cannot print")?;
    Ok(Ending::Code(u8::from(!diagnosis.is_healthy())))
}
