//! The clock of all events: `CLOCK_MONOTONIC` as the host has it, on which the
//! kernel writes its records. Programs in a time namespace are told another.

use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

use crate::Error;
use crate::proc::Proc;

/// The CPU time that the calling thread has used so far: what a piece of work costs,
/// whoever else had the CPU meanwhile.
pub(crate) fn own_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// The time now, ns.
///
/// # Errors
/// When the clock cannot be read.
pub(crate) fn now() -> Result<u64, Error> {
    static AHEAD: OnceLock<i64> = OnceLock::new();
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_err(|errno| Error::System { action: "read the clock", errno })?;
    let ahead = AHEAD.get_or_init(|| Proc::default().clock_ahead(std::process::id()));
    Ok(u64::try_from(time.num_nanoseconds().saturating_sub(*ahead)).unwrap_or(0))
}
