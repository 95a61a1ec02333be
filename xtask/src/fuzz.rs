//! The fuzz targets in the test command: half a minute each, as many at a time
//! as there are CPUs.

use std::{process::Child, thread};

use anyhow::{Context, Result, bail};

use crate::run::{cargo, check, command, target_directory};

const SECONDS: &str = "30";

/// Runs every target; a panic is an error, and its input is kept.
pub(crate) fn run() -> Result<()> {
    check(cargo("build --package whyslow-fuzz --locked"))?;
    let program = target_directory()?.join("debug/whyslow-fuzz");
    let program = program.to_str().context("the target directory is not UTF-8")?;
    let targets = String::from_utf8(command(program).output()?.stdout)?;
    let targets: Vec<&str> = targets.lines().collect();
    let mut failed = Vec::new();
    for several in targets.chunks(thread::available_parallelism()?.get()) {
        let start = |&target| Ok((target, start(program, target)?));
        let running = several.iter().map(start).collect::<Result<Vec<(&str, Child)>>>()?;
        for (target, mut child) in running {
            if !child.wait()?.success() {
                failed.push(target);
            }
        }
    }
    if !failed.is_empty() {
        bail!("fuzz targets failed: {}", failed.join(", "));
    }
    Ok(())
}

fn start(program: &str, target: &str) -> Result<Child> {
    Ok(command(program).args([target, "--seconds", SECONDS]).spawn()?)
}
