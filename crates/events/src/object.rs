//! What a system call waits on: the thing behind a file descriptor or address.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Which end of a TCP connection, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TcpRole {
    /// A socket that accepts connections.
    Listening,
    /// A connection a peer opened to a port that somebody here listens on.
    Accepted,
    /// A connection this side opened.
    Opened,
}

/// The thing a blocked system call waits on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Object {
    /// The call names no object (`nanosleep`, `wait4`).
    None,
    /// The call names one, and we could not look at it in time.
    Unseen,
    /// A regular file or directory.
    File(String),
    /// A block device node.
    BlockDevice(String),
    /// A character device that is not a terminal.
    CharDevice(String),
    /// A terminal or pseudo-terminal.
    Terminal(String),
    /// An anonymous pipe, by inode.
    Pipe(u64),
    /// A named pipe.
    Fifo(String),
    /// A Unix domain socket: its bound or peer path where it has one.
    Unix {
        /// Inode of the socket.
        inode: u64,
        /// Path or abstract name, empty when unnamed.
        path: String,
        /// Whether it accepts connections.
        listening: bool,
    },
    /// A TCP socket.
    Tcp {
        /// Our address.
        local: SocketAddr,
        /// The peer's; port 0 when listening.
        remote: SocketAddr,
        /// Who opened it.
        role: TcpRole,
    },
    /// A UDP socket.
    Udp {
        /// Our address.
        local: SocketAddr,
        /// The peer's; port 0 when not connected.
        remote: SocketAddr,
    },
    /// Another socket family, in words (`netlink`, `packet`, or `socket` when unresolved).
    Socket(String),
    /// `eventfd`.
    EventFd,
    /// `timerfd`.
    TimerFd,
    /// `signalfd`.
    SignalFd,
    /// `inotify` or `fanotify`.
    Inotify,
    /// A `pidfd`.
    PidFd,
    /// `io_uring`.
    IoUring,
    /// A POSIX or System V message queue.
    Queue,
    /// Any other anonymous inode, by its kernel name.
    Anonymous(String),
    /// A futex.
    Futex {
        /// Its address in the waiter's address space.
        address: u64,
        /// Operation without the private and clock flags (`FUTEX_WAIT` = 0,
        /// `FUTEX_LOCK_PI` = 6, `FUTEX_WAIT_BITSET` = 9, …; linux/futex.h).
        operation: u32,
        /// The value the waiter expected. Locks of glibc, Rust and Go wait on 2.
        expected: u32,
    },
    /// Everything an `epoll`, `poll` or `select` watches; empty for a pure timer.
    /// `complete` is false when the set was too large to list.
    Set {
        /// The watched objects, without duplicates.
        members: Vec<Object>,
        /// Whether all of them are listed.
        complete: bool,
    },
    /// A pipe or pair of sockets of which the waiter's process holds both ends: what
    /// wakes its own event loop.
    SelfPipe,
    /// An `io_uring` that owes no answer: nothing that was asked of it is outstanding.
    EmptyRing,
    /// A futex in memory that several processes may share.
    SharedFutex {
        /// Inode of what is mapped there.
        inode: u64,
        /// Where in it, in bytes.
        offset: u64,
        /// As of any [`Object::Futex`].
        operation: u32,
        /// As of any [`Object::Futex`].
        expected: u32,
    },
    /// A System V set of semaphores, by its number.
    Semaphores(u64),
}

