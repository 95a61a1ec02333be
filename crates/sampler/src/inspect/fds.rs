//! What is behind a file descriptor, from its link under `/proc/PID/fd`.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use whyslow_events::Object;

use super::sockets::SocketTables;
use crate::proc::Proc;

/// The object behind `fd` of `pid`; [`Object::Unseen`] when it cannot be read.
pub(super) fn object(proc: &Proc, sockets: &mut SocketTables, pid: u32, fd: u32) -> Object {
    let link = proc.path(pid, &format!("fd/{fd}"));
    let Ok(target) = fs::read_link(&link) else { return Object::Unseen };
    let target = target.to_string_lossy();
    match kind(&target) {
        Kind::Pipe(inode) => Object::Pipe(inode),
        Kind::Socket(inode) => sockets.object(proc, pid, inode),
        Kind::Anonymous(name) => anonymous(name),
        Kind::Path => match fs::metadata(&link) {
            Ok(metadata) => by_type(&metadata, target.into_owned()),
            // The link names it, so it is or was a file.
            Err(_) => Object::File(target.into_owned()),
        },
    }
}

pub(super) enum Kind<'a> {
    Pipe(u64),
    Socket(u64),
    Anonymous(&'a str),
    Path,
}

/// `pipe:[123]`, `socket:[123]`, `anon_inode:[eventpoll]` or a path.
pub(super) fn kind(target: &str) -> Kind<'_> {
    let inode = |prefix: &str| -> Option<u64> {
        target.strip_prefix(prefix)?.strip_suffix(']')?.parse().ok()
    };
    if let Some(inode) = inode("pipe:[") {
        Kind::Pipe(inode)
    } else if let Some(inode) = inode("socket:[") {
        Kind::Socket(inode)
    } else if let Some(name) = target.strip_prefix("anon_inode:") {
        Kind::Anonymous(name.trim_start_matches('[').trim_end_matches(']'))
    } else {
        Kind::Path
    }
}

fn anonymous(name: &str) -> Object {
    match name {
        "eventfd" => Object::EventFd,
        "timerfd" => Object::TimerFd,
        "signalfd" => Object::SignalFd,
        "inotify" | "fanotify" => Object::Inotify,
        "pidfd" => Object::PidFd,
        "io_uring" => Object::IoUring,
        _ if name.starts_with("mqueue") => Object::Queue,
        _ => Object::Anonymous(name.to_owned()),
    }
}

fn by_type(metadata: &fs::Metadata, path: String) -> Object {
    let kind = metadata.file_type();
    if kind.is_fifo() {
        Object::Fifo(path)
    } else if kind.is_block_device() {
        Object::BlockDevice(path)
    } else if kind.is_char_device() {
        if is_terminal(metadata.rdev()) { Object::Terminal(path) } else { Object::CharDevice(path) }
    } else if kind.is_socket() {
        Object::Socket(path)
    } else {
        Object::File(path)
    }
}

/// Whether a device number is a terminal's: virtual consoles and serial lines
/// (major 4, 204), `/dev/tty`, `/dev/console` (5), pseudo-terminals (136 to
/// 143); linux/Documentation/admin-guide/devices.txt.
fn is_terminal(device: u64) -> bool {
    matches!(libc::major(device), 4 | 5 | 136..=143 | 204)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_told_apart() {
        assert!(matches!(kind("pipe:[12]"), Kind::Pipe(12)));
        assert!(matches!(kind("socket:[7]"), Kind::Socket(7)));
        assert!(matches!(kind("anon_inode:[eventpoll]"), Kind::Anonymous("eventpoll")));
        assert!(matches!(kind("anon_inode:inotify"), Kind::Anonymous("inotify")));
        assert!(matches!(kind("/tmp/pipe:[12]"), Kind::Path));
        assert!(matches!(kind("pipe:[x]"), Kind::Path));
    }

    #[test]
    fn a_pseudo_terminal_is_a_terminal_and_dev_null_is_not() {
        assert!(is_terminal(libc::makedev(136, 3)));
        assert!(!is_terminal(libc::makedev(1, 3)));
    }
}
