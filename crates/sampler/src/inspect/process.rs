//! A process of the target as readers of its interpreter ask of it.

use std::io::IoSliceMut;

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use whyslow_events::{TargetProcess, Tid};

use crate::proc::Proc;

/// Ranges that one system call reads at most (`UIO_MAXIOV`, linux/uio.h).
const RANGES: usize = 1 << 10;

/// Reads up to the first page that the process could not read itself; how many
/// bytes were read. Nothing is read that is guarded, and no driver asked.
pub(crate) fn read(pid: u32, ranges: &mut [(u64, &mut [u8])]) -> usize {
    let Ok(pid) = i32::try_from(pid) else { return 0 };
    let remote: Option<Vec<RemoteIoVec>> = ranges
        .iter()
        .map(|(base, into)| {
            Some(RemoteIoVec { base: usize::try_from(*base).ok()?, len: into.len() })
        })
        .collect();
    let Some(remote) = remote else { return 0 };
    let mut local: Vec<IoSliceMut<'_>> =
        ranges.iter_mut().map(|(_, into)| IoSliceMut::new(into)).collect();
    process_vm_readv(Pid::from_raw(pid), &mut local, &remote).unwrap_or(0)
}

/// Whether the kernel lets us read memory at all: we ask for a byte of our own.
pub(crate) fn can_read_memory() -> Result<(), Errno> {
    let (byte, mut copy) = ([1u8], [0u8]);
    let remote = RemoteIoVec { base: byte.as_ptr() as usize, len: 1 };
    process_vm_readv(Pid::this(), &mut [IoSliceMut::new(&mut copy)], &[remote]).map(drop)
}

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
        ranges.chunks_mut(RANGES).all(|ranges| {
            let wanted: usize = ranges.iter().map(|(_, into)| into.len()).sum();
            read(self.pid, ranges) == wanted
        })
    }

    fn inner_tid(&self, tid: Tid) -> Option<u64> {
        self.proc.inner_tid(self.pid, tid.0)
    }

    fn inner_tids(&self) -> Vec<u64> {
        let tids = self.proc.tids(self.pid).into_iter();
        tids.filter_map(|tid| self.proc.inner_tid(self.pid, tid)).collect()
    }

    fn clock_ahead(&self) -> i64 {
        self.proc.clock_ahead(self.pid)
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
        let mut many = vec![[0u8; 1]; 3 * RANGES];
        let mut ranges: Vec<(u64, &mut [u8])> =
            many.iter_mut().map(|into| (left.as_ptr() as u64, &mut into[..])).collect();
        assert!(ours.read(&mut ranges));
        assert!(many.iter().all(|read| *read == [1]));
        assert_eq!(can_read_memory(), Ok(()));
        let main = Tid(std::process::id());
        assert!(ours.inner_tids().contains(&ours.inner_tid(main).unwrap()));
    }
}
