//! A file descriptor that becomes readable when a process ends.

use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;

/// `pidfd_open(2)`, Linux 5.3.
///
/// # Errors
/// `ESRCH` when there is no such process, `ENOSYS` on older kernels.
pub(crate) fn pidfd_open(pid: u32) -> nix::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    let fd = Errno::result(result)?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel just gave us this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
