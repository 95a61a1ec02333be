//! What is asked of a recording from outside.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;

use crate::Error;

/// Asks a recording to end, from a signal handler or another thread.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: Arc<AtomicU8>,
    forward: Arc<AtomicI32>,
    /// Wakes who waits; without it, it is heard when a round is over.
    bell: Option<Arc<EventFd>>,
}

impl Default for Stop {
    fn default() -> Self {
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC);
        Stop { asked: Arc::default(), forward: Arc::default(), bell: bell.ok().map(Arc::new) }
    }
}

impl Stop {
    pub(crate) const END: u8 = 1;
    pub(crate) const AT_ONCE: u8 = 2;

    /// Ends the recording of a running target; a launched one goes on to its end.
    pub fn end(&self) {
        self.asked.fetch_max(Self::END, Ordering::Relaxed);
        self.ring();
    }

    /// Ends the recording now, whatever the target does.
    pub fn at_once(&self) {
        self.asked.fetch_max(Self::AT_ONCE, Ordering::Relaxed);
        self.ring();
    }

    /// Passes a signal on to a launched target.
    pub fn forward(&self, signal: i32) {
        self.forward.store(signal, Ordering::Relaxed);
        self.ring();
    }

    fn ring(&self) {
        if let Some(bell) = &self.bell {
            // It fails when it has rung without end, and then it is heard.
            let _ = bell.write(1);
        }
    }

    /// Until one of `fds` is readable, something is asked, or so long.
    ///
    /// # Errors
    /// When the kernel refuses to wait for `what`.
    pub(crate) fn wait<'a>(
        &'a self,
        fds: impl Iterator<Item = BorrowedFd<'a>>,
        timeout: Duration,
        what: &'static str,
    ) -> Result<(), Error> {
        let bell = self.bell.as_ref().map(|bell| bell.as_fd());
        let mut fds: Vec<PollFd<'_>> =
            fds.chain(bell).map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let woken = ppoll(&mut fds, Some(TimeSpec::from(timeout)), None);
        // Of the last one it is known whether it rang.
        let rang = fds.last().is_some_and(|fd| fd.any().unwrap_or(true));
        if let (true, Some(bell)) = (rang, &self.bell) {
            // What was asked so far is about to be looked at. It fails when nothing was.
            let _ = bell.read();
        }
        match woken {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Error::System { action: what, errno }),
        }
    }

    /// Whether there is nothing to wait for any more. A launched target that is
    /// to end does so by itself.
    pub(crate) fn cuts_short(&self, launched: bool) -> bool {
        self.asked() == Self::AT_ONCE || (!launched && self.asked() == Self::END)
    }

    pub(crate) fn asked(&self) -> u8 {
        self.asked.load(Ordering::Relaxed)
    }

    /// The signal to pass on, once.
    pub(crate) fn forwarded(&self) -> Option<Signal> {
        Signal::try_from(self.forward.swap(0, Ordering::Relaxed)).ok()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollTimeout, poll};

    use super::*;

    #[test]
    fn who_waits_is_woken_once_for_what_was_asked() {
        let stop = Stop::default();
        let rung = || {
            let bell = stop.bell.as_ref().unwrap().as_fd();
            poll(&mut [PollFd::new(bell, PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() > 0
        };
        assert!(!rung());
        stop.clone().end();
        stop.clone().forward(15);
        assert!(rung());
        // What has rung ends the wait.
        stop.wait(std::iter::empty(), Duration::from_secs(1000), "wait").unwrap();
        assert!(!rung() && stop.cuts_short(false) && !stop.cuts_short(true));
        assert_eq!(stop.forwarded(), Some(Signal::SIGTERM));
    }
}
