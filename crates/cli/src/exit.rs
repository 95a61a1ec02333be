//! Exit codes: the one place that says what each means.
//!
//! | code | meaning |
//! |---|---|
//! | the program's own | `record -- CMD`: it ran to its end, and the profile is written |
//! | killed by a signal | `record -- CMD`: the program was; the same signal is raised again |
//! | 0 | everything else that worked |
//! | 1 | `doctor`: something is missing |
//! | 125 | whyslow itself failed, or was called wrongly |
//! | 126 | the command was found and cannot be executed |
//! | 127 | the command was not found |

use std::io;
use std::process::ExitCode;

use nix::sys::resource::{Resource, setrlimit};
use whyslow_events::ExitStatus;

use crate::sanitize::clean;

/// whyslow itself failed.
pub(crate) const FAILURE: u8 = 125;
/// The command cannot be executed.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
pub(crate) const NOT_FOUND: u8 = 127;

/// What a shell reports for a program that a signal killed, less the signal's number.
const SIGNAL_BASE: i32 = 128;

/// How whyslow is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With an exit code.
    Code(u8),
    /// By the signal that killed the program.
    Signal(i32),
}

impl Ending {
    /// Everything worked.
    pub(crate) const SUCCESS: Ending = Ending::Code(0);

    /// The way a launched program ended.
    #[must_use]
    pub(crate) fn of_program(status: ExitStatus) -> Ending {
        match status {
            ExitStatus { signal: Some(signal), .. } => Ending::Signal(signal),
            // The kernel keeps the low eight bits, so this never fails.
            ExitStatus { code: Some(code), .. } => {
                Ending::Code(u8::try_from(code).unwrap_or(FAILURE))
            }
            ExitStatus { code: None, signal: None } => Ending::SUCCESS,
        }
    }

    /// Ends as said: raises the signal, or gives the exit code to return.
    #[must_use]
    pub(crate) fn conclude(self) -> ExitCode {
        match self {
            Ending::Code(code) => ExitCode::from(code),
            Ending::Signal(signal) => {
                // The program dumped its core where it wanted one; ours is of no use.
                // Should this fail, a core file too many is all that happens.
                let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
                // Returns only for signals that do not kill.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
                ExitCode::from(u8::try_from(SIGNAL_BASE + signal).unwrap_or(FAILURE))
            }
        }
    }
}

/// The code for an error that ends whyslow.
#[must_use]
pub(crate) fn code_of(error: &anyhow::Error) -> u8 {
    use whyslow_sampler::Error;
    match error.downcast_ref::<Error>() {
        Some(Error::CommandNotFound { .. }) => NOT_FOUND,
        Some(Error::NotExecutable { .. }) => NOT_EXECUTABLE,
        _ => FAILURE,
    }
}

/// What went wrong, and what to do on lines of their own. Names and paths in it come from
/// outside, and are made safe to print.
#[must_use]
pub(crate) fn message(error: &anyhow::Error) -> String {
    let said = format!("{error:#}");
    let remedy = error.downcast_ref().and_then(whyslow_sampler::Error::remedy);
    let lines: Vec<_> =
        said.lines().chain(remedy.iter().flat_map(|it| it.lines())).map(clean).collect();
    lines.join("\n")
}

/// Whether the reader of our output went away, which is no failure.
#[must_use]
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    fn not_found() -> anyhow::Error {
        whyslow_sampler::Error::CommandNotFound { command: "prog".to_owned() }.into()
    }

    #[test]
    fn each_failure_has_its_code() {
        assert_eq!(code_of(&not_found()), 127);
        let errno = nix::errno::Errno::EACCES;
        let refused = whyslow_sampler::Error::NotExecutable { command: "prog".to_owned(), errno };
        assert_eq!(code_of(&refused.into()), 126);
        assert_eq!(code_of(&anyhow::anyhow!("anything")), 125);
        assert_eq!(code_of(&not_found().context("more")), 127);
    }

    #[test]
    fn a_message_ends_with_what_to_do_and_has_no_escapes_of_others() {
        use whyslow_sampler::Error;
        let zombie = Error::Zombie { pid: 7, name: "\u{1b}]0;mine\u{7}".to_owned() };
        let message = message(&zombie.into());
        assert!(message.contains("process 7") && !message.contains('\u{1b}'), "{message}");
        let errno = nix::errno::Errno::EACCES;
        let refused = Error::Proc { path: "/proc/1/maps".into(), errno };
        let message = super::message(&refused.into());
        assert_eq!(message.lines().count(), 2, "{message}");
    }

    #[test]
    fn the_program_ends_us_the_way_it_ended() {
        let ended = |code, signal| Ending::of_program(ExitStatus { code, signal });
        assert_eq!(ended(Some(7), None), Ending::Code(7));
        assert_eq!(ended(Some(0), None), Ending::SUCCESS);
        assert_eq!(ended(None, Some(9)), Ending::Signal(9));
    }

    #[test]
    fn a_broken_pipe_is_found_under_its_context() {
        let broken: Result<(), _> = Err(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(is_broken_pipe(&broken.context("cannot print").unwrap_err()));
        assert!(!is_broken_pipe(&anyhow::anyhow!("other")));
    }
}
