//! One recording by looks alone, from start to end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use whyslow_events::{
    Capabilities, EngineName, Event, ExitStatus, Fallback, Header, Pid, Tid, Timed,
};

use super::pace::{ALLOWED, Pace};
use super::poller::Poller;
use crate::proc::Proc;
use crate::session::{
    Ended, Options, Progress, Readers, Stop, begin_window, comm_of, header, nanoseconds, now,
    our_cpu_ns,
};
use crate::target::{Attached, Child, What, attach, check, hidden, spawn, traced};
use crate::{Error, arch, system_facts};

/// We ask at least so often whether to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// A recording that is set up.
pub(crate) struct Session {
    poller: Poller,
    child: Option<Child>,
    what: What,
    options: Options,
    header: Header,
}

impl Session {
    /// Checks the target or makes a process that waits to execute the command.
    ///
    /// # Errors
    /// When the target does not allow it.
    pub(crate) fn new(
        what: What,
        mut options: Options,
        readers: Readers,
        mut fallbacks: Vec<Fallback>,
    ) -> Result<Session, Error> {
        fallbacks.extend(arch::fallback(options.stack_bytes));
        options.stack_bytes = arch::stack_bytes(options.stack_bytes);
        let proc = Proc::default();
        if let What::Attach(pids) = &what {
            check(&proc, pids)?;
            fallbacks.extend(traced(&proc, pids));
        }
        let child = match &what {
            What::Launch(argv) => Some(spawn(argv)?),
            What::Attach(_) => None,
        };
        let first = match &what {
            What::Attach(pids) => pids.first().copied(),
            What::Launch(_) => child.as_ref().map(Child::pid),
        };
        fallbacks.extend(first.and_then(|pid| hidden(&proc, pid)));
        let readers = (options.stack_bytes > 0).then_some(readers);
        let header = Header {
            capabilities: Capabilities {
                user_stacks: readers.is_some(),
                causes: true,
                ..Capabilities::default()
            },
            fallbacks,
            ..header(EngineName::Procfs, system_facts(), &options, child.is_some())
        };
        let poller = Poller::new(proc, options.inherit, readers);
        Ok(Session { poller, child, what, options, header })
    }

    /// What is known before the first event, once the window has begun.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Starts the command or takes the running target in, and begins the window.
    /// A delay is cut short by `stop`.
    ///
    /// # Errors
    /// When the command cannot be executed, or the target is gone.
    pub(crate) fn begin(&mut self, stop: &Stop) -> Result<(), Error> {
        let pids = match &self.what {
            What::Attach(pids) => pids.clone(),
            What::Launch(_) => self.child.iter().map(Child::pid).collect(),
        };
        let at_gate = self.child.is_some() && self.options.delay.is_zero();
        if !at_gate {
            self.start_child()?;
            self.wait_out_delay(stop)?;
        }
        let start = begin_window(&mut self.header)?;
        self.header.target.pids = pids.iter().copied().map(Pid).collect();
        self.poller.rounded = start;
        if at_gate {
            self.seed_child(start, &pids);
            return self.start_child();
        }
        match self.seed_running(start, &pids) {
            // The command has ended within the delay.
            Err(Error::NoSuchProcess { .. } | Error::Zombie { .. }) if self.child.is_some() => {
                Ok(())
            }
            seeded => seeded,
        }
    }

    fn start_child(&mut self) -> Result<(), Error> {
        self.child.as_mut().map_or(Ok(()), Child::start)
    }

    /// The child, which has not executed its command yet.
    fn seed_child(&mut self, start: u64, pids: &[u32]) {
        let name = self.options.command.first().map(|command| comm_of(command));
        let name = name.unwrap_or_default();
        self.header.target.name.clone_from(&name);
        for &pid in pids {
            let process = Attached { pid, parent: None, name: name.clone(), mappings: vec![] };
            self.poller.adopt(start, process);
            self.poller.enter(start, Pid(pid), Tid(pid), false);
        }
    }

    fn seed_running(&mut self, start: u64, pids: &[u32]) -> Result<(), Error> {
        for process in attach(&self.poller.proc, pids, self.options.inherit)? {
            let pid = process.pid;
            if pids.first() == Some(&pid) {
                self.header.target.name.clone_from(&process.name);
            }
            self.poller.adopt(start, process);
            for tid in self.poller.proc.tids(pid) {
                self.poller.enter(start, Pid(pid), Tid(tid), false);
            }
        }
        self.poller.look_at_all()
    }

    fn wait_out_delay(&mut self, stop: &Stop) -> Result<(), Error> {
        let end = now()?.saturating_add(nanoseconds(self.options.delay));
        while let Some(left) = end.checked_sub(now()?).filter(|left| *left > 0) {
            self.wait(stop, left)?;
            self.pass_signal_on(stop);
            if let What::Attach(pids) = &self.what {
                check(&self.poller.proc, pids)?;
            }
            if self.child_has_ended()? || stop.cuts_short(self.child.is_some()) {
                break;
            }
        }
        Ok(())
    }

