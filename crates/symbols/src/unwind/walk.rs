//! From frame to frame up a stack.

use std::rc::Rc;

use whyslow_events::{StackEnd, StackMemory, Unwound};

use crate::unwind::calls::{self, Call};
use crate::unwind::java::Keeps;
use crate::unwind::memory::Piece;
use crate::unwind::registers::{BP, PC, Registers, SP};
use crate::unwind::rule::{Rule, Stop};
use crate::unwind::trail::Along;
use crate::unwind::{frame_pointer, java, leaf, lost, way_out};

/// Frames that are kept, innermost first: as many as the largest copy can hold, and
/// some more. The garbage collector of a compiler may be as deep in its trees.
pub(crate) const DEEPEST: usize = 4096;

/// What is known of the code at an address.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    /// How to unwind it, and where its function begins.
    Rule(Rc<Rule>, u64),
    /// It is code, and nothing says how to unwind it.
    Code,
    /// A stack begins in it.
    First,
    /// It is code, and what should say how to unwind it is broken.
    Broken,
    /// No executable memory is known there.
    Nothing,
}

/// The code of an address space.
pub(crate) trait Code {
    /// What is known of the code at `address`.
    fn at(&mut self, address: u64) -> Known;

    /// Fills `bytes` from `address` on, if all of it is one file's code.
    fn bytes<'a>(&mut self, address: u64, bytes: &'a mut [u8]) -> Option<&'a [u8]>;

    /// The code at `address` in memory without a file.
    fn in_memory(&mut self, address: u64) -> Option<Piece>;

    /// How the code at `address` keeps its frame, if it is a JVM's own.
    fn java(&mut self, address: u64) -> Option<Keeps>;
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

impl From {
    /// What was wrong when it led nowhere.
    fn astray(self) -> StackEnd {
        match self {
            From::Exactly | From::FramePointer => StackEnd::NoUnwindInfo,
            From::Call => StackEnd::BadUnwindInfo,
        }
    }
}

impl Frame {
    fn pc(&self) -> u64 {
        self.registers.get(PC).unwrap_or_default()
    }

    /// An address inside the instruction that is executing: behind a call may
    /// lie another function.
    pub(crate) fn executing(&self) -> u64 {
        self.pc().wrapping_sub(u64::from(self.from != From::Exactly))
    }
}

/// The call chain that begins with `registers`, `along` a walk before. In the chain a program counter
/// that no call led to, of a signal's trampoline or of what it interrupted, is one
/// higher than it was, to look like a return address: what reads the chain
/// subtracts one from all but the first.
pub(crate) fn walk(
    code: &mut impl Code,
    registers: Registers,
    stack: StackMemory<'_>,
    along: &mut Along,
) -> Unwound {
    let mut frame = Frame { registers, from: From::Exactly };
    let mut addresses = Vec::with_capacity(along.expected());
    addresses.push(frame.pc());
    let mut known = (frame.executing(), code.at(frame.executing()));
    let end = loop {
        if addresses.len() == DEEPEST {
            break StackEnd::TooDeep;
        }
        // Recursion comes to the same place over and over.
        if known.0 != frame.executing() {
            known = (frame.executing(), code.at(frame.executing()));
        }
        if let (Known::Rule(rule, _), Some(last)) = (&known.1, addresses.last_mut())
            && rule.signal
        {
            // No call led here: the trampoline is entered at its first instruction.
            *last = if frame.from == From::Exactly { *last } else { frame.pc().wrapping_add(1) };
        }
        match &known.1 {
            Known::Nothing => {
                // Nothing returns to where no code is, but a thread may be there.
                if frame.from != From::Exactly {
                    addresses.pop();
                }
                break frame.from.astray();
            }
            Known::Broken => break StackEnd::BadUnwindInfo,
            Known::First => break StackEnd::Complete,
            known => {
                pass(known, &mut frame, stack, &mut addresses, along);
                let below = frame.registers.get(SP);
                let way = match step(code, &mut frame, known, stack) {
                    Ok(way) => way,
                    Err(end) => break end,
                };
                let between = below..frame.registers.get(SP);
                if stack.later.is_some_and(|later| between.contains(&Some(later)))
                    && !is_call(code, known, &frame)
                {
                    break StackEnd::BadUnwindInfo;
                }
                match way {
                    Way::Rule => along.reached(&mut frame.registers, stack, &mut addresses),
                    Way::Other => along.stray(),
                }
            }
        }
        addresses.push(frame.executing().wrapping_add(1));
    };
    Unwound { addresses, end }
}

