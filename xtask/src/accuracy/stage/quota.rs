//! A control group with a CPU quota, version 1 or 2.

use std::{
    fs,
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

const PERIOD_US: u64 = 100_000;

/// Removed when it is dropped.
pub(super) struct Quota {
    folder: PathBuf,
}

impl Quota {
    /// A group that may use so many CPUs.
    pub(super) fn new(cpus: f64) -> Result<Self> {
        let limit = (cpus * PERIOD_US as f64) as u64;
        let (parent, settings) = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            let parent = Path::new("/sys/fs/cgroup");
            set(parent, "cgroup.subtree_control", "+cpu")?;
            (parent, vec![("cpu.max", format!("{limit} {PERIOD_US}"))])
        } else {
            let period = ("cpu.cfs_period_us", PERIOD_US.to_string());
            (version_1()?, vec![period, ("cpu.cfs_quota_us", limit.to_string())])
        };
        let folder = parent.join(format!("whyslow-accuracy-{}", process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let quota = Self { folder };
        for (name, value) in settings {
            set(&quota.folder, name, &value)?;
        }
        Ok(quota)
    }

    /// Words in front of a command that start it inside.
    pub(super) fn enter(&self) -> Vec<String> {
        let procs = self.folder.join("cgroup.procs").to_string_lossy().into_owned();
        ["sh", "-c", r#"echo $$ >"$0" && exec "$@""#, &procs].map(String::from).to_vec()
    }
}

fn version_1() -> Result<&'static Path> {
    let mounts = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"];
    match mounts.map(Path::new).into_iter().find(|path| path.join("cpu.cfs_quota_us").exists()) {
        Some(path) => Ok(path),
        None => bail!("no control group hierarchy for the CPU is mounted"),
    }
}

fn set(folder: &Path, name: &str, value: &str) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, value).with_context(|| format!("cannot write {}", path.display()))
}

impl Drop for Quota {
    fn drop(&mut self) {
        // The last process of the group may still be on its way out.
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        eprintln!("cannot remove {}", self.folder.display());
    }
}
