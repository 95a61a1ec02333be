//! A child that waits, between `fork` and `exec`, until it may go on.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;

/// The pipes between us and a child that waits before `exec`.
#[derive(Debug)]
pub(crate) struct Gate {
    ready: OwnedFd,
    go: OwnedFd,
}

impl Gate {
    /// Makes `command` wait at a gate before it executes.
    ///
    /// # Errors
    /// When no pipe can be made.
    pub(crate) fn install(command: &mut Command) -> nix::Result<Gate> {
        let flags = nix::fcntl::OFlag::O_CLOEXEC;
        let (ready, say_ready) = nix::unistd::pipe2(flags)?;
        let (may_go, go) = nix::unistd::pipe2(flags)?;
        let (our_ready, our_go) = (ready.as_raw_fd(), go.as_raw_fd());
        // SAFETY: the closure runs in the forked child and only calls read,
        // write, close and getpid, which are async-signal-safe; it allocates nothing.
        unsafe {
            command.pre_exec(move || {
                // The child's copies of our ends: without this it would wait
                // for itself should we die.
                libc::close(our_ready);
                libc::close(our_go);
                wait_at_gate(&say_ready, &may_go)
            });
        }
        Ok(Gate { ready, go })
    }

    /// Waits until the child is at the gate; its PID. `None` when it died or
    /// could not be made.
    pub(crate) fn arrived(&self) -> Option<u32> {
        let mut pid = [0; 4];
        matches!(nix::unistd::read(&self.ready, &mut pid), Ok(4)).then(|| u32::from_ne_bytes(pid))
    }

    /// Lets the child go.
    pub(crate) fn open(&self) -> nix::Result<()> {
        nix::unistd::write(&self.go, &[1]).map(drop)
    }
}

/// In the child: says who it is, and waits for a byte.
fn wait_at_gate(say_ready: &OwnedFd, may_go: &OwnedFd) -> io::Result<()> {
    let pid = std::process::id().to_ne_bytes();
    nix::unistd::write(say_ready, &pid)?;
    let mut byte = [0];
    match nix::unistd::read(may_go, &mut byte) {
        Ok(1) => Ok(()),
        // The profiler is gone: the command must not start unrecorded.
        Ok(_) => Err(Errno::ECANCELED.into()),
        Err(errno) => Err(errno.into()),
    }
}
