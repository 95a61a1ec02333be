//! From frame to frame up a stack.

use std::sync::Arc;

use whyslow_events::{StackEnd, StackMemory, Unwound};

use crate::unwind::registers::{BP, PC, Registers, SP};
use crate::unwind::rule::{Rule, Stop};
use crate::unwind::{frame_pointer, lost};

/// Frames that are kept, innermost first.
const DEEPEST: usize = 1024;

/// What is known of the code at an address.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known<'a> {
    /// How to unwind it, and where its function begins.
    Rule(&'a Arc<Rule>, u64),
    /// It is code, and nothing says how to unwind it.
    Code,
    /// It is code, and what should say how to unwind it is broken.
    Broken,
    /// No executable memory is known there.
    Nothing,
}

/// The code of an address space.
pub(crate) trait Code {
    /// What is known of the code at `address`.
    fn at(&mut self, address: u64) -> Known<'_>;

    /// Fills `bytes` from `address` on, if all of it is one file's code.
    fn bytes<'a>(&mut self, address: u64, bytes: &'a mut [u8]) -> Option<&'a [u8]>;
}

/// A frame on the way up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) registers: Registers,
    /// How it was reached.
    pub(crate) from: From,
}

/// What lies below a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// Nothing: its thread was in it. Or a signal interrupted it there.
    Exactly,
    /// A function it called, by that function's rule.
    Call,
    /// A function it called, by the frame pointer.
    FramePointer,
}

impl Frame {
    fn pc(&self) -> u64 {
        self.registers.get(PC).unwrap_or_default()
    }

    /// An address inside the instruction that is executing: behind a call may
    /// lie another function.
    fn executing(&self) -> u64 {
        self.pc().wrapping_sub(u64::from(self.from != From::Exactly))
    }
}

/// The call chain that begins with `registers`. In the chain an interrupted
/// program counter is one higher than it was, to look like a return address:
/// what reads the chain subtracts one from all but the first.
pub(crate) fn walk(code: &mut impl Code, registers: Registers, stack: StackMemory<'_>) -> Unwound {
    let mut frame = Frame { registers, from: From::Exactly };
    let mut addresses = vec![frame.pc()];
    let end = loop {
        if addresses.len() == DEEPEST {
            break StackEnd::TooDeep;
        }
        match step(code, &frame, stack) {
            Ok(caller) => {
                frame = caller;
                addresses.push(frame.executing().wrapping_add(1));
            }
            Err(end) => break end,
        }
    };
    Unwound { addresses, end }
}

fn step(code: &mut impl Code, frame: &Frame, stack: StackMemory<'_>) -> Result<Frame, StackEnd> {
    let (rule, function) = match code.at(frame.executing()) {
        Known::Rule(rule, function) => (Arc::clone(rule), function),
        Known::Broken => return Err(StackEnd::BadUnwindInfo),
        Known::Code => return frame_pointer::step(code, frame, stack),
        Known::Nothing => return Err(StackEnd::NoUnwindInfo),
    };
    let signal = rule.signal;
    let mut callee = frame.registers;
    let mut registers = rule.apply(&callee, stack);
    if registers == Err(Stop::Unknown(BP)) {
        callee.set(BP, lost::frame_pointer(code, frame, &rule, function, stack));
        registers = rule.apply(&callee, stack);
    }
    let registers = registers.map_err(|stop| end(stop, stack))?;
    let from = if signal { From::Exactly } else { From::Call };
    if registers.get(PC) == Some(0) && !signal {
        return Err(StackEnd::Complete);
    }
    // The kernel delivers signals on another stack if it is told to; a call
    // leaves its stack where it is.
    if !signal && registers.get(SP) <= frame.registers.get(SP) {
        return Err(StackEnd::BadUnwindInfo);
    }
    let caller = Frame { registers, from };
    if !signal && matches!(code.at(caller.executing()), Known::Nothing) {
        return Err(StackEnd::BadUnwindInfo);
    }
    Ok(caller)
}

fn end(stop: Stop, stack: StackMemory<'_>) -> StackEnd {
    match stop {
        Stop::First => StackEnd::Complete,
        Stop::Unknown(_) => StackEnd::UnknownRegister,
        Stop::Outside(_) if !stack.whole => StackEnd::CopyTooShort,
        Stop::Outside(_) | Stop::Bad => StackEnd::BadUnwindInfo,
    }
}
