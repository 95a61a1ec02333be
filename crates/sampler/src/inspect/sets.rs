//! The descriptors that `epoll`, `poll` and `select` watch.

use std::fs::File;
use std::io::Read;

use crate::proc::Proc;

/// `struct pollfd`: descriptor, wanted events, seen events.
pub(super) const POLLFD_BYTES: usize = 8;
/// More members than this are not looked at one by one.
const MEMBERS: usize = 256;
/// Room for [`MEMBERS`] lines of an epoll descriptor's `fdinfo`.
const FDINFO_BYTES: u64 = 64 << 10;

/// `count` within what we look at, and whether that is all.
pub(super) fn bounded(count: u64) -> (usize, bool) {
    let all = usize::try_from(count).unwrap_or(usize::MAX);
    (all.min(MEMBERS), all <= MEMBERS)
}

/// The descriptors an epoll descriptor watches, and whether these are all.
pub(super) fn epoll_members(proc: &Proc, pid: u32, fd: u32) -> Option<(Vec<u32>, bool)> {
    let mut text = String::new();
    let file = File::open(proc.path(pid, &format!("fdinfo/{fd}"))).ok()?;
    file.take(FDINFO_BYTES).read_to_string(&mut text).ok()?;
    let mut fds = parse_epoll_fdinfo(&text);
    let complete = (text.len() as u64) < FDINFO_BYTES && fds.len() <= MEMBERS;
    fds.truncate(MEMBERS);
    Some((fds, complete))
}

/// Lines `tfd:        5 events: …` of `/proc/PID/fdinfo/FD`.
pub(super) fn parse_epoll_fdinfo(text: &str) -> Vec<u32> {
    text.lines()
        .filter_map(|line| line.strip_prefix("tfd:")?.split_ascii_whitespace().next()?.parse().ok())
        .collect()
}

/// The descriptors in an array of `struct pollfd`; negative ones are ignored.
pub(super) fn poll_members(bytes: &[u8]) -> Vec<u32> {
    let (entries, _) = bytes.as_chunks::<POLLFD_BYTES>();
    entries
        .iter()
        .filter_map(|&[a, b, c, d, ..]| u32::try_from(i32::from_ne_bytes([a, b, c, d])).ok())
        .collect()
}

/// The descriptors below `count` in an `fd_set`.
pub(super) fn select_members(bits: &[u8], count: usize) -> Vec<u32> {
    let set = |fd: &usize| bits.get(fd / 8).is_some_and(|byte| byte >> (fd % 8) & 1 == 1);
    (0..count).filter(set).filter_map(|fd| u32::try_from(fd).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_from_each_form() {
        let fdinfo = "pos:\t0\nflags:\t02\ntfd:        5 events:       19 data: 5 pos:0\ntfd:  x\n";
        assert_eq!(parse_epoll_fdinfo(fdinfo), [5]);
        assert_eq!(poll_members(&[7, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255, 1, 0, 0, 0, 9]), [7]);
        assert_eq!(select_members(&[0b1000_0001, 1], 9), [0, 7, 8]);
        assert_eq!(select_members(&[0xff], 3), [0, 1, 2]);
    }
}
