//! What `/proc` tells of one thread at a moment. When to ask is decided elsewhere.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use procfs::FromRead;
use procfs::process::{Schedstat, Stat};

use crate::inspect::Call;
use crate::proc::Proc;

/// The kernel's exact counts of a thread, since its birth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// On a CPU, ns; a tick behind at most while it runs.
    pub(super) cpu_ns: u64,
    /// In the run queue, ns; counted when it gets a CPU.
    pub(super) runq_ns: u64,
    /// How often it got a CPU.
    pub(super) switches: u64,
}

impl Counts {
    /// What was added after `before`.
    pub(super) fn since(self, before: Counts) -> Counts {
        Counts {
            cpu_ns: self.cpu_ns.saturating_sub(before.cpu_ns),
            runq_ns: self.runq_ns.saturating_sub(before.runq_ns),
            switches: self.switches.saturating_sub(before.switches),
        }
    }

    fn parse(text: &[u8]) -> Option<Counts> {
        let Schedstat { sum_exec_runtime, run_delay, pcount } = Schedstat::from_read(text).ok()?;
        Some(Counts { cpu_ns: sum_exec_runtime, runq_ns: run_delay, switches: pcount })
    }
}

/// The files of one thread.
#[derive(Debug)]
pub(super) struct Task {
    folder: PathBuf,
    /// Kept open where descriptors suffice: it is read more often than all else.
    counts: Option<File>,
}

impl Task {
    /// `None` when there is no such thread.
    pub(super) fn open(proc: &Proc, pid: u32, tid: u32, keep: bool) -> Option<Task> {
        let folder = proc.path(pid, &format!("task/{tid}"));
        let counts = File::open(folder.join("schedstat")).ok()?;
        Some(Task { folder, counts: keep.then_some(counts) })
    }

    /// `None` when it is gone.
    pub(super) fn counts(&self) -> Option<Counts> {
        // Three numbers of 20 digits and what separates them.
        let mut text = [0; 64];
        match &self.counts {
            Some(file) => {
                let size = file.read_at(&mut text, 0).ok()?;
                Counts::parse(&text[..size])
            }
            None => Counts::parse(&self.read("schedstat")?),
        }
    }

    /// State, CPU time by ticks, name; `None` when it is gone.
    pub(super) fn stat(&self) -> Option<Stat> {
        Stat::from_read(&*self.read("stat")?).ok()
    }

    /// Where it is in the kernel.
    pub(super) fn call(&self) -> Call {
        let text = self.read("syscall");
        text.map_or(Call::Hidden, |text| Call::parse(&String::from_utf8_lossy(&text)))
    }

    /// Its children.
    pub(super) fn children(&self) -> Vec<u32> {
        let text = self.read("children").unwrap_or_default();
        String::from_utf8_lossy(&text)
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }

    fn read(&self, file: &str) -> Option<Vec<u8>> {
        fs::read(self.folder.join(file)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_read_from_any_root() {
        let root = tempfile::tempdir().unwrap();
        let task = root.path().join("7/task/8");
        fs::create_dir_all(&task).unwrap();
        fs::write(task.join("schedstat"), "10 20 3\n").unwrap();
        let proc = Proc::at(root.path());
        assert!(Task::open(&proc, 7, 9, true).is_none());
        let thread = Task::open(&proc, 7, 8, false).unwrap();
        let counts = Counts { cpu_ns: 10, runq_ns: 20, switches: 3 };
        assert_eq!(thread.counts(), Some(counts));
        assert_eq!(thread.call(), Call::Hidden);
        fs::write(task.join("syscall"), "running\n").unwrap();
        assert_eq!(thread.call(), Call::Running);
        fs::write(task.join("children"), "12 x 13 ").unwrap();
        assert_eq!(thread.children(), [12, 13]);
    }

    #[test]
    fn counts_do_not_go_back() {
        let counts = |cpu_ns| Counts { cpu_ns, runq_ns: 1, switches: 1 };
        assert_eq!(counts(5).since(counts(3)), Counts { cpu_ns: 2, ..Counts::default() });
        assert_eq!(counts(3).since(counts(5)).cpu_ns, 0);
    }
}
