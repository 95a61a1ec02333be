//! Finding a frame pointer that is not known: of a thread that was found
//! asleep only program counter and stack pointer are. The functions it called
//! on its way to sleep may have saved the frame pointer, and may not have.
//!
//! A place on the stack is believed on proof alone: the function's own code
//! says how far above the stack pointer it is, and a return address is there;
//! or the return address follows a call of this very function.

use whyslow_events::StackMemory;

use crate::unwind::calls::{self, Call};
use crate::unwind::registers::SP;
use crate::unwind::rule::Rule;
use crate::unwind::walk::{Code, Frame};

/// Bytes from a function's start in which it makes its frame.
const PROLOGUE: usize = 64;

/// Bytes of stack that are searched.
const REACH: u64 = 1 << 20;

/// The stack pointer at a call, and so every CFA, is a multiple of this.
const ALIGNMENT: u64 = 16;

/// The frame pointer of `frame`, whose function begins at `function` and is
/// unwound by `rule`.
pub(crate) fn frame_pointer(
    code: &mut impl Code,
    frame: &Frame,
    rule: &Rule,
    function: u64,
    stack: StackMemory<'_>,
) -> Option<u64> {
    let sp = frame.registers.get(SP)?;
    let saved = rule.saved_below_frame_pointer()?;
    by_size(code, function, sp.checked_add(saved)?, stack)
        .or_else(|| by_caller(code, function, sp, stack))
}

/// By the size of the frame, if just one that the code mentions fits.
fn by_size(
    code: &mut impl Code,
    function: u64,
    bottom: u64,
    stack: StackMemory<'_>,
) -> Option<u64> {
    let mut bytes = [0; PROLOGUE];
    let prologue = code.bytes(function, &mut bytes)?;
    let sizes = calls::frame_sizes(prologue).chain([0]);
    let places = sizes.filter_map(|size| bottom.checked_add(size));
    let mut fitting: Vec<u64> =
        places.filter(|&place| call_before(code, place, stack).is_some()).collect();
    fitting.dedup();
    (fitting.len() == 1).then(|| fitting[0])
}

/// By the first return address behind a call of the function.
fn by_caller(
    code: &mut impl Code,
    function: u64,
    sp: u64,
    stack: StackMemory<'_>,
) -> Option<u64> {
    let first = sp.checked_next_multiple_of(ALIGNMENT)?;
    let end = sp.saturating_add(REACH.min(stack.bytes.len() as u64));
    let step = usize::try_from(ALIGNMENT).ok()?;
    (first..end)
        .step_by(step)
        .find(|&place| call_before(code, place, stack) == Some(Call::Direct(function)))
}

/// The call to which a function with its frame pointer at `place` returns.
fn call_before(code: &mut impl Code, place: u64, stack: StackMemory<'_>) -> Option<Call> {
    if place % ALIGNMENT != 0 {
        return None;
    }
    let return_address = stack.word(place.checked_add(8)?)?;
    let mut bytes = [0; calls::LONGEST];
    let before = return_address.checked_sub(bytes.len() as u64)?;
    calls::ending(code.bytes(before, &mut bytes)?, return_address)
}
