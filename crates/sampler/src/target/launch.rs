//! Starting a command so that nothing of it goes unseen.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child as StdChild, Command};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::kill;
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;
use whyslow_events::ExitStatus;

use crate::Error;
use crate::error::errno_of;
use crate::session::Stop;
use crate::sys::{Gate, pidfd_open};

/// A child at the gate, or running.
#[derive(Debug)]
pub(crate) struct Child {
    command: String,
    pid: u32,
    gate: Gate,
    spawning: Option<JoinHandle<io::Result<StdChild>>>,
    child: Option<StdChild>,
    end: Option<OwnedFd>,
    used_before_ns: u64,
}

/// Makes a child for `argv` that waits before it executes the command. It has
/// our standard streams, environment and folder.
///
/// # Errors
/// When there is no such command, or no process can be made.
pub(crate) fn spawn(argv: &[OsString]) -> Result<Child, Error> {
    let name = argv.first().map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default();
    let failed = |source: io::Error| Error::Spawn { command: name.clone(), source };
    let mut command = Command::new(argv.first().ok_or_else(|| failed(Errno::EINVAL.into()))?);
    command.args(&argv[1..]);
    let gate = Gate::install(&mut command).map_err(|errno| failed(errno.into()))?;
    let used_before_ns = children_cpu_ns();
    // `spawn` returns after `exec`, which waits for the gate, so another
    // thread has to call it. The command goes with it: it holds the child's
    // ends of the pipes, and they must close with the call.
    let spawning = std::thread::spawn(move || command.spawn());
    let Some(pid) = gate.arrived() else {
        let source = match spawning.join() {
            Ok(Err(source)) => source,
            _ => Errno::ECHILD.into(),
        };
        return Err(failed(source));
    };
    let end = pidfd_open(pid).ok();
    Ok(Child {
        command: name,
        pid,
        gate,
        spawning: Some(spawning),
        child: None,
        end,
        used_before_ns,
    })
}

impl Child {
    /// Its PID.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets it execute the command; returns when it does.
    ///
    /// # Errors
    /// When the command is not there or cannot be executed.
    pub(crate) fn start(&mut self) -> Result<(), Error> {
        let command = self.command.clone();
        self.gate
            .open()
            .map_err(|errno| Error::Spawn { command: command.clone(), source: errno.into() })?;
        let spawned = self.spawning.take().and_then(|thread| thread.join().ok());
        match spawned {
            Some(Ok(child)) => {
                self.child = Some(child);
                Ok(())
            }
            Some(Err(error)) => match errno_of(&error) {
                Errno::ENOENT => Err(Error::CommandNotFound { command }),
                errno => Err(Error::NotExecutable { command, errno }),
            },
            None => Err(Error::Spawn { command, source: Errno::ECHILD.into() }),
        }
    }

    /// A descriptor that becomes readable when it ends, where the kernel has one.
    pub(crate) fn end(&self) -> Option<BorrowedFd<'_>> {
        self.end.as_ref().map(AsFd::as_fd)
    }

    /// How it ended; `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        Some(ExitStatus { code: status.code(), signal: status.signal() })
    }

    /// Passes a signal on that was meant for it, if one came.
    pub(crate) fn pass_on(&self, stop: &Stop) {
        if let (Some(signal), Ok(pid)) = (stop.forwarded(), i32::try_from(self.pid)) {
            // It may have ended meanwhile, and then there is nothing to pass on to.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Waits until it has ended, though it is recorded no more: who waits for us
    /// waits for it. `stop` passes signals on, and ends that at once.
    pub(crate) fn see_off(&mut self, stop: &Stop) {
        const PATIENCE: u16 = 100;
        while self.child.is_some() && self.ended().is_none() && !stop.cuts_short(true) {
            self.pass_on(stop);
            let mut end: Vec<PollFd<'_>> =
                self.end().map(|end| PollFd::new(end, PollFlags::POLLIN)).into_iter().collect();
            // Whatever it says, the child is asked next.
            let _ = poll(&mut end, PATIENCE);
        }
    }

    /// The kernel's count of CPU time of all children that were waited for
    /// since it was made: itself, and what it waited for; ns.
    pub(crate) fn cpu_ns(&self) -> u64 {
        children_cpu_ns().saturating_sub(self.used_before_ns)
    }
}

fn children_cpu_ns() -> u64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return 0 };
    let ns = usage.user_time().num_nanoseconds() + usage.system_time().num_nanoseconds();
    u64::try_from(ns).unwrap_or(0)
}
