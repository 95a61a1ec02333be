//! A control group with a CPU quota, version 1 or 2.

use std::path::PathBuf;

use anyhow::Result;

use crate::accuracy::groups::{Hierarchy, remove, set};

const PERIOD_US: u64 = 100_000;

/// Removed when it is dropped.
pub(super) struct Quota {
    folder: PathBuf,
}

impl Quota {
    /// A group that may use so many CPUs.
    pub(super) fn new(cpus: f64) -> Result<Self> {
        let limit = (cpus * PERIOD_US as f64) as u64;
        let hierarchy = Hierarchy::find()?;
        let folder = hierarchy.make(&hierarchy.parent()?, "accuracy")?;
        let quota = Self { folder };
        let settings = match hierarchy.version {
            1 => vec![
                ("cpu.cfs_period_us", PERIOD_US.to_string()),
                ("cpu.cfs_quota_us", limit.to_string()),
            ],
            _ => vec![("cpu.max", format!("{limit} {PERIOD_US}"))],
        };
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

impl Drop for Quota {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}
