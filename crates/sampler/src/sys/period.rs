//! Another period for an event that is open.

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

/// `PERF_EVENT_IOC_PERIOD`, `_IOW('$', 4, __u64)` (linux/perf_event.h).
const PERIOD: libc::c_ulong = 0x4008_2404;

/// Lets an event fire every `value` ns if it is a clock, and else so often a second. The kernel
/// turns a frequency of a clock, and of nothing else, into a period when it is opened.
///
/// # Errors
/// `EINVAL` when the event does not fire.
pub(crate) fn set_period(event: &File, value: u64) -> nix::Result<()> {
    // SAFETY: PERIOD reads one u64 from the pointer, which is to a local that
    // lives until the call returns; the descriptor is open as long as the borrow.
    let result = unsafe { libc::ioctl(event.as_raw_fd(), PERIOD, &raw const value) };
    Errno::result(result).map(drop)
}
