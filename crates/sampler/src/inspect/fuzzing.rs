//! The parsers in here, for the fuzz targets.

use super::{Call, fds, rings, sets as parsers};

/// The target of a link under `/proc/PID/fd`.
pub(crate) fn link(target: &str) {
    let _ = fds::kind(target);
}

/// The text of `/proc/PID/fdinfo/FD` of an epoll descriptor, and of a ring.
pub(crate) fn fdinfo(text: &str) {
    let _ = parsers::parse_epoll_fdinfo(text);
    let _ = rings::parse(text);
}

/// The memory that `poll` and `select` were given.
pub(crate) fn sets(bytes: &[u8]) {
    let _ = parsers::poll_members(bytes);
    let _ = parsers::select_members(bytes, bytes.len());
}

/// The text of `/proc/PID/task/TID/syscall`.
pub(crate) fn syscall(text: &str) {
    let _ = Call::parse(text);
}
