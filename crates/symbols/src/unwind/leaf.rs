//! The C library says nothing of how to unwind the system call that begins a thread: what is
//! right for the one that calls would be wrong for the one that begins. There the return
//! address is on top of the stack, and the new thread has none.

use whyslow_events::{StackEnd, StackMemory};

use crate::unwind::calls;
use crate::unwind::lost::follows_system_call;
use crate::unwind::registers::{PC, SP};
use crate::unwind::walk::{Code, Frame, From};

/// Bytes of a word.
const WORD: u64 = 8;

/// The caller of code without a rule that is in a system call, if a call ends where the top
/// of its stack leads. `None` where that is something else.
pub(crate) fn caller(
    code: &mut impl Code,
    frame: &Frame,
    stack: StackMemory<'_>,
) -> Option<Result<Frame, StackEnd>> {
    if frame.from != From::Exactly || !follows_system_call(code, frame.executing()) {
        return None;
    }
    let sp = frame.registers.get(SP)?;
    let return_address = stack.word(sp)?;
    if return_address == 0 {
        return Some(Err(StackEnd::Complete));
    }
    calls::before(code, return_address)?;
    let mut registers = frame.registers;
    registers.set(SP, Some(sp.wrapping_add(WORD)));
    registers.set(PC, Some(return_address));
    Some(Ok(Frame { registers, from: From::Call }))
}