impl Object {
    /// Whether its name leads to something outside, and is no number that means nothing
    /// once the program has ended.
    fn tells_where(&self) -> bool {
        match self {
            Object::Pipe(_) | Object::SelfPipe => false,
            Object::EventFd | Object::TimerFd | Object::SignalFd => false,
            Object::Unix { path, .. } => !path.is_empty(),
            _ => true,
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::None => Ok(()),
            Object::Unseen => f.write_str("?"),
            Object::File(path)
            | Object::BlockDevice(path)
            | Object::CharDevice(path)
            | Object::Terminal(path)
            | Object::Fifo(path) => f.write_str(path),
            Object::Pipe(inode) => write!(f, "pipe:[{inode}]"),
            Object::Unix { inode, path, .. } if path.is_empty() => write!(f, "unix:[{inode}]"),
            Object::Unix { path, .. } => write!(f, "unix {path}"),
            Object::Tcp { local, role: TcpRole::Listening, .. } => write!(f, "tcp listen {local}"),
            // The client's port differs on every connection; the server's does not.
            Object::Tcp { local, role: TcpRole::Accepted, .. } => {
                write!(f, "tcp client of {local}")
            }
            Object::Tcp { remote, .. } => write!(f, "tcp {remote}"),
            Object::Udp { local, remote } if remote.port() == 0 => write!(f, "udp {local}"),
            Object::Udp { remote, .. } => write!(f, "udp {remote}"),
            Object::Socket(family) => f.write_str(family),
            Object::EventFd => f.write_str("eventfd"),
            Object::SelfPipe => f.write_str("self-pipe"),
            Object::TimerFd => f.write_str("timerfd"),
            Object::SignalFd => f.write_str("signalfd"),
            Object::Inotify => f.write_str("inotify"),
            Object::PidFd => f.write_str("pidfd"),
            Object::IoUring => f.write_str("io_uring"),
            Object::EmptyRing => f.write_str("empty io_uring"),
            Object::Queue => f.write_str("queue"),
            Object::Anonymous(name) => f.write_str(name),
            Object::Futex { address, .. } => write!(f, "futex {address:#x}"),
            Object::SharedFutex { inode, offset, .. } => {
                write!(f, "shared futex {inode}+{offset:#x}")
            }
            Object::Semaphores(number) => write!(f, "semaphores {number}"),
            Object::Set { members, .. } if members.is_empty() => f.write_str("timer"),
            Object::Set { members, complete } => fmt_set(f, members, *complete),
        }
    }
}

/// Members of one name are counted; a few names are told.
fn fmt_set(f: &mut fmt::Formatter<'_>, members: &[Object], complete: bool) -> fmt::Result {
    const SHOWN: usize = 3;
    let mut members: Vec<&Object> = members.iter().collect();
    // Stable: those that tell a reader something come first.
    members.sort_by_key(|member| !member.tells_where());
    let mut names: Vec<(String, usize)> = vec![];
    for name in members.into_iter().map(ToString::to_string) {
        match names.iter_mut().find(|(other, _)| *other == name) {
            Some((_, times)) => *times += 1,
            None => names.push((name, 1)),
        }
    }
    for (i, (name, times)) in names.iter().take(SHOWN).enumerate() {
        let comma = if i > 0 { ", " } else { "" };
        match times {
            1 => write!(f, "{comma}{name}")?,
            _ => write!(f, "{comma}{times} × {name}")?,
        }
    }
    match names.iter().skip(SHOWN).map(|(_, times)| times).sum::<usize>() {
        0 if complete => Ok(()),
        0 => f.write_str(", …"),
        more => write!(f, " and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_names_three_members_and_counts_the_rest() {
        let members = (1..=5).map(Object::Pipe).collect();
        let set = Object::Set { members, complete: true };
        assert_eq!(set.to_string(), "pipe:[1], pipe:[2], pipe:[3] and 2 more");
    }

    #[test]
    fn the_members_of_a_set_that_say_most_are_named() {
        let unnamed = Object::Unix { inode: 9, path: String::new(), listening: false };
        let server = Object::Tcp {
            local: "127.0.0.1:50000".parse().unwrap(),
            remote: "127.0.0.1:8765".parse().unwrap(),
            role: TcpRole::Opened,
        };
        let pipes = [1, 2].map(Object::Pipe);
        let members = [&[unnamed][..], &pipes, &[server]].concat();
        let set = Object::Set { members, complete: true };
        assert_eq!(set.to_string(), "tcp 127.0.0.1:8765, unix:[9], pipe:[1] and 1 more");
    }

    #[test]
    fn members_of_one_name_are_counted() {
        let client = |port| Object::Tcp {
            local: "127.0.0.1:80".parse().unwrap(),
            remote: ([127, 0, 0, 1], port).into(),
            role: TcpRole::Accepted,
        };
        let members = [&[1, 2, 3].map(client)[..], &[Object::EventFd]].concat();
        let set = Object::Set { members, complete: true };
        assert_eq!(set.to_string(), "3 × tcp client of 127.0.0.1:80, eventfd");
    }

    #[test]
    fn an_accepted_connection_is_named_by_the_port_we_serve() {
        let object = Object::Tcp {
            local: "127.0.0.1:6379".parse().unwrap(),
            remote: "127.0.0.1:50000".parse().unwrap(),
            role: TcpRole::Accepted,
        };
        assert_eq!(object.to_string(), "tcp client of 127.0.0.1:6379");
    }
}
