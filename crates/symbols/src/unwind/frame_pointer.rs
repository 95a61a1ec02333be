//! The step of last resort, for code of which nothing says how to unwind it:
//! JIT compilers keep frame pointers.

use whyslow_events::{StackEnd, StackMemory};

use crate::unwind::registers::{BP, PC, Registers, SP};
use crate::unwind::walk::{Frame, From};

/// Bytes of a word.
const WORD: u64 = 8;

/// No honest frame is larger. A frame pointer that leads further is none: it
/// may hold anything in code that does not keep it.
const LARGEST_FRAME: u64 = 8 << 20;

/// The caller of `frame` if its frame pointer looks like one.
pub(crate) fn caller(frame: &Frame, stack: StackMemory<'_>) -> Result<Frame, StackEnd> {
    let known = |number| frame.registers.get(number).ok_or(StackEnd::UnknownRegister);
    let (bp, sp) = (known(BP)?, known(SP)?);
    if bp == 0 && frame.from == From::FramePointer {
        return Err(StackEnd::Complete);
    }
    if bp < sp || !bp.is_multiple_of(WORD) || bp - sp > LARGEST_FRAME {
        return Err(StackEnd::NoUnwindInfo);
    }
    let end = if stack.whole { StackEnd::NoUnwindInfo } else { StackEnd::CopyTooShort };
    let word = |index| stack.word(bp.wrapping_add(index * WORD)).ok_or(end);
    let (saved, return_address) = (word(0)?, word(1)?);
    if return_address == 0 {
        return Err(StackEnd::Complete);
    }
    let mut registers = Registers::default();
    registers.set(BP, Some(saved));
    registers.set(SP, Some(bp.wrapping_add(2 * WORD)));
    registers.set(PC, Some(return_address));
    Ok(Frame { registers, from: From::FramePointer })
}
