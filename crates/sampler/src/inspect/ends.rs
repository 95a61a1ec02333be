//! Who holds the other end of a pipe: a wait on one whose other end the target
//! itself holds is a wait for another part of the program, and one of which a process
//! holds both wakes its own event loop.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry};
use std::path::PathBuf;

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

/// Whether another of the target's `processes` holds the other end.
pub(super) fn inside(proc: &Proc, site: &Site, processes: impl Iterator<Item = Pid>) -> bool {
    let (Object::Pipe(inode), Entry::Syscall(call)) = (&site.object, &site.entry) else {
        return false;
    };
    let wanted = if call.contains("read") { WRITE_ONLY } else { READ_ONLY };
    let mut others = processes.filter(|pid| *pid != site.pid).take(PROCESSES);
    others.any(|pid| holds(proc, pid.0, *inode, wanted))
}

/// What a process has open, read once: the links of its descriptors by their names.
pub(super) struct Held(Vec<(OsString, PathBuf)>);

impl Held {
    pub(super) fn by(proc: &Proc, pid: u32) -> Self {
        Held(links(proc, pid).map(|(entry, target)| (entry.file_name(), target)).collect())
    }

    /// Whether these are both ends of a pipe.
    pub(super) fn both_of_pipe(&self, proc: &Proc, pid: u32, inode: u64) -> bool {
        let wanted = PathBuf::from(format!("pipe:[{inode}]"));
        let ends = self.0.iter().filter(|(_, target)| *target == wanted);
        let held: Vec<u32> = ends.filter_map(|(name, _)| mode(proc, pid, name)).collect();
        [READ_ONLY, WRITE_ONLY].iter().all(|access| held.contains(access))
    }

    /// The socket that is the other of a pair, if the process holds both. `socketpair` numbers
    /// its two one after the other; among others with numbers beside theirs it is not certain
    /// unless all are pairs.
    pub(super) fn other_of_pair(&self, inode: u64) -> Option<u64> {
        let sockets =
            self.0.iter().filter_map(|(_, target)| match kind(&target.to_string_lossy()) {
                Kind::Socket(inode) => Some(inode),
                _ => None,
            });
        let held: HashSet<u64> = sockets.collect();
        let is_held = |inode: u64| held.contains(&inode);
        let before = (1..RUN).take_while(|back| is_held(inode.wrapping_sub(*back))).count() as u64;
        let after = (1..RUN).take_while(|on| is_held(inode.wrapping_add(*on))).count() as u64;
        let are_pairs = (before + 1 + after).is_multiple_of(2);
        are_pairs.then_some(if before.is_multiple_of(2) { inode + 1 } else { inode - 1 })
    }
}

/// The process's descriptors, and where they lead.
fn links(proc: &Proc, pid: u32) -> impl Iterator<Item = (DirEntry, PathBuf)> {
    let entries = fs::read_dir(proc.path(pid, "fd")).into_iter().flatten().flatten();
    entries.take(DESCRIPTORS).filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        Some((entry, target))
    })
}

fn holds(proc: &Proc, pid: u32, inode: u64, access: u32) -> bool {
    let wanted = PathBuf::from(format!("pipe:[{inode}]"));
    let mut ends = links(proc, pid).filter(|(_, target)| *target == wanted);
    ends.any(|(entry, _)| mode(proc, pid, &entry.file_name()) == Some(access))
}

/// How a descriptor may be used.
fn mode(proc: &Proc, pid: u32, name: &OsStr) -> Option<u32> {
    access(&fs::read_to_string(proc.path(pid, "fdinfo").join(name)).ok()?)
}

/// `flags: 0100001` of `/proc/PID/fdinfo/FD`, octal.
fn access(fdinfo: &str) -> Option<u32> {
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
        assert!(holds(&proc, 7, 55, WRITE_ONLY));
        assert!(!holds(&proc, 7, 55, READ_ONLY));
        assert!(!holds(&proc, 7, 56, WRITE_ONLY) && !holds(&proc, 8, 55, WRITE_ONLY));
    }
}
