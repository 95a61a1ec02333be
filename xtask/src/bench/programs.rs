//! The programs that are recorded. Each says of itself how long it took, and
//! what it lost of that, where it can tell.

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::run;

const C: [&str; 5] = ["cpu_loop", "idle", "ping_pong", "system_calls", "timed"];
const CPP: [&str; 1] = ["stacks"];

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
#[derive(Debug)]
pub(super) struct Own {
    pub(super) elapsed_ns: u64,
    /// Blocking switches, where it counts them.
    pub(super) switches: Option<u64>,
    /// The share of its time on the CPU that it lost to interruptions, where
    /// it watches for them.
    pub(super) lost: Option<f64>,
}

/// All programs, compiled.
pub(super) struct Programs {
    folder: PathBuf,
}

/// Compiles the programs into `folder`.
pub(super) fn compile(folder: &Path) -> Result<Programs> {
    for name in C {
        compile_one("cc", &["-std=gnu11"], &format!("{name}.c"), &folder.join(name))?;
    }
    for name in CPP {
        let flags = ["-std=gnu++17", "-pthread", "-fomit-frame-pointer"];
        compile_one("c++", &flags, &format!("{name}.cc"), &folder.join(name))?;
    }
    Ok(Programs { folder: folder.to_owned() })
}

fn compile_one(compiler: &str, flags: &[&str], source: &str, binary: &Path) -> Result<()> {
    let mut command = run::command(compiler);
    command.args(["-O2", "-Wall", "-Wextra", "-Wno-unused-function"]).args(flags);
    command.arg("-o").arg(binary).arg(format!("fixtures/bench/{source}"));
    run::check(command)
}

impl Programs {
    /// Those whose own time is measured.
    pub(super) fn timed(&self) -> Vec<Program> {
        const BUILD: &str = "for f in fixtures/workloads/*.c; do \
                             cc -std=gnu11 -O2 -w -c $f -o /dev/null || exit 1; done";
        let program = |name, file, words: &[&str]| Program {
            name,
            unit: Unit::Share,
            command: self.command(file, words),
        };
        vec![
            self.ping_pong(100_000),
            program("2,000,000 short system calls", "system_calls", &["2000000"]),
            program("`cc` builds C files", "timed", &["sh", "-c", BUILD]),
        ]
    }

    /// The pipe ping-pong; each round trip is two blocking switches.
    pub(super) fn ping_pong(&self, round_trips: u64) -> Program {
        Program {
            name: "pinned pipe ping-pong",
            unit: Unit::Switch,
            command: self.command("ping_pong", &[&round_trips.to_string()]),
        }
    }

    /// Computes on one CPU, with so many frames on its stack.
    pub(super) fn cpu_loop(&self, seconds: u32, frames: u32) -> Vec<String> {
        self.command("cpu_loop", &[&seconds.to_string(), &frames.to_string()])
    }

    /// Computes on every CPU in deep stacks without frame pointers.
    pub(super) fn stacks(&self, seconds: u32) -> Vec<String> {
        self.command("stacks", &[&seconds.to_string()])
    }

    fn command(&self, file: &str, words: &[&str]) -> Vec<String> {
        let binary = self.folder.join(file).to_string_lossy().into_owned();
        std::iter::once(binary).chain(words.iter().map(|word| (*word).to_owned())).collect()
    }
}

/// Runs `words` and reads what the program in it says of itself.
pub(super) fn run(words: &[String]) -> Result<Own> {
    // py-spy fails now and then with ECHILD when its child ends.
    let mut tries = 3;
    loop {
        tries -= 1;
        match told(words, &output(words)?) {
            Err(error) if tries > 0 => eprintln!("{error}; again"),
            result => return result,
        }
    }
}

/// The same, or nothing when it is not done after `limit`: then all of it is killed.
pub(super) fn run_at_most(limit: Duration, words: &[String]) -> Result<Option<Own>> {
    /// How a shell says that it was killed, and `timeout` too.
    const KILLED: i32 = 128 + 9;
    let mut limited = vec!["timeout".to_owned(), "--signal=KILL".to_owned()];
    limited.push(limit.as_secs().to_string());
    limited.extend_from_slice(words);
    let output = output(&limited)?;
    let status = output.status;
    if status.code() == Some(KILLED) || status.signal() == Some(9) {
        return Ok(None);
    }
    told(words, &output).map(Some)
}

fn output(words: &[String]) -> Result<Output> {
    let mut command: Command = run::command(&words[0]);
    command.args(&words[1..]);
    command.output().with_context(|| format!("cannot start {}", words[0]))
}

fn told(words: &[String], output: &Output) -> Result<Own> {
    if !output.status.success() {
        let complaints = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}\n{complaints}", words.join(" "), output.status);
    }
    read(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("{} does not say how long it took", words.join(" ")))
}

/// What a program printed: a name and a value on each line.
pub(super) fn read(stdout: &str) -> Option<Own> {
    let lines = stdout.lines().filter_map(|line| line.split_once(' '));
    let values: BTreeMap<&str, u64> =
        lines.filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect();
    let value = |name| values.get(name).copied();
    let lost = || Some(value("lost_ns")? as f64 / value("watched_ns")? as f64);
    Some(Own { elapsed_ns: value("elapsed_ns")?, switches: value("switches"), lost: lost() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_a_share_of_what_was_watched() {
        let own = read("begins\nelapsed_ns 100\nwatched_ns 80\nlost_ns 2\n").unwrap();
        assert_eq!((own.elapsed_ns, own.switches), (100, None));
        assert!((own.lost.unwrap() - 0.025).abs() < 1e-9);
        assert!(read("lost_ns 2\n").is_none());
    }
}
