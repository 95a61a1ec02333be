//! What the recorder takes while its target does nothing: its own CPU time, as an
//! engine of each sort records a program of 100 threads that all wait.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::unistd::User;
use serde::Serialize;
use tempfile::TempDir;

use super::{profilers::PYTHON, recorder::cpu_ns};
use crate::run;

const USER: &str = "nobody";
/// Symbols are looked for and stacks are read at first.
const BEGINS: Duration = Duration::from_secs(3);
const WATCHED: Duration = Duration::from_secs(20);
/// The program starts its threads.
const STARTS: Duration = Duration::from_secs(1);

/// How it is recorded.
#[derive(Clone, Copy)]
struct Tier {
    name: &'static str,
    engine: &'static str,
    as_user: bool,
    /// What it may take of a CPU.
    limit: f64,
}

const TIERS: [Tier; 3] = [
    Tier { name: "events of the machine", engine: "perf", as_user: false, limit: 0.005 },
    Tier { name: "events of an ordinary user", engine: "perf", as_user: true, limit: 0.005 },
    Tier { name: "looks at /proc", engine: "procfs", as_user: false, limit: 0.01 },
];

/// One tier with one idle program.
#[derive(Serialize)]
pub(super) struct Idle {
    pub(super) tier: &'static str,
    pub(super) program: &'static str,
    /// CPU time of the recorder, as a share of one CPU.
    pub(super) cpu: f64,
    pub(super) limit: f64,
}

/// Records both programs in each tier.
pub(super) fn measure(whyslow: &Path, folder: &Path) -> Result<Vec<Idle>> {
    let open = open_folder(whyslow, folder)?;
    let compiled = open.path().join("idle").display().to_string();
    let script = open.path().join("idle.py").display().to_string();
    let programs = [("C", vec![compiled]), ("Python", vec![PYTHON.to_owned(), script])];
    let mut all = vec![];
    for tier in TIERS {
        for (program, words) in &programs {
            eprintln!("100 idle threads in {program}, {}", tier.name);
            let cpu = one(tier, words, open.path())?;
            all.push(Idle { tier: tier.name, program, cpu, limit: tier.limit });
        }
    }
    Ok(all)
}

/// A folder of the ordinary user's with all he needs: ours may lie in a home.
fn open_folder(whyslow: &Path, folder: &Path) -> Result<TempDir> {
    let open = TempDir::new()?;
    let files: [PathBuf; 3] =
        [whyslow.to_owned(), folder.join("idle"), run::root().join("fixtures/bench/idle.py")];
    for file in &files {
        let name = file.file_name().context("a file has a name")?;
        fs::copy(file, open.path().join(name))?;
    }
    let user = user()?;
    chown(open.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    Ok(open)
}

fn user() -> Result<User> {
    User::from_name(USER)?.with_context(|| format!("there is no user {USER}"))
}

fn one(tier: Tier, words: &[String], folder: &Path) -> Result<f64> {
    let start = |program: &Path, arguments: &[String]| -> Result<Started> {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).env("HOME", folder);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if tier.as_user {
            let user = user()?;
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        Ok(Started(command.spawn().with_context(|| format!("cannot start {program:?}"))?))
    };
    let target = start(Path::new(&words[0]), &words[1..])?;
    thread::sleep(STARTS);
    let (engine, pid) = (tier.engine, target.0.id());
    let arguments = format!("record -q --force --engine {engine} -o r.whyslow -p {pid}");
    let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
    let mut recorder = start(&folder.join("whyslow"), &arguments)?;
    thread::sleep(BEGINS);
    let (begin, before) = (Instant::now(), cpu_ns(recorder.0.id())?);
    thread::sleep(WATCHED);
    let spent = cpu_ns(recorder.0.id())? - before;
    let watched = begin.elapsed();
    if let Some(status) = recorder.0.try_wait()? {
        bail!("whyslow ended too early: {status}");
    }
    Ok(spent as f64 / watched.as_nanos() as f64)
}

/// Killed when dropped.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
