//! One ring for several events.

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

/// `PERF_EVENT_IOC_SET_OUTPUT`, `_IO('$', 5)` (linux/perf_event.h).
const SET_OUTPUT: libc::c_ulong = 0x2405;

/// Sends the records of `event` into the ring mapped for `ring`.
///
/// # Errors
/// `EINVAL` when the two events are on different CPUs or clocks.
pub(crate) fn redirect(event: &File, ring: &File) -> nix::Result<()> {
    // SAFETY: SET_OUTPUT takes a file descriptor by value and touches no
    // memory of ours; both descriptors are open for as long as the borrows.
    let result = unsafe { libc::ioctl(event.as_raw_fd(), SET_OUTPUT, ring.as_raw_fd()) };
    Errno::result(result).map(drop)
}
