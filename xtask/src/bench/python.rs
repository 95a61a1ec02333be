//! What profilers add to the time of Python programs, the profilers of Python
//! beside ours, each at its usual rate or at 100 samples a second.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{
    overhead::{self, Overhead},
    profilers,
    programs::{Program, Unit},
};
use crate::run;

/// Of the package index; the newest that runs with the C library of Debian 12.
const PACKAGES: [&str; 2] = ["py-spy==0.4.1", "austin-dist==3.7.0"];

/// Runs the Python programs with every profiler of Python.
pub(super) fn measure(whyslow: &Path, folder: &Path, rounds: usize) -> Result<Vec<Overhead>> {
    let tools = install(&folder.join("python"))?;
    let profilers = profilers::of_python(whyslow, &tools, folder);
    let programs = [
        program("Python, computing in deep calls", "calls.py", "4000"),
        program("Python, a server of 200 threads", "server.py", "10000"),
    ];
    let measure = |program| overhead::measure_one(program, &profilers, whyslow, rounds);
    programs.iter().map(measure).collect()
}

fn program(name: &'static str, file: &str, size: &str) -> Program {
    let script = format!("fixtures/bench/{file}");
    Program {
        name,
        unit: Unit::Share,
        command: vec![profilers::PYTHON.to_owned(), script, size.to_owned()],
    }
}

/// The folder of the profilers' programs, in an environment of their own.
fn install(environment: &Path) -> Result<PathBuf> {
    let programs = environment.join("bin");
    if PACKAGES.iter().all(|package| programs.join(command_of(package)).is_file()) {
        return Ok(programs);
    }
    let mut create = run::command(profilers::PYTHON);
    create.args(["-m", "venv"]).arg(environment);
    run::check(create).context("needs the package python3-venv")?;
    let mut install = run::command(programs.join("pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
    run::check(install).context("cannot install the profilers of Python")?;
    if let Some(missing) = PACKAGES.iter().find(|it| !programs.join(command_of(it)).is_file()) {
        bail!("{missing} brings no program of its name");
    }
    Ok(programs)
}

/// `austin-dist==3.7.0` brings `austin`.
fn command_of(package: &str) -> &str {
    let name = package.split("==").next().unwrap_or(package);
    name.strip_suffix("-dist").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_after_their_programs() {
        assert_eq!(PACKAGES.map(command_of), ["py-spy", "austin"]);
    }
}
