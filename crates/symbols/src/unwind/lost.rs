//! Finding a frame pointer that is not known: of a thread that was found
//! asleep only program counter and stack pointer are. The functions it called
//! on its way to sleep may have saved the frame pointer, and may not have.
//!
//! A place on the stack is believed on proof alone: the function's own code
//! says how far above the stack pointer it is, and a return address is there;
//! or the return address there follows a call of this very function. When the
//! two speak of different places, neither is believed.

use whyslow_events::StackMemory;

use crate::unwind::calls::{self, Call};
use crate::unwind::registers::SP;
use crate::unwind::rule::Rule;
use crate::unwind::walk::{Code, Frame, From};

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
    if frame.from == From::Exactly && !follows_system_call(code, frame.executing()) {
        return None;
    }
    let saved = rule.saved_below_frame_pointer()?;
    let made = frame.executing().checked_sub(function)?;
    let by_size = by_size(code, function, made, sp.checked_add(saved)?, stack);
    match (by_size, by_caller(code, function, sp, stack)) {
        (Some(one), Some(other)) if one != other => None,
        (one, other) => one.or(other),
    }
}

/// Whether a system call ends before `pc`. Elsewhere the stack pointer may be
/// anywhere in the frame, which is being made or taken down.
pub(crate) fn follows_system_call(code: &mut impl Code, pc: u64) -> bool {
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    let before = pc.checked_sub(SYSCALL.len() as u64);
    before.and_then(|before| code.bytes(before, &mut [0; 2]).map(|bytes| bytes == SYSCALL))
        == Some(true)
}

/// By the size of the frame, if just one fits of those that are mentioned in
/// the `made` bytes of code that were executed.
fn by_size(
    code: &mut impl Code,
    function: u64,
    made: u64,
    bottom: u64,
    stack: StackMemory<'_>,
) -> Option<u64> {
    let mut bytes = [0; PROLOGUE];
    let made = usize::try_from(made).ok()?.min(PROLOGUE);
    let prologue = code.bytes(function, &mut bytes[..made])?;
    let mut sizes: Vec<u64> = calls::frame_sizes(prologue).collect();
    if sizes.is_empty() {
        sizes.push(0);
    }
    let places = sizes.iter().filter_map(|size| bottom.checked_add(*size));
    let mut fitting = places.filter(|&place| call_before(code, place, stack).is_some());
    fitting.next().filter(|_| fitting.next().is_none())
}

/// By the first return address behind a call of the function.
fn by_caller(code: &mut impl Code, function: u64, sp: u64, stack: StackMemory<'_>) -> Option<u64> {
    let first = sp.checked_next_multiple_of(ALIGNMENT)?;
    let end = sp.saturating_add(REACH.min(stack.bytes.len() as u64));
    let step = usize::try_from(ALIGNMENT).ok()?;
    (first..end)
        .step_by(step)
        .find(|&place| call_before(code, place, stack) == Some(Call::Direct(function)))
}

/// The call to which a function with its frame pointer at `place` returns.
fn call_before(code: &mut impl Code, place: u64, stack: StackMemory<'_>) -> Option<Call> {
    if !place.is_multiple_of(ALIGNMENT) {
        return None;
    }
    calls::before(code, stack.word(place.checked_add(8)?)?)
}
