//! What `/proc` says of a process while it lives.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use whyslow_events::Pid;

/// A process, as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Where its files begin, seen from here: `/` when it names files as we
    /// do, and when it is gone or not ours to look at.
    pub(crate) root: PathBuf,
    /// Its number, as it sees itself.
    pub(crate) own_pid: Pid,
    /// Whose it is.
    pub(crate) user: Option<u32>,
}

impl Process {
    /// Looks at `pid` under `proc`.
    pub(crate) fn look(proc: &Path, pid: Pid) -> Process {
        let theirs = proc.join(pid.to_string());
        let status = fs::read_to_string(theirs.join("status")).unwrap_or_default();
        Process {
            root: root(&theirs, &proc.join("self")),
            own_pid: own_pid(&status).unwrap_or(pid),
            user: fs::metadata(&theirs).ok().map(|found| found.uid()),
        }
    }
}

fn root(theirs: &Path, ours: &Path) -> PathBuf {
    let root = |of: &Path| fs::metadata(of.join("root/")).ok().map(|it| (it.dev(), it.ino()));
    let mounts = |of: &Path| fs::read_link(of.join("ns/mnt")).ok();
    match root(theirs) {
        Some(id) if Some(id) != root(ours) || mounts(theirs) != mounts(ours) => theirs.join("root"),
        _ => PathBuf::from("/"),
    }
}

/// The last number of `NSpid`, which is that in the innermost namespace.
fn own_pid(status: &str) -> Option<Pid> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().next_back()?.parse().ok().map(Pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself_by_the_innermost_number() {
        assert_eq!(own_pid("Name:\tx\nNSpid:\t4242\t17\t1\nThreads:\t1\n"), Some(Pid(1)));
        assert_eq!(own_pid("NSpid:\t4242\n"), Some(Pid(4242)));
        for nonsense in ["", "NSpid:", "NSpid:\tx\n", "NSpid:\t99999999999\n"] {
            assert_eq!(own_pid(nonsense), None);
        }
    }

    #[test]
    fn we_are_where_we_are() {
        let us = Process::look(Path::new("/proc"), Pid(std::process::id()));
        let user = fs::metadata("/proc/self").unwrap().uid();
        let own_pid = Pid(std::process::id());
        assert_eq!(us, Process { root: "/".into(), own_pid, user: Some(user) });
    }
}
