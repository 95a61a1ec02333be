//! The perf engine: per CPU one ring, into which the sampling clock, the
//! scheduler's tracepoints and the side records of that CPU are written.
//!
//! That takes privilege. Without it `tasks` opens the clock for each thread of
//! the target, with switch records in place of tracepoints; `capture` is either.
//!
//! `open` opens the events, `drain` reads the rings and puts the records of
//! all CPUs in order, `record` parses one, `tracker` keeps what belongs to the
//! target and turns it into events, `calls` learns which system call a thread
//! waits in, `interner` numbers stacks and sites.

mod calls;
mod capture;
mod continuity;
mod delay;
mod drain;
mod interner;
mod open;
mod prices;
mod probe;
pub(crate) mod record;
mod spaces;
mod tally;
mod tasks;
mod threads;
mod tracker;
mod waits;

pub(crate) use calls::KernelCalls;
pub(crate) use capture::Capture;
pub(crate) use continuity::{Continuity, fallback as continuity_fallback, wakeups_fallback};
pub(crate) use drain::Merge;
pub(crate) use interner::{Chain, Codes, Stacks, UserHalf};
use open::Rings;
pub(crate) use open::{Often, kernel_types};
pub(crate) use prices::Prices;
pub(crate) use probe::probe;
pub(crate) use spaces::{Mapping, Spaces};
pub(crate) use tally::Tally;
use tasks::TaskRings;
pub(crate) use tracker::{Found, Tracker, precise::nobody_stopped};
pub(crate) use waits::Waits;
