//! Code in the memory of a process that no file holds. A runtime may write
//! other code there at any time, so what was read is soon read again.

use std::collections::HashMap;
use std::io::IoSliceMut;
use std::rc::Rc;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd;
use whyslow_events::Pid;

use crate::unwind::{java, way_out};

/// A few instructions.
pub(crate) type Piece = [u8; way_out::REACH];

/// Stacks for which what was read is believed.
const STACKS: u32 = 256;

/// Pieces that are kept.
const PIECES: usize = 1 << 14;

/// Blocks that are kept: 8 MiB.
const BLOCKS: usize = 1 << 12;

/// What was read of late.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pieces: HashMap<u64, Option<Piece>>,
    blocks: HashMap<u64, Option<Rc<[u8]>>>,
    stacks: u32,
}

impl Memory {
    /// Another stack is about to be unwound.
    pub(crate) fn next_stack(&mut self) {
        self.stacks += 1;
        if self.stacks > STACKS || self.pieces.len() > PIECES || self.blocks.len() > BLOCKS {
            *self = Memory::default();
        }
    }

    /// The code of a process at `address`.
    pub(crate) fn at(&mut self, pid: Pid, address: u64) -> Option<Piece> {
        let new = || {
            let mut piece = Piece::default();
            // Near the end of the memory what follows stays zero, which is no way out.
            read(pid, address, &mut piece).map(|_| piece)
        };
        *self.pieces.entry(address).or_insert_with(new)
    }

    /// A block of code from `start` on, or what of it there is.
    pub(crate) fn block(&mut self, pid: Pid, start: u64) -> Option<Rc<[u8]>> {
        let new = || {
            let mut block = [0; java::READ];
            read(pid, start, &mut block).map(|length| block[..length].into())
        };
        self.blocks.entry(start).or_insert_with(new).clone()
    }
}

fn read(Pid(pid): Pid, address: u64, into: &mut [u8]) -> Option<usize> {
    let pid = unistd::Pid::from_raw(i32::try_from(pid).ok()?);
    let remote = RemoteIoVec { base: usize::try_from(address).ok()?, len: into.len() };
    let read = process_vm_readv(pid, &mut [IoSliceMut::new(into)], &[remote]);
    read.ok().filter(|read| *read > 0)
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn memory_is_read_again_after_some_stacks() {
        let us = Pid(std::process::id());
        let mut code = [1u8; way_out::REACH];
        let address = code.as_ptr() as u64;
        let mut memory = Memory::default();
        assert_eq!(memory.at(us, address), Some([1; way_out::REACH]));
        assert_eq!(memory.at(us, 8), None);
        black_box(&mut code).fill(2);
        (0..STACKS).for_each(|_| memory.next_stack());
        assert_eq!(memory.at(us, address), Some([1; way_out::REACH]), "not read again yet");
        memory.next_stack();
        assert_eq!(memory.at(us, address), Some([2; way_out::REACH]));
    }
}
