//! What has to stand around a workload before it runs: files, the foreign
//! program it talks to, neighbours, a control group. All of it goes away with
//! the [`Stage`].

mod foreign;
mod quota;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::{
    sched::{CpuSet, sched_getaffinity},
    sys::statfs::{TMPFS_MAGIC, statfs},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::workloads::{Programs, Workload};
use foreign::Foreign;
use quota::Quota;

/// The size of the file behind `{data}`, in MiB.
const DATA_MIB: u64 = 64;

/// A workload ready to run.
pub(super) struct Stage {
    /// The words that start it.
    pub(super) command: Vec<String>,
    /// Where its processes leave their accounts.
    pub(super) truth: TempDir,
    _foreign: Vec<Foreign>,
    _quota: Option<Quota>,
}

/// Ready, or why this machine cannot.
pub(super) enum Prepared {
    Ready(Stage),
    Impossible(String),
}

impl Stage {
    /// Prepares `workload` to run for `seconds`; its files go under `folder`.
    pub(super) fn prepare(
        workload: &Workload,
        programs: &Programs,
        folder: &Path,
        seconds: u64,
    ) -> Result<Prepared> {
        let needs_disk = workload.args.iter().any(|arg| arg == "{data}" || arg == "{scratch}");
        if needs_disk && statfs(folder)?.filesystem_type() == TMPFS_MAGIC {
            return Ok(Prepared::Impossible(format!("{} is not on a disk", folder.display())));
        }
        let quota = match workload.quota.map(Quota::new) {
            None => None,
            Some(Ok(quota)) => Some(quota),
            Some(Err(error)) => return Ok(Prepared::Impossible(format!("{error:#}"))),
        };
        let mut foreign = Vec::new();
        let mut address = String::new();
        if let Some(kind) = &workload.foreign {
            let started = Foreign::start(programs, &[], kind)?;
            address.clone_from(&started.address);
            foreign.push(started);
        }
        let pinned = if workload.pin { pin_to(last_cpu()?) } else { Vec::new() };
        for _ in 0..workload.beside {
            foreign.push(Foreign::start(programs, &pinned, "spin")?);
        }
        let mut command = quota.as_ref().map(Quota::enter).unwrap_or_default();
        command.extend(pinned);
        command.extend(programs.command(&workload.file)?);
        for arg in &workload.args {
            command.push(match arg.as_str() {
                "{seconds}" => seconds.to_string(),
                "{foreign}" => address.clone(),
                "{data}" => data(folder)?,
                "{scratch}" => scratch(folder)?,
                plain => plain.to_owned(),
            });
        }
        let truth = in_memory()?;
        Ok(Prepared::Ready(Stage { command, truth, _foreign: foreign, _quota: quota }))
    }
}

/// Accounts are mapped files: on a disk, writing them could block the workload.
fn in_memory() -> io::Result<TempDir> {
    let builder = || tempfile::Builder::new().prefix("whyslow-truth-").to_owned();
    builder().tempdir_in("/dev/shm").or_else(|_| builder().tempdir())
}

fn last_cpu() -> Result<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let mut cpus = (0..CpuSet::count()).rev();
    cpus.find(|&cpu| allowed.is_set(cpu).unwrap_or(false)).context("no CPU is allowed")
}

fn pin_to(cpu: usize) -> Vec<String> {
    ["taskset", "-c", &cpu.to_string()].map(String::from).to_vec()
}

/// A file of random bytes that is safely on the disk.
pub(super) fn data(folder: &Path) -> Result<String> {
    let path = folder.join("data");
    let size = DATA_MIB << 20;
    if fs::metadata(&path).map(|metadata| metadata.len()).ok() != Some(size) {
        let mut file = File::create(&path).with_context(|| path.display().to_string())?;
        io::copy(&mut io::Read::take(File::open("/dev/urandom")?, size), &mut file)?;
        file.sync_all()?;
    }
    text(path)
}

fn scratch(folder: &Path) -> Result<String> {
    let path = folder.join("scratch");
    File::create(&path)
        .and_then(|file| file.sync_all())
        .with_context(|| path.display().to_string())?;
    text(path)
}

fn text(path: PathBuf) -> Result<String> {
    path.into_os_string().into_string().ok().context("a path that is not UTF-8")
}
