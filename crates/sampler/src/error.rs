//! Why a capture could not start or go on, and what the reader can do about it.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::arch;
use crate::preflight::{HOST_REMEDY, PROC_REMEDY, RING_REMEDY};

/// A capture that could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused to open an event.
    #[error("cannot open {event} on CPU {cpu}: {}", name(*errno))]
    OpenEvent {
        /// Which event.
        event: &'static str,
        /// On which CPU.
        cpu: u32,
        /// Why.
        errno: Errno,
        /// What to do.
        remedy: String,
    },
    /// There are no perf events for us on this host, not even of our own threads.
    #[error("there are no perf events to be had: {}", name(*errno))]
    NoPerf {
        /// Why.
        errno: Errno,
        /// What to do.
        remedy: String,
    },
    /// Events of the whole machine tell of threads by numbers that we do not know.
    #[error(
        "the kernel's scheduler events number threads as the host does, not as our PID namespace"
    )]
    PidNamespace,
    /// Events of the whole machine tell of waits by registers that we cannot read.
    #[error("system calls in the registers of {} are not known", std::env::consts::ARCH)]
    Architecture,
    /// `/proc` tells of processes by other numbers than ours.
    #[error("/proc is not that of our PID namespace")]
    ForeignProc,
    /// The target has more threads than we may have events.
    #[error("the target's threads need {wanted} open files, and {limit} are allowed")]
    TooManyThreads {
        /// One for each thread and CPU, and some more.
        wanted: u64,
        /// The hard limit.
        limit: u64,
    },
    /// The ring of a CPU could not be mapped.
    #[error("cannot map a ring of {kib} KiB for CPU {cpu}: {}", name(*errno))]
    MapRing {
        /// On which CPU.
        cpu: u32,
        /// Its size.
        kib: u64,
        /// Why.
        errno: Errno,
    },
    /// An event that was opened could not be set up or read.
    #[error("cannot {action} on CPU {cpu}: {}", name(*errno))]
    Event {
        /// What we tried.
        action: &'static str,
        /// On which CPU.
        cpu: u32,
        /// Why.
        errno: Errno,
    },
    /// Tracepoints are not to be had.
    #[error("cannot read tracepoint {path}: {}", name(*errno))]
    Tracepoint {
        /// The file we tried last.
        path: PathBuf,
        /// Why.
        errno: Errno,
        /// What to do.
        remedy: String,
    },
    /// There is no process with this PID.
    #[error("process {pid} does not exist")]
    NoSuchProcess {
        /// The PID.
        pid: u32,
    },
    /// The process has ended and waits for its parent to notice.
    #[error(
        "process {pid} ({name}) is a zombie: it has ended, and its parent has not waited for it"
    )]
    Zombie {
        /// The PID.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// Kernel threads have no program to profile.
    #[error("process {pid} ({name}) is a kernel thread")]
    KernelThread {
        /// The PID.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// The target is this profiler.
    #[error("process {pid} is this profiler itself")]
    Ourselves {
        /// The PID.
        pid: u32,
    },
    /// `/proc` of the target cannot be read.
    #[error("cannot read {path}: {}", name(*errno))]
    Proc {
        /// Which file.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// The command is not there.
    #[error("command not found: {command}")]
    CommandNotFound {
        /// The command.
        command: String,
    },
    /// The command is there and cannot be run.
    #[error("cannot execute {command}: {}", name(*errno))]
    NotExecutable {
        /// The command.
        command: String,
        /// Why.
        errno: Errno,
    },
    /// A process for the command could not be made.
    #[error("cannot start {command}: {source}")]
    Spawn {
        /// The command.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// What was captured could not be written.
    #[error("cannot write the recording: {0}")]
    Sink(#[source] io::Error),
    /// The kernel's clock or poll failed.
    #[error("cannot {action}: {}", name(*errno))]
    System {
        /// What we tried.
        action: &'static str,
        /// Why.
        errno: Errno,
    },
}

impl Error {
    /// Whether the events of the whole machine are refused to us, while those of
    /// our own threads may be had.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Error::Tracepoint { .. } | Error::PidNamespace | Error::Architecture => true,
            Error::OpenEvent { errno, .. } => matches!(errno, Errno::EACCES | Errno::EPERM),
            _ => false,
        }
    }

    /// What the kernel said to a perf event, when that is what it is about.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self {
            Error::OpenEvent { errno, .. }
            | Error::MapRing { errno, .. }
            | Error::Event { errno, .. }
            | Error::NoPerf { errno, .. }
            | Error::Tracepoint { errno, .. } => Some(*errno),
            Error::TooManyThreads { .. } => Some(Errno::EMFILE),
            Error::Architecture => Some(Errno::EOPNOTSUPP),
            _ => None,
        }
    }

    /// What the reader can do about it, where we know.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Error::OpenEvent { remedy, .. }
            | Error::Tracepoint { remedy, .. }
            | Error::NoPerf { remedy, .. } => Some(remedy.clone()),
            Error::TooManyThreads { wanted, .. } => Some(format!(
                "raise the hard limit of open files (ulimit -Hn) to {wanted}, or run as root"
            )),
            Error::MapRing { .. } => Some(RING_REMEDY.to_owned()),
            Error::PidNamespace => Some(HOST_REMEDY.to_owned()),
            Error::Architecture => Some(arch::REMEDY.to_owned()),
            Error::ForeignProc => Some(PROC_REMEDY.to_owned()),
            Error::Proc { errno: Errno::EACCES | Errno::EPERM, .. } => {
                Some("run as the user who owns the process, or as root".to_owned())
            }
            Error::NotExecutable { errno: Errno::EACCES, .. } => {
                Some("make it executable (chmod +x), or name its interpreter".to_owned())
            }
            _ => None,
        }
    }
}

/// The error number of an I/O error; `EIO` for errors the kernel did not give.
pub(crate) fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// `EACCES (Permission denied)`.
fn name(errno: Errno) -> String {
    format!("{errno:?} ({})", errno.desc())
}