    /// Records until the target ends, the time is over, or `stop` asks. Events
    /// go to `sink` in order.
    ///
    /// # Errors
    /// When `sink` fails, or the kernel does; a launched command has ended then, too.
    pub(crate) fn run(
        mut self,
        stop: &Stop,
        sink: &mut dyn FnMut(&Timed) -> io::Result<()>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Ended, Error> {
        let allowed = self.options.max_overhead.unwrap_or(ALLOWED);
        let mut pace = Pace::new(now()?, our_cpu_ns(), self.options.frequency, allowed);
        match self.record(&mut pace, stop, sink, progress) {
            Ok(exit) => self.finish(exit, &pace, sink),
            Err(error) => {
                self.abandon(stop);
                Err(error)
            }
        }
    }

    /// Records no more. A launched command goes on, and is waited for.
    pub(crate) fn abandon(&mut self, stop: &Stop) {
        if let Some(child) = &mut self.child {
            child.see_off(stop);
        }
    }

    fn record(
        &mut self,
        pace: &mut Pace,
        stop: &Stop,
        sink: &mut dyn FnMut(&Timed) -> io::Result<()>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<ExitStatus>, Error> {
        let start = self.header.start.0;
        let duration = self.options.duration.map(nanoseconds);
        let mut due = start;
        loop {
            let time = now()?;
            if time >= due || self.someone_ended()? {
                self.poller.round(pace)?;
                self.poller.bury();
                self.drain(sink)?;
                pace.compare(time, our_cpu_ns());
                due = now()?.saturating_add(pace.advance(self.poller.least_calm()));
                progress(Progress {
                    elapsed: Duration::from_nanos(time.saturating_sub(start)),
                    events: self.poller.looks(),
                    threads: self.poller.threads.len(),
                });
            }
            self.pass_signal_on(stop);
            // Its last state is looked at while we have not waited for it.
            if self.child_has_ended()? {
                self.poller.look_at_all()?;
                return Ok(self.child.as_mut().and_then(Child::ended));
            }
            let left = duration
                .map_or(u64::MAX, |duration| duration.saturating_sub(time.saturating_sub(start)));
            let attached = self.child.is_none();
            if stop.cuts_short(!attached)
                || (attached && self.poller.threads.is_empty())
                || left == 0
            {
                return Ok(None);
            }
            self.wait(stop, due.saturating_sub(now()?).min(left))?;
        }
    }

    fn pass_signal_on(&self, stop: &Stop) {
        if let Some(child) = &self.child {
            child.pass_on(stop);
        }
    }

    /// Until a process has ended, `stop` asks, or so long.
    fn wait(&self, stop: &Stop, left_ns: u64) -> Result<(), Error> {
        let timeout = PATIENCE.min(Duration::from_nanos(left_ns));
        stop.wait(self.ends(), timeout, "wait for the target")
    }

    fn ends(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let ends = self.poller.processes.values().filter_map(|process| process.end.as_ref());
        ends.map(AsFd::as_fd).chain(self.child.iter().filter_map(Child::end))
    }

    /// Whether a process of the target has ended.
    fn someone_ended(&self) -> Result<bool, Error> {
        any_ready(self.ends())
    }

    fn child_has_ended(&mut self) -> Result<bool, Error> {
        let Some(child) = &mut self.child else { return Ok(false) };
        match child.end() {
            Some(end) => any_ready(std::iter::once(end)),
            None => Ok(child.ended().is_some()),
        }
    }

    fn drain(&mut self, sink: &mut dyn FnMut(&Timed) -> io::Result<()>) -> Result<(), Error> {
        self.poller.take_events().try_for_each(|event| sink(&event)).map_err(Error::Sink)
    }

    fn finish(
        mut self,
        exit: Option<ExitStatus>,
        pace: &Pace,
        sink: &mut dyn FnMut(&Timed) -> io::Result<()>,
    ) -> Result<Ended, Error> {
        self.poller.look_at_all()?;
        let end = now()?;
        self.poller.count_all(end);
        for refusal in self.poller.stacks.refusals() {
            self.poller.emit(end, Event::Fallback(refusal));
        }
        let reads = self.poller.stacks.reads();
        self.poller.emit(end, Event::ScriptReads(reads));
        let (profiler_cpu_ns, events) = (our_cpu_ns(), self.poller.looks());
        if self.options.max_overhead.is_some() {
            let thinned = pace.thinned(end, profiler_cpu_ns);
            self.poller.emit(end, Event::Thinned(thinned));
        }
        self.poller.emit(end, Event::Overhead { profiler_cpu_ns, events });
        self.poller.emit(end, Event::End { exit });
        self.drain(sink)?;
        Ok(Ended { exit })
    }
}

fn any_ready<'a>(fds: impl Iterator<Item = BorrowedFd<'a>>) -> Result<bool, Error> {
    let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    match poll(&mut fds, PollTimeout::ZERO) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(Error::System { action: "wait for the target", errno }),
    }
}