/// Past the calls of a function by itself from the same place, up to the last of them: a
/// deep recursion is little else.
fn pass(
    known: &Known,
    frame: &mut Frame,
    stack: StackMemory<'_>,
    addresses: &mut Vec<u64>,
    along: &mut Along,
) {
    let Known::Rule(rule, _) = known else { return };
    let Some(plain) = rule.plain().filter(|_| frame.from == From::Call) else { return };
    // One more is stepped to.
    let room = DEEPEST.saturating_sub(addresses.len() + 1);
    let passed = plain.repeat(&mut frame.registers, stack, room, |sp| along.marks(sp));
    addresses.resize(addresses.len() + passed, frame.pc());
    along.passed(passed);
}

/// By what a step was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The rule for a call, the registers and the stack.
    Rule,
    /// Something else.
    Other,
}

/// From a frame to its caller. Where that fails, what is left of the frame means nothing.
fn step(
    code: &mut impl Code,
    frame: &mut Frame,
    known: &Known,
    stack: StackMemory<'_>,
) -> Result<Way, StackEnd> {
    let Known::Rule(rule, function) = known else {
        *frame = without_rule(code, frame, stack)?;
        return Ok(Way::Other);
    };
    let (below, mut way) = (frame.registers.get(SP), Way::Rule);
    let mut applied = rule.apply(&mut frame.registers, stack);
    if applied == Err(Stop::Unknown(BP)) {
        let lost = lost::frame_pointer(code, frame, rule, *function, stack);
        frame.registers.set(BP, lost);
        applied = rule.apply(&mut frame.registers, stack);
        way = Way::Other;
    }
    applied.map_err(|stop| end(stop, stack))?;
    if rule.signal {
        frame.from = From::Exactly;
        return Ok(Way::Other);
    }
    if frame.registers.get(PC) == Some(0) {
        return Err(StackEnd::Complete);
    }
    // A call leaves its stack where it is; a signal may come on another.
    if frame.registers.get(SP) <= below {
        return Err(StackEnd::BadUnwindInfo);
    }
    frame.from = From::Call;
    Ok(way)
}

/// Whether `caller` is at a call of the very function that is known `of` a frame. A
/// call that only the processor knows proves nothing.
fn is_call(code: &mut impl Code, of: &Known, caller: &Frame) -> bool {
    let Known::Rule(_, function) = of else { return false };
    calls::before(code, caller.pc()) == Some(Call::Direct(*function))
}

/// By what the code itself tells, and else by the frame pointer.
fn without_rule(
    code: &mut impl Code,
    frame: &Frame,
    stack: StackMemory<'_>,
) -> Result<Frame, StackEnd> {
    if let Some(caller) = java::caller(code, frame, stack) {
        return caller;
    }
    if let Some(caller) = leaf::caller(code, frame, stack) {
        return caller;
    }
    let straight = piece(code, frame.pc())
        .and_then(|piece| way_out::caller(frame, &piece, stack))
        .filter(|caller| !matches!(code.at(caller.executing()), Known::Nothing));
    straight.map_or_else(|| frame_pointer::caller(frame, stack), Ok)
}

/// The next instructions, in memory or of a file.
fn piece(code: &mut impl Code, address: u64) -> Option<Piece> {
    if let Some(piece) = code.in_memory(address) {
        return Some(piece);
    }
    let mut piece = Piece::default();
    code.bytes(address, &mut piece)?;
    Some(piece)
}

fn end(stop: Stop, stack: StackMemory<'_>) -> StackEnd {
    match stop {
        Stop::First => StackEnd::Complete,
        Stop::Unknown(_) => StackEnd::UnknownRegister,
        Stop::Outside(_) if !stack.whole => StackEnd::CopyTooShort,
        Stop::Outside(_) | Stop::Bad => StackEnd::BadUnwindInfo,
    }
}

#[cfg(test)]
mod tests;
