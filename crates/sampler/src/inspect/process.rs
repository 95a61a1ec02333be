//! A process of the target as readers of its interpreter ask of it.

use std::io::IoSliceMut;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use whyslow_events::{TargetProcess, Tid};

use crate::proc::Proc;

/// A process by its PID.
#[derive(Debug)]
pub(crate) struct Process {
    proc: Proc,
    pid: u32,
}

impl Process {
    pub(crate) fn new(pid: u32) -> Self {
        Process { proc: Proc::default(), pid }
    }
}

impl TargetProcess for Process {
    fn read(&self, ranges: &mut [(u64, &mut [u8])]) -> bool {
        let Ok(pid) = i32::try_from(self.pid) else { return false };
        let remote: Vec<RemoteIoVec> = ranges
            .iter()
            .filter_map(|(base, into)| {
                Some(RemoteIoVec { base: usize::try_from(*base).ok()?, len: into.len() })
            })
            .collect();
        let wanted: usize = ranges.iter().map(|(_, into)| into.len()).sum();
        let mut local: Vec<IoSliceMut<'_>> =
            ranges.iter_mut().map(|(_, into)| IoSliceMut::new(into)).collect();
        process_vm_readv(Pid::from_raw(pid), &mut local, &remote) == Ok(wanted)
    }

    fn inner_tid(&self, tid: Tid) -> Option<u64> {
        self.proc.inner_tid(self.pid, tid.0)
    }

    fn inner_tids(&self) -> Vec<u64> {
        let tids = self.proc.tids(self.pid).into_iter();
        tids.filter_map(|tid| self.proc.inner_tid(self.pid, tid)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_memory_and_threads_are_read() {
        let ours = Process::new(std::process::id());
        let (left, right) = ([1u8, 2, 3], [4u8; 8]);
        let (mut first, mut second) = ([0; 3], [0; 8]);
        let mut ranges =
            [(left.as_ptr() as u64, &mut first[..]), (right.as_ptr() as u64, &mut second[..])];
        assert!(ours.read(&mut ranges));
        assert_eq!((first, second), (left, right));
        assert!(!ours.read(&mut [(8, &mut [0; 8])]));
        let main = Tid(std::process::id());
        assert!(ours.inner_tids().contains(&ours.inner_tid(main).unwrap()));
    }
}
