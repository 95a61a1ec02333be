//! Who holds the other end of a pipe: a wait on one whose other end the target
//! itself holds is a wait for another part of the program.

use std::fs;

use whyslow_events::{Entry, Object, Pid, Site};

use crate::proc::Proc;

/// Processes and descriptors looked through at most.
const PROCESSES: usize = 64;
const DESCRIPTORS: usize = 1024;

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

fn holds(proc: &Proc, pid: u32, inode: u64, access: u32) -> bool {
    let wanted = format!("pipe:[{inode}]");
    let entries = fs::read_dir(proc.path(pid, "fd")).into_iter().flatten().flatten();
    let mut names = entries.take(DESCRIPTORS).filter(|entry| {
        fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str())
    });
    names.any(|entry| {
        let info = proc.path(pid, "fdinfo").join(entry.file_name());
        fs::read_to_string(info).is_ok_and(|text| mode(&text) == Some(access))
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
