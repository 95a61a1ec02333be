//! Which engine records: the one that was asked for, or the best there is.

use std::io;

use whyslow_events::{Fallback, Header, Timed};

use crate::error::Error;
use crate::perf::nobody_stopped;
use crate::preflight::check_proc;
use crate::session::{Ended, Options, Progress, Readers, Session, Stop};
use crate::{What, procfs};

/// Which engine to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Perf events, and looks at `/proc` where these cannot be had.
    Auto,
    /// Perf events or nothing.
    Perf,
    /// Looks at `/proc`.
    Procfs,
}

/// A recording that is set up, by one engine or another.
pub struct Recorder(Kind);

enum Kind {
    Perf(Box<Session>),
    Procfs(Box<procfs::Session>),
}

impl Recorder {
    /// As [`Session::new`]; `readers` may be asked twice.
    ///
    /// # Errors
    /// When the host or the target does not allow it.
    pub fn new(
        engine: Engine,
        what: What,
        options: Options,
        readers: &dyn Fn() -> Readers,
    ) -> Result<Recorder, Error> {
        check_proc()?;
        let mut fallbacks = match engine {
            Engine::Procfs => vec![],
            Engine::Auto | Engine::Perf => {
                match Session::new(what.clone(), options.clone(), readers()) {
                    Ok(session) => return Ok(Recorder(Kind::Perf(Box::new(session)))),
                    Err(error) => {
                        vec![without_perf(&error).filter(|_| engine == Engine::Auto).ok_or(error)?]
                    }
                }
            }
        };
        if options.precise {
            // Looks at `/proc` stop no thread.
            let remedy = "leave --engine at auto, where perf events are allowed".to_owned();
            fallbacks.push(nobody_stopped("no perf events".to_owned(), remedy));
        }
        let session = procfs::Session::new(what, options, readers(), fallbacks)?;
        Ok(Recorder(Kind::Procfs(Box::new(session))))
    }

    /// What is known before the first event, once the window has begun.
    #[must_use]
    pub fn header(&self) -> &Header {
        match &self.0 {
            Kind::Perf(session) => session.header(),
            Kind::Procfs(session) => session.header(),
        }
    }

    /// Starts the command or takes the running target in, and begins the window.
    /// A delay before that is cut short by `stop`.
    ///
    /// # Errors
    /// When the command cannot be executed, or the target is gone. A command
    /// that was started has ended then, too.
    pub fn begin(&mut self, stop: &Stop) -> Result<(), Error> {
        let begun = match &mut self.0 {
            Kind::Perf(session) => session.begin(stop),
            Kind::Procfs(session) => session.begin(stop),
        };
        if begun.is_err() {
            self.abandon(stop);
        }
        begun
    }

    /// Records no more. A launched command goes on undisturbed, and is waited for.
    pub fn abandon(&mut self, stop: &Stop) {
        match &mut self.0 {
            Kind::Perf(session) => session.abandon(stop),
            Kind::Procfs(session) => session.abandon(stop),
        }
    }

    /// Records until the target ends, the time is over, or `stop` asks. Events
    /// go to `sink` in order.
    ///
    /// # Errors
    /// When `sink` fails, or the kernel does; a launched command has ended then, too.
    pub fn run(
        self,
        stop: &Stop,
        sink: &mut dyn FnMut(&Timed) -> io::Result<()>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Ended, Error> {
        match self.0 {
            Kind::Perf(session) => session.run(stop, sink, progress),
            Kind::Procfs(session) => session.run(stop, sink, progress),
        }
    }
}

/// What is done without perf events, when that is what `error` is about.
fn without_perf(error: &Error) -> Option<Fallback> {
    let errno = error.errno()?;
    Some(Fallback {
        wanted: "perf events, which tell of every wait".to_owned(),
        got: "looks at /proc: CPU time exact, waits sampled".to_owned(),
        errno: format!("{errno:?}"),
        remedy: error.remedy().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn only_what_perf_refuses_is_answered_by_another_engine() {
        let (errno, remedy) = (Errno::EACCES, "grant it".to_owned());
        let refused = Error::OpenEvent { event: "clock", cpu: 0, errno, remedy };
        let fallback = without_perf(&refused).unwrap();
        assert_eq!((fallback.errno.as_str(), fallback.remedy.as_str()), ("EACCES", "grant it"));
        let none = Error::NoPerf { errno: Errno::EPERM, remedy: "allow it".to_owned() };
        assert_eq!(without_perf(&none).unwrap().errno, "EPERM");
        let many = Error::TooManyThreads { wanted: 10_000, limit: 1024 };
        assert!(without_perf(&many).unwrap().remedy.contains("ulimit"));
        assert!(without_perf(&Error::NoSuchProcess { pid: 1 }).is_none());
    }
}
