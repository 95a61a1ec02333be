//! The programs that are recorded. Each prints how long it took by its own clock.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::run;

const SOURCES: [&str; 4] = ["cpu_loop", "ping_pong", "system_calls", "timed"];

/// What the cost of recording is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Unit {
    /// Per cent of the program's time.
    Share,
    /// Time for each blocking switch.
    Switch,
}

/// A program to record.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) command: Vec<String>,
}

/// What a program said of itself.
pub(super) struct Own {
    pub(super) elapsed_ns: u64,
    /// Blocking switches, where it counts them.
    pub(super) switches: Option<u64>,
}

/// All programs, compiled.
pub(super) struct Programs {
    folder: PathBuf,
}

/// Compiles the programs into `folder`.
pub(super) fn compile(folder: &Path) -> Result<Programs> {
    for name in SOURCES {
        let mut cc = run::command("cc");
        cc.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-unused-function", "-o"]);
        cc.arg(folder.join(name)).arg(format!("fixtures/bench/{name}.c"));
        run::check(cc)?;
    }
    Ok(Programs { folder: folder.to_owned() })
}

impl Programs {
    /// Those whose overhead is measured.
    pub(super) fn all(&self) -> Vec<Program> {
        const BUILD: &str = "for f in fixtures/workloads/*.c; do \
                             cc -std=gnu11 -O2 -w -c $f -o /dev/null || exit 1; done";
        vec![
            self.program("CPU loop", Unit::Share, "cpu_loop", &["1000000000"]),
            self.ping_pong(100_000),
            self.program("2,000,000 short system calls", Unit::Share, "system_calls", &["2000000"]),
            self.program("`cc` builds C files", Unit::Share, "timed", &["sh", "-c", BUILD]),
        ]
    }

    /// The pipe ping-pong; each round trip is two blocking switches.
    pub(super) fn ping_pong(&self, round_trips: u64) -> Program {
        let round_trips = round_trips.to_string();
        self.program("pinned pipe ping-pong", Unit::Switch, "ping_pong", &[&round_trips])
    }

    fn program(&self, name: &'static str, unit: Unit, file: &str, words: &[&str]) -> Program {
        let binary = self.folder.join(file).to_string_lossy().into_owned();
        let words = words.iter().map(|word| (*word).to_owned());
        Program { name, unit, command: std::iter::once(binary).chain(words).collect() }
    }
}

/// Runs `words` and reads what the program in it says of itself.
pub(super) fn run(words: &[String]) -> Result<Own> {
    let mut command: Command = run::command(&words[0]);
    command.args(&words[1..]);
    let output = command.output().with_context(|| format!("cannot start {}", words[0]))?;
    if !output.status.success() {
        let complaints = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}\n{complaints}", words.join(" "), output.status);
    }
    read(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("{} does not say how long it took", words.join(" ")))
}

fn read(stdout: &str) -> Option<Own> {
    let lines = stdout.lines().filter_map(|line| line.split_once(' '));
    let values: BTreeMap<&str, u64> =
        lines.filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect();
    let switches = values.get("switches").copied();
    Some(Own { elapsed_ns: *values.get("elapsed_ns")?, switches })
}
