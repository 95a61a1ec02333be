//! Who holds the other end of a pipe: a wait on one whose other end the target
//! itself holds is a wait for another part of the program, and one of which a process
//! holds both wakes its own event loop.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::slice;

use whyslow_events::{Entry, Object, Pid, Site};

use super::fds::{Kind, kind};
use crate::proc::Proc;

/// Processes and descriptors looked through at most.
const PROCESSES: usize = 64;
const DESCRIPTORS: usize = 1024;
/// Sockets with consecutive numbers that are told apart at most.
const RUN: u64 = 16;

/// Access mode in the `flags` of a descriptor (`O_ACCMODE`, asm-generic/fcntl.h).
const ACCESS: u32 = 0o3;
const READ_ONLY: u32 = 0;
const WRITE_ONLY: u32 = 1;

/// Whether others of the target's `processes` hold the other end, or those of all pipes that
/// are watched.
pub(super) fn inside(proc: &Proc, site: &Site, processes: impl Iterator<Item = Pid>) -> bool {
    let Entry::Syscall(call) = &site.entry else { return false };
    let reads = ["read", "poll", "select"].iter().any(|name| call.contains(name));
    let wanted = if reads { WRITE_ONLY } else { READ_ONLY };
    let mut pipes = pipes(&site.object);
    if pipes.is_empty() {
        return false;
    }
    for pid in processes.filter(|pid| *pid != site.pid).take(PROCESSES) {
        let held = Held::by(proc, pid.0);
        pipes.retain(|inode| !held.modes(proc, pid.0, *inode).any(|mode| mode == wanted));
        if pipes.is_empty() {
            return true;
        }
    }
    false
}

/// Whether pipes are waited on, and nothing else.
pub(super) fn is_of_pipes(site: &Site) -> bool {
    matches!(site.entry, Entry::Syscall(_)) && !pipes(&site.object).is_empty()
}

/// The pipes that are waited on, if it is for nothing else.
fn pipes(object: &Object) -> Vec<u64> {
    let members = match object {
        Object::Set { members, complete: true } => &members[..],
        single => slice::from_ref(single),
    };
    let (mut pipes, mut others) = (vec![], false);
    for member in members {
        match member {
            Object::Pipe(inode) => pipes.push(*inode),
            Object::SelfPipe | Object::EventFd => {}
            _ => others = true,
        }
    }
    if others { vec![] } else { pipes }
}

/// What a process has open, read once.
pub(super) struct Held {
    /// The names of its descriptors, and where they lead.
    links: Vec<(OsString, PathBuf)>,
    sockets: HashSet<u64>,
}

impl Held {
    pub(super) fn by(proc: &Proc, pid: u32) -> Self {
        let links: Vec<_> = links(proc, pid).collect();
        let socket = |target: &PathBuf| match kind(&target.to_string_lossy()) {
            Kind::Socket(inode) => Some(inode),
            _ => None,
        };
        let sockets = links.iter().filter_map(|(_, target)| socket(target)).collect();
        Held { links, sockets }
    }

    /// Whether these are both ends of a pipe.
    pub(super) fn both_of_pipe(&self, proc: &Proc, pid: u32, inode: u64) -> bool {
        let held: Vec<u32> = self.modes(proc, pid, inode).collect();
        [READ_ONLY, WRITE_ONLY].iter().all(|access| held.contains(access))
    }

    /// How those of the process's descriptors that lead to a pipe may be used.
    fn modes(&self, proc: &Proc, pid: u32, inode: u64) -> impl Iterator<Item = u32> {
        let wanted = PathBuf::from(format!("pipe:[{inode}]"));
        self.links.iter().filter(move |(_, target)| *target == wanted).filter_map(
            move |(name, _)| {
                let info = proc.path(pid, "fdinfo").join(name);
                mode(&fs::read_to_string(info).ok()?)
            },
        )
    }

    /// The socket that is the other of a pair, if the process holds both. `socketpair` numbers
    /// its two one after the other; among others with numbers beside theirs it is not certain
    /// unless all are pairs.
    pub(super) fn other_of_pair(&self, inode: u64) -> Option<u64> {
        let is_held = |inode: u64| self.sockets.contains(&inode);
        let before = (1..RUN).take_while(|back| is_held(inode.wrapping_sub(*back))).count() as u64;
        let after = (1..RUN).take_while(|on| is_held(inode.wrapping_add(*on))).count() as u64;
        let are_pairs = (before + 1 + after).is_multiple_of(2);
        are_pairs.then_some(if before.is_multiple_of(2) { inode + 1 } else { inode - 1 })
    }
}

/// The process's descriptors, and where they lead.
fn links(proc: &Proc, pid: u32) -> impl Iterator<Item = (OsString, PathBuf)> {
    let entries = fs::read_dir(proc.path(pid, "fd")).into_iter().flatten().flatten();
    entries.take(DESCRIPTORS).filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        Some((entry.file_name(), target))
    })
}

/// `flags: 0100001` of `/proc/PID/fdinfo/FD`, octal.
fn mode(fdinfo: &str) -> Option<u32> {
    let flags = fdinfo.lines().find_map(|line| line.strip_prefix("flags:"))?;
    u32::from_str_radix(flags.trim(), 8).ok().map(|flags| flags & ACCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_told_from_others_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let fd = root.path().join("7/fd");
        fs::create_dir_all(&fd).unwrap();
        for inode in [20, 21, 30, 31, 32, 40, 41, 42, 43, 50] {
            let link = format!("socket:[{inode}]");
            std::os::unix::fs::symlink(link, fd.join(inode.to_string())).unwrap();
        }
        let proc = Proc::at(root.path());
        let held = Held::by(&proc, 7);
        let other = |inode| held.other_of_pair(inode);
        assert_eq!([20, 21].map(other), [Some(21), Some(20)]);
        assert_eq!([30, 31, 32, 50].map(other), [None; 4]);
        assert_eq!([40, 41, 42, 43].map(other), [Some(41), Some(40), Some(43), Some(42)]);
    }

    #[test]
    fn an_end_is_found_by_its_direction() {
        let root = tempfile::tempdir().unwrap();
        let (fd, fdinfo) = (root.path().join("7/fd"), root.path().join("7/fdinfo"));
        for folder in [&fd, &fdinfo] {
            fs::create_dir_all(folder).unwrap();
        }
        std::os::unix::fs::symlink("pipe:[55]", fd.join("3")).unwrap();
        fs::write(fdinfo.join("3"), "pos:\t0\nflags:\t0100001\n").unwrap();
        let proc = Proc::at(root.path());
        let inside = |call: &str, object: Object, by: u32| {
            let entry = Entry::Syscall(call.to_owned());
            inside(
                &proc,
                &Site { pid: Pid(by), entry, pc: 1, object },
                [Pid(7), Pid(8)].into_iter(),
            )
        };
        assert!(inside("read", Object::Pipe(55), 8) && !inside("write", Object::Pipe(55), 8));
        assert!(!inside("read", Object::Pipe(56), 8) && !inside("read", Object::Pipe(55), 7));
        let set = |members: &[Object]| Object::Set { members: members.to_vec(), complete: true };
        let own = [Object::SelfPipe, Object::Pipe(55)];
        assert!(inside("epoll_wait", set(&own), 8) && !inside("poll", set(&own[..1]), 8));
        for other in [Object::Pipe(56), Object::TimerFd] {
            assert!(!inside("poll", set(&[Object::Pipe(55), other]), 8));
        }
    }
}
