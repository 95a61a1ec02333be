//! What each system call that can block tells of the wait.

use crate::State;

/// How to read a call's evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// The call alone tells.
    Is(State),
    /// The object tells, and we are to receive something.
    Reads,
    /// The object tells, and we want to get rid of something.
    Writes,
    /// The object tells; where it is not known, likely this.
    Likely(State),
    /// What is watched tells.
    Polls,
    /// Who wakes tells, as of a futex.
    Futex,
}

/// The rule for a system call, by its name without prefix.
pub(super) fn rule(name: &str) -> Option<Rule> {
    RULES.iter().find(|(names, _)| names.contains(&name)).map(|(_, rule)| *rule)
}

const RULES: &[(&[&str], Rule)] = &[
    (&["futex", "futex_wait", "futex_waitv", "semop", "semtimedop"], Rule::Futex),
    (
        &["poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2"],
        Rule::Polls,
    ),
    (
        &[
            "read", "pread64", "readv", "preadv", "preadv2", "recv", "recvfrom", "recvmsg",
            "recvmmsg", "ioctl",
        ],
        Rule::Reads,
    ),
    (
        &[
            "write",
            "pwrite64",
            "writev",
            "pwritev",
            "pwritev2",
            "send",
            "sendto",
            "sendmsg",
            "sendmmsg",
            "sendfile",
            "splice",
            "tee",
            "vmsplice",
            "copy_file_range",
            "close",
            "shutdown",
        ],
        Rule::Writes,
    ),
    (&["connect"], Rule::Likely(State::IoNetwork)),
    (&["accept", "accept4"], Rule::Is(State::Idle)),
    (&["nanosleep", "clock_nanosleep"], Rule::Is(State::Sleep)),
    (&["wait4", "waitid", "waitpid", "vfork", "clone", "clone3", "fork"], Rule::Is(State::Child)),
    (
        &["pause", "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64"],
        Rule::Is(State::Idle),
    ),
    (&["flock", "fcntl"], Rule::Is(State::LockKernel)),
    (&["msgrcv", "msgsnd", "mq_timedsend", "mq_timedreceive"], Rule::Is(State::IoIpc)),
    (&["io_getevents", "io_pgetevents", "io_submit"], Rule::Is(State::IoDisk)),
    (&["io_uring_enter"], Rule::Likely(State::IoOther)),
    (&["exit", "exit_group"], Rule::Is(State::IoOther)),
    (
        &["mmap", "munmap", "mremap", "mprotect", "brk", "madvise", "mlock", "msync"],
        Rule::Is(State::Memory),
    ),
    (
        &[
            "open",
            "openat",
            "openat2",
            "creat",
            "stat",
            "lstat",
            "fstat",
            "newfstatat",
            "statx",
            "statfs",
            "fstatfs",
            "access",
            "faccessat",
            "faccessat2",
            "readlink",
            "readlinkat",
            "unlink",
            "unlinkat",
            "rename",
            "renameat",
            "renameat2",
            "link",
            "linkat",
            "symlink",
            "symlinkat",
            "mkdir",
            "mkdirat",
            "rmdir",
            "getdents",
            "getdents64",
            "fsync",
            "fdatasync",
            "sync",
            "syncfs",
            "sync_file_range",
            "truncate",
            "ftruncate",
            "fallocate",
            "readahead",
            "fadvise64",
            "execve",
            "execveat",
            "chdir",
            "chmod",
            "fchmod",
            "chown",
            "fchown",
            "utimensat",
            "mount",
            "umount2",
        ],
        Rule::Likely(State::IoDisk),
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::RULES;

    #[test]
    fn no_call_has_two_rules() {
        let mut seen = HashSet::new();
        for name in RULES.iter().flat_map(|(names, _)| *names) {
            assert!(seen.insert(name), "{name} twice");
        }
    }
}
