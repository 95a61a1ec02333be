//! Unwinding, as the engine asks for it and the symbol side answers: registers
//! and a piece of stack memory in, return addresses out.

use serde::{Deserialize, Serialize};

use crate::{Event, SpaceId};

/// User registers of a thread, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserRegisters {
    /// The next instruction.
    pub pc: u64,
    known: u32,
    values: [u64; Self::COUNT],
}

impl UserRegisters {
    /// Numbers of registers by DWARF (System V ABI, AMD64 supplement, figure 3.36).
    pub const COUNT: usize = 16;
    /// DWARF number of RBP.
    pub const BP: usize = 6;
    /// DWARF number of RSP.
    pub const SP: usize = 7;

    /// Only the program counter and the stack pointer are known.
    #[must_use]
    pub fn new(pc: u64, sp: u64) -> Self {
        let mut registers = UserRegisters { pc, ..UserRegisters::default() };
        registers.set(Self::SP, sp);
        registers
    }

    /// Sets the register with a DWARF number; numbers past the last are ignored.
    pub fn set(&mut self, number: usize, value: u64) {
        if let Some(place) = self.values.get_mut(number) {
            *place = value;
            self.known |= 1 << number;
        }
    }

    /// The register with a DWARF number; `None` when it is not known.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<u64> {
        let value = *self.values.get(number)?;
        (self.known & 1 << number != 0).then_some(value)
    }

    /// The stack pointer; 0 when it is not known.
    #[must_use]
    pub fn sp(&self) -> u64 {
        self.get(Self::SP).unwrap_or(0)
    }
}

/// A copy of stack memory.
#[derive(Clone, Copy, Debug)]
pub struct StackMemory<'a> {
    /// Address of the first byte.
    pub start: u64,
    /// The bytes.
    pub bytes: &'a [u8],
    /// The copy ends where the stack does, not where the copier stopped.
    pub whole: bool,
    /// From this address on it was read after the thread had gone on.
    pub later: Option<u64>,
}

impl StackMemory<'_> {
    /// The 64-bit word at `address`, in the byte order of this machine.
    #[must_use]
    pub fn word(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        let word = self.bytes.get(at..at.checked_add(8)?)?.first_chunk()?;
        Some(u64::from_ne_bytes(*word))
    }
}

/// How the user half of a call chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StackEnd {
    /// At the thread's first function.
    Complete,
    /// There, too, but what lies beyond the copy was read at another moment, and
    /// believed because where both meet the stack was the same.
    Extended,
    /// There, too, but it is that of another wait with the same program counter
    /// and stack pointer, which nearly always came the same way.
    SamePlace,
    /// The copy of the stack ended before the stack did.
    CopyTooShort,
    /// The code of a frame has no unwind information, and no frame pointer led on.
    NoUnwindInfo,
    /// Unwind information led nowhere: damaged, or of a kind we cannot evaluate.
    BadUnwindInfo,
    /// A register it needs is not known: the thread was looked at from outside.
    UnknownRegister,
    /// More frames than are kept.
    TooDeep,
    /// Not unwound: the chain the kernel found by frame pointers, which holds
    /// only for code that keeps them.
    FramePointers,
    /// There is no user half.
    None,
    /// The copy of the stack ended before the stack did, and what lay beyond was not
    /// read: too much had been.
    OverBudget,
    /// It is that of another wait in the same call on the same object, to which
    /// another caller may have come.
    SameSite,
    /// A 32-bit program: only where it is is known.
    Narrow,
}

impl StackEnd {
    /// Whether the call chain is whole, as far as can be known.
    #[must_use]
    pub fn is_whole(self) -> bool {
        matches!(self, StackEnd::Complete | StackEnd::Extended | StackEnd::SamePlace)
    }
}

/// The user half of a call chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwound {
    /// Innermost first; all but the first are return addresses.
    pub addresses: Vec<u64>,
    /// How it ends.
    pub end: StackEnd,
}

/// Turns registers and stack memory into call chains.
pub trait Unwind {
    /// Learns address spaces and mappings from definitions, before it is asked
    /// to unwind in them. Other events are passed over.
    fn observe(&mut self, event: &Event);

    /// The call chain of a thread in `space`.
    fn unwind(
        &mut self,
        space: SpaceId,
        registers: &UserRegisters,
        stack: StackMemory<'_>,
    ) -> Unwound;

    /// Where the function begins that holds `address`, as far as unwind information tells.
    fn function(&mut self, space: SpaceId, address: u64) -> Option<u64>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_only_where_all_of_it_was_copied() {
        let bytes: Vec<u8> = (0..16).collect();
        let memory = StackMemory { start: 0x1000, bytes: &bytes, whole: false, later: None };
        assert_eq!(memory.word(0x1008).map(u64::to_ne_bytes), Some([8, 9, 10, 11, 12, 13, 14, 15]));
        for outside in [0, 0xfff, 0x1009, 0x1010, u64::MAX] {
            assert_eq!(memory.word(outside), None);
        }
    }

    #[test]
    fn a_register_is_known_once_it_is_set() {
        let mut registers = UserRegisters::new(1, 2);
        assert_eq!((registers.sp(), registers.get(UserRegisters::BP)), (2, None));
        registers.set(UserRegisters::BP, 3);
        registers.set(99, 4);
        assert_eq!((registers.get(UserRegisters::BP), registers.get(99)), (Some(3), None));
    }
}
