//! Finding what a running target consists of.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use procfs::ProcError;
use whyslow_events::{Fallback, Off, Seen};

use super::maps::executable;
use crate::Error;
use crate::error::errno_of;
use crate::perf::Mapping;
use crate::preflight::look_remedy;
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
    check(proc, pids)?;
    let mut family = if inherit { proc.family(pids) } else { pids.to_vec() };
    let ourselves = std::process::id();
    family.retain(|pid| *pid != ourselves);
    Ok(family.iter().filter_map(|pid| describe(proc, *pid, &family)).collect())
}

/// Checks that `pids` can be recorded.
///
/// # Errors
/// When one does not exist, has ended, or has no program.
pub(crate) fn check(proc: &Proc, pids: &[u32]) -> Result<(), Error> {
    pids.iter().try_for_each(|pid| check_one(proc, *pid))
}

fn check_one(proc: &Proc, pid: u32) -> Result<(), Error> {
    if pid == std::process::id() {
        return Err(Error::Ourselves { pid });
    }
    let process = proc.process(pid).ok_or_else(|| not_there(proc, pid))?;
    let stat = process.stat().map_err(|error| match error {
        ProcError::NotFound(_) => not_there(proc, pid),
        error => proc_error(proc.path(pid, "stat"), &error),
    })?;
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
    // Opening it asks the kernel whether we may look at the process.
    let path = proc.path(pid, "maps");
    match File::open(&path) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Proc { path, errno: errno_of(&error) }),
    }
}

/// What it means for the target that somebody else traces it already.
pub(crate) fn traced(proc: &Proc, pids: &[u32]) -> Option<Fallback> {
    let tracer = pids.iter().find_map(|pid| proc.tracer(*pid, *pid))?;
    let name = proc.process(tracer).and_then(|tracer| tracer.stat().ok()).map(|stat| stat.comm);
    let name = name.unwrap_or_else(|| "another program".to_owned());
    Some(Fallback {
        wanted: "the program as it runs by itself".to_owned(),
        got: format!("the program as {name} (PID {tracer}) lets it run"),
        errno: format!("TracerPid {tracer}"),
        remedy: "detach the tracer: it stops the program at each thing it traces".to_owned(),
    })
}

/// What it means that the kernel does not show in which calls the threads of the process
/// `pid` wait.
pub(crate) fn hidden(proc: &Proc, pid: u32) -> Option<Fallback> {
    let errno = errno_of(&fs::read(proc.path(pid, "syscall")).err()?);
    matches!(errno, Errno::EPERM | Errno::EACCES).then(|| Fallback {
        wanted: "looks at blocked threads".to_owned(),
        got: "the functions of the kernel they sleep in".to_owned(),
        errno: format!("{errno:?}"),
        remedy: look_remedy(),
    })
}

/// `/proc` may hide what is another user's (`hidepid`).
fn not_there(proc: &Proc, pid: u32) -> Error {
    let number = i32::try_from(pid).ok().filter(|number| *number > 0);
    match number.map(|number| kill(Pid::from_raw(number), None)) {
        Some(Err(Errno::EPERM)) => Error::Proc { path: proc.path(pid, ""), errno: Errno::EPERM },
        _ => Error::NoSuchProcess { pid },
    }
}

fn proc_error(path: PathBuf, error: &ProcError) -> Error {
    let errno = match error {
        ProcError::PermissionDenied(_) => Errno::EACCES,
        ProcError::NotFound(_) => Errno::ESRCH,
        ProcError::Io(error, _) => errno_of(error),
        _ => Errno::EIO,
    };
    Error::Proc { path, errno }
}

/// `None` when it ended meanwhile.
fn describe(proc: &Proc, pid: u32, family: &[u32]) -> Option<Attached> {
    let process = proc.process(pid)?;
    let stat = process.stat().ok()?;
    let parent = u32::try_from(stat.ppid).ok().filter(|parent| family.contains(parent));
    let maps = File::open(proc.path(pid, "maps"));
    let mappings = maps.map(|maps| executable(BufReader::new(maps))).unwrap_or_default();
    Some(Attached { pid, parent, name: stat.comm, mappings })
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
