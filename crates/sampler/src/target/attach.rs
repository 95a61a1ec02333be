//! Finding what a running target consists of.

use std::path::PathBuf;

use nix::errno::Errno;
use procfs::ProcError;
use procfs::process::{MMPermissions, MMapPath, Process};
use whyslow_events::{Off, Seen};

use crate::Error;
use crate::perf::Mapping;
use crate::proc::{Proc, is_kernel_thread};

/// A process of the target as it was found.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) pid: u32,
    /// The process it descends from, when that is of the target too.
    pub(crate) parent: Option<u32>,
    pub(crate) name: String,
    pub(crate) mappings: Vec<Mapping>,
}

/// Checks that `pids` can be recorded, and finds their families.
///
/// # Errors
/// When one does not exist, has ended, or has no program.
pub(crate) fn attach(proc: &Proc, pids: &[u32], inherit: bool) -> Result<Vec<Attached>, Error> {
    for &pid in pids {
        check(proc, pid)?;
    }
    let mut family = if inherit { proc.family(pids) } else { pids.to_vec() };
    let ourselves = std::process::id();
    family.retain(|pid| *pid != ourselves);
    Ok(family.iter().filter_map(|pid| describe(proc, *pid, &family)).collect())
}

fn check(proc: &Proc, pid: u32) -> Result<(), Error> {
    if pid == std::process::id() {
        return Err(Error::Ourselves { pid });
    }
    let process = proc.process(pid).ok_or(Error::NoSuchProcess { pid })?;
    let stat = process.stat().map_err(|error| proc_error(proc.path(pid, "stat"), &error))?;
    // A thread's number opens a folder under /proc too.
    if stat.pid.cast_unsigned() != pid {
        return Err(Error::NoSuchProcess { pid });
    }
    let name = stat.comm.clone();
    if matches!(stat.state, 'Z' | 'X') {
        return Err(Error::Zombie { pid, name });
    }
    if is_kernel_thread(&stat) {
        return Err(Error::KernelThread { pid, name });
    }
    process.maps().map(drop).map_err(|error| proc_error(proc.path(pid, "maps"), &error))
}

fn proc_error(path: PathBuf, error: &ProcError) -> Error {
    let errno = match error {
        ProcError::PermissionDenied(_) => Errno::EACCES,
        ProcError::NotFound(_) => Errno::ESRCH,
        ProcError::Io(error, _) => crate::error::errno_of(error),
        _ => Errno::EIO,
    };
    Error::Proc { path, errno }
}

/// `None` when it ended meanwhile.
fn describe(proc: &Proc, pid: u32, family: &[u32]) -> Option<Attached> {
    let process = proc.process(pid)?;
    let stat = process.stat().ok()?;
    let parent = u32::try_from(stat.ppid).ok().filter(|parent| family.contains(parent));
    Some(Attached { pid, parent, name: stat.comm, mappings: executable_mappings(&process) })
}

fn executable_mappings(process: &Process) -> Vec<Mapping> {
    let Ok(maps) = process.maps() else { return vec![] };
    maps.iter()
        .filter(|map| map.perms.contains(MMPermissions::EXECUTE))
        .map(|map| Mapping {
            start: map.address.0,
            end: map.address.1,
            file_offset: map.offset,
            path: match &map.pathname {
                MMapPath::Path(path) => path.to_string_lossy().into_owned(),
                MMapPath::Vdso => "[vdso]".to_owned(),
                MMapPath::Vsyscall => "[vsyscall]".to_owned(),
                _ => "//anon".to_owned(),
            },
        })
        .collect()
}

/// The state letter of `/proc/PID/task/TID/stat`, as far as it says what the
/// thread does; the site of a wait is found separately.
pub(crate) fn seen(letter: char) -> Seen {
    match letter {
        'R' => Seen::Runnable,
        'T' | 't' => Seen::Off(Off::Stopped),
        'Z' | 'X' => Seen::Off(Off::Dead),
        'D' => Seen::Off(Off::Blocked { site: None, uninterruptible: true }),
        _ => Seen::Off(Off::Blocked { site: None, uninterruptible: false }),
    }
}
