//! How a recording begins: the delay, the start of the command, the window.

use whyslow_events::{Pid, Tid};

use super::{Session, Stop, begin_window, nanoseconds, now};
use crate::Error;
use crate::perf::Tracker;
use crate::target::{Child, What, check};

impl Session {
    /// Starts the command or takes the running target in, and begins the
    /// window. The rings hold what happens until [`Session::run`] reads them,
    /// so that should follow soon. A delay is cut short by `stop`.
    ///
    /// # Errors
    /// When the command cannot be executed, or the target is gone.
    pub fn begin(&mut self, stop: &Stop) -> Result<(), Error> {
        self.mend_continuity()?;
        let what = self.what.clone();
        match &what {
            What::Launch(_) if self.options.delay.is_zero() => {
                self.start_window()?;
                self.seed_child();
                self.start_child()?;
            }
            What::Launch(_) => {
                self.start_child()?;
                self.wait_out_delay(stop)?;
                self.start_window()?;
                self.seed_started()?;
            }
            What::Attach(pids) => {
                self.wait_out_delay(stop)?;
                self.start_window()?;
                self.seed_running(pids)?;
            }
        }
        Ok(())
    }

    /// The window begins now, for a tracker that knows nothing yet.
    fn start_window(&mut self) -> Result<(), Error> {
        let kernel = std::mem::take(&mut self.kernel);
        self.tracker = Tracker::new(kernel, self.options.inherit, 0);
        if let Some(readers) = self.readers.take() {
            self.tracker.read_with(readers);
        }
        if self.options.precise {
            self.tracker.stop_threads(self.child.as_ref().map(Child::pid));
        }
        if self.rings.is_of_tasks() {
            self.tracker.rely_on_looks(self.options.frequency);
            if let Some(child) = &self.child {
                self.tracker.await_end_of(Tid(child.pid()));
            }
        }
        self.begin_now()
    }

    /// The window begins now, whatever was found so far.
    pub(super) fn begin_now(&mut self) -> Result<(), Error> {
        let start = begin_window(&mut self.header)?;
        self.tracker.begin_window(start);
        Ok(())
    }

    fn start_child(&mut self) -> Result<(), Error> {
        self.child.as_mut().map_or(Ok(()), Child::start)
    }

    /// The command as it runs by now; nothing, when it has ended within the delay.
    fn seed_started(&mut self) -> Result<(), Error> {
        let Some(pid) = self.child.as_ref().map(Child::pid) else { return Ok(()) };
        match self.seed_running(&[pid]) {
            Err(Error::NoSuchProcess { .. } | Error::Zombie { .. }) => {
                self.header.target.pids = vec![Pid(pid)];
                Ok(())
            }
            seeded => seeded,
        }
    }

    /// Lets the delay pass, or less when the target ends before. The rings are
    /// emptied meanwhile.
    fn wait_out_delay(&mut self, stop: &Stop) -> Result<(), Error> {
        let end = now()?.saturating_add(nanoseconds(self.options.delay));
        while let Some(left) = end.checked_sub(now()?).filter(|left| *left > 0) {
            self.wait_for_records(stop, left)?;
            self.merge.round(&self.rings, now()?, &mut vec![]);
            self.pass_signal_on(stop);
            if let What::Attach(pids) = &self.what {
                check(&self.proc, pids)?;
            }
            let ended = self.child.as_mut().is_some_and(|child| child.ended().is_some());
            if ended || stop.cuts_short(self.child.is_some()) {
                break;
            }
        }
        self.take_stacks_of_all()
    }
}
