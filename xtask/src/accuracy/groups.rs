//! Where control groups with a CPU quota can be made: among the machine's own, or, by an
//! ordinary user, in one that root hands him.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::unistd::{Uid, User};

/// The hierarchy with the controller of the CPU.
pub(super) struct Hierarchy {
    mount: &'static Path,
    pub(super) version: u8,
}

impl Hierarchy {
    pub(super) fn find() -> Result<Self> {
        let second = Path::new("/sys/fs/cgroup");
        if second.join("cgroup.controllers").exists() {
            return Ok(Self { mount: second, version: 2 });
        }
        let mounts = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"].map(Path::new);
        match mounts.into_iter().find(|path| path.join("cpu.cfs_quota_us").exists()) {
            Some(mount) => Ok(Self { mount, version: 1 }),
            None => bail!("no control group hierarchy for the CPU is mounted"),
        }
    }

    /// Where this process may make groups.
    pub(super) fn parent(&self) -> Result<PathBuf> {
        let own = self.own()?;
        let handed = own.parent().filter(|parent| {
            let ours = Uid::effective();
            !ours.is_root() && fs::metadata(parent).is_ok_and(|meta| meta.uid() == ours.as_raw())
        });
        Ok(handed.unwrap_or(self.mount).to_path_buf())
    }

    /// A new group in `parent`, which hands the controller on.
    pub(super) fn make(&self, parent: &Path, name: &str) -> Result<PathBuf> {
        if self.version == 2 {
            set(parent, "cgroup.subtree_control", "+cpu")?;
        }
        let folder = parent.join(format!("whyslow-{name}-{}", process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// The group of this process.
    fn own(&self) -> Result<PathBuf> {
        let groups = fs::read_to_string("/proc/self/cgroup")?;
        let path = groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let is = match self.version {
                1 => controllers.split(',').any(|controller| controller == "cpu"),
                _ => controllers.is_empty(),
            };
            is.then(|| path.trim_start_matches('/'))
        });
        Ok(self.mount.join(path.context("this process is in no control group")?))
    }
}

pub(super) fn set(folder: &Path, name: &str, value: &str) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, value).with_context(|| format!("cannot write {}", path.display()))
}

pub(super) fn remove(folder: &Path) {
    // The last process of the group may still be on its way out.
    for _ in 0..100 {
        if fs::remove_dir(folder).is_ok() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    eprintln!("cannot remove {}", folder.display());
}

/// A group in which a user may make others. This process is in one below it meanwhile, and
/// so is whom it starts.
pub(super) struct Handed {
    before: PathBuf,
    folder: PathBuf,
    ours: PathBuf,
}

impl Handed {
    /// Hands one to `user`; needs root.
    pub(super) fn to(user: &User) -> Result<Self> {
        let hierarchy = Hierarchy::find()?;
        let before = hierarchy.own()?;
        let folder = hierarchy.make(hierarchy.mount, &user.name)?;
        let handed = Self { before, ours: folder.join("all"), folder };
        for name in [".", "cgroup.procs", "cgroup.subtree_control"] {
            let path = handed.folder.join(name);
            if path.exists() {
                chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
            }
        }
        fs::create_dir(&handed.ours)?;
        enter(&handed.ours)?;
        Ok(handed)
    }
}

fn enter(group: &Path) -> Result<()> {
    set(group, "cgroup.procs", &process::id().to_string())
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Err(error) = enter(&self.before) {
            eprintln!("{error:#}");
        }
        if self.ours.exists() {
            remove(&self.ours);
        }
        remove(&self.folder);
    }
}
