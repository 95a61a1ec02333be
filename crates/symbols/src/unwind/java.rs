//! The step over code that a JVM compiled. By default it keeps no frame
//! pointers, and nothing in the process describes its frames to others. But each
//! of its methods makes its frame with the same few instructions, which say how
//! large it is and are found going backwards; and what is then taken for a return
//! address has a call before it, or is not believed. The JVM's interpreter keeps
//! frame pointers.

use std::rc::Rc;

use whyslow_events::{StackEnd, StackMemory};

use crate::unwind::calls;
use crate::unwind::frame_pointer;
use crate::unwind::registers::{BP, PC, Registers, SP};
use crate::unwind::walk::{Code, Frame, From};

/// Bytes of code that are searched at a time.
const BLOCK: usize = 2 << 10;

/// Blocks that are searched: few methods are longer.
const BLOCKS: u64 = 32;

/// Bytes of the longest beginning of a method that is known.
const LONGEST: usize = 15;

/// Bytes of a block and of what of the next one may belong to it.
pub(crate) const READ: usize = BLOCK + LONGEST - 1;

/// Bytes of a word.
const WORD: u64 = 8;

/// An interpreted method that was called by a compiled one has its arguments
/// between the two frames, at most so many bytes.
const ARGUMENTS: u64 = 4 << 10;

/// How code keeps the frame it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// Not made yet: the return address is on top.
    Nothing,
    /// Below the saved frame pointer are so many bytes.
    Bytes(u64),
    /// By the frame pointer.
    Pointer,
}

/// The caller of `frame`; `None` when it is not in a JVM's own code, or the code
/// tells nothing that can be believed.
pub(crate) fn caller(
    code: &mut impl Code,
    frame: &Frame,
    stack: StackMemory<'_>,
) -> Option<Result<Frame, StackEnd>> {
    let keeps = code.java(frame.executing())?;
    let sp = frame.registers.get(SP)?;
    if frame.from == From::Exactly
        && let Some(caller) = at_an_end(code, frame, sp, stack)
    {
        return Some(Ok(caller));
    }
    let compiled = compiled(code, frame, keeps, sp, stack);
    Some(compiled.unwrap_or_else(|| interpreted(code, frame, stack)))
}

/// By the size of the frame.
fn compiled(
    code: &mut impl Code,
    frame: &Frame,
    keeps: Keeps,
    sp: u64,
    stack: StackMemory<'_>,
) -> Option<Result<Frame, StackEnd>> {
    let saved = match keeps {
        Keeps::Pointer => return None,
        Keeps::Nothing => return returned(code, frame, sp, stack).map(Ok),
        Keeps::Bytes(size) => sp.checked_add(size)?,
    };
    let return_address = saved.checked_add(WORD)?;
    let end = stack.start.checked_add(stack.bytes.len() as u64)?;
    if return_address >= end && !stack.whole {
        return Some(Err(StackEnd::CopyTooShort));
    }
    let mut caller = returned(code, frame, return_address, stack)?;
    caller.registers.set(BP, stack.word(saved));
    Some(Ok(caller))
}

/// By the frame pointer; where the caller is compiled code, its frame begins
/// where the interpreter notes it.
fn interpreted(
    code: &mut impl Code,
    frame: &Frame,
    stack: StackMemory<'_>,
) -> Result<Frame, StackEnd> {
    let mut caller = frame_pointer::caller(frame, stack)?;
    let Some(Keeps::Bytes(size)) = code.java(caller.executing()) else { return Ok(caller) };
    let (Some(bp), Some(sp)) = (frame.registers.get(BP), caller.registers.get(SP)) else {
        return Ok(caller);
    };
    let noted = bp.checked_sub(WORD).and_then(|place| stack.word(place));
    let noted = noted.filter(|noted| (sp..=sp.saturating_add(ARGUMENTS)).contains(noted));
    let fits = |sp: &u64| {
        let place = sp.checked_add(size).and_then(|saved| saved.checked_add(WORD));
        let address = place.and_then(|place| stack.word(place));
        address.is_some_and(|address| returns(code, address))
    };
    if let Some(begin) = noted.into_iter().chain([sp]).find(fits) {
        caller.registers.set(SP, Some(begin));
    }
    Ok(caller)
}

/// Where a method has not made its frame yet, or has taken it down already.
fn at_an_end(
    code: &mut impl Code,
    frame: &Frame,
    sp: u64,
    stack: StackMemory<'_>,
) -> Option<Frame> {
    match code.in_memory(frame.executing())? {
        [0x89, 0x84, 0x24, _, _, _, 0xff, 0x55, ..] => returned(code, frame, sp, stack),
        // pop %rbp, and cmp …(%r15),%rsp: may it go on?
        [0x5d, 0x49, 0x3b, 0x67 | 0xa7, ..] => {
            let mut caller = returned(code, frame, sp.checked_add(WORD)?, stack)?;
            caller.registers.set(BP, stack.word(sp));
            Some(caller)
        }
        [0x49, 0x3b, 0x67, _, 0x0f, 0x87, ..]
        | [0x49, 0x3b, 0xa7, _, _, _, _, 0x0f, 0x87, ..]
        | [0x0f, 0x87, _, _, _, _, 0xc3, ..] => returned(code, frame, sp, stack),
        _ => None,
    }
}

/// The caller when its return address is at `place`.
fn returned(
    code: &mut impl Code,
    frame: &Frame,
    place: u64,
    stack: StackMemory<'_>,
) -> Option<Frame> {
    let address = stack.word(place).filter(|address| returns(code, *address))?;
    let mut registers = Registers::default();
    registers.set(BP, frame.registers.get(BP));
    registers.set(SP, place.checked_add(WORD));
    registers.set(PC, Some(address));
    Some(Frame { registers, from: From::Call })
}

/// Whether a call returns to `address`. The interpreter jumps to what it calls,
/// which returns to where it fetches its stack pointer from below the frame pointer.
fn returns(code: &mut impl Code, address: u64) -> bool {
    let mut bytes = [0; calls::LONGEST];
    let Some(before) = address.checked_sub(bytes.len() as u64) else { return false };
    let call = |bytes: &[u8]| calls::ending(bytes, address).is_some();
    match (code.in_memory(before), code.in_memory(address)) {
        (
            _,
            Some([0x48, 0x8b, 0x65, 0xf0, ..] | [0x48, 0x8b, 0x4d, 0xf0, 0x48, 0x8d, 0x64, ..]),
        ) => true,
        (Some(before), _) => call(&before[..calls::LONGEST]),
        (None, _) => code.bytes(before, &mut bytes).is_some_and(call),
    }
}

/// How the code at `address` keeps its frame. `block` gives the bytes from an
/// address on, a block and what of the next one may belong to it.
pub(crate) fn keeps(address: u64, mut block: impl FnMut(u64) -> Option<Rc<[u8]>>) -> Keeps {
    let mut start = address - address % BLOCK as u64;
    for _ in 0..BLOCKS {
        let Some(bytes) = block(start) else { break };
        let before = usize::try_from(address - start).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(before)];
        if let Some(keeps) = (0..bytes.len()).rev().find_map(|at| beginning(&bytes[at..])) {
            return keeps;
        }
        let Some(before) = start.checked_sub(BLOCK as u64) else { break };
        start = before;
    }
    Keeps::Pointer
}

/// What the instructions of a method that make its frame tell, if `code` begins
/// with them.
fn beginning(code: &[u8]) -> Option<Keeps> {
    let number = |bytes: [u8; 4]| u64::try_from(i32::from_le_bytes(bytes)).ok();
    match *code {
        // mov %eax,-…(%rsp): is there stack enough? Then push %rbp …
        [0x89, 0x84, 0x24, _, _, _, 0xff, ref rest @ ..] => match *rest {
            [] => Some(Keeps::Nothing),
            [0x55, 0x48, 0x83, 0xec, size, ..] => Some(Keeps::Bytes(size.into())),
            [0x55, 0x48, 0x81, 0xec, a, b, c, d, ..] => number([a, b, c, d]).map(Keeps::Bytes),
            [0x55, 0x48, 0x8b, 0xec, ..] => Some(Keeps::Pointer),
            [0x55, ..] => Some(Keeps::Bytes(0)),
            _ => None,
        },
        // push %rbp; mov %rsp,%rbp
        [0x55, 0x48, 0x8b, 0xec, ..] => Some(Keeps::Pointer),
        // sub $…,%rsp; mov %rbp,…(%rsp)
        [0x48, 0x81, 0xec, 8, 0, 0, 0, 0x48, 0x89, 0x2c, 0x24, ..] => Some(Keeps::Bytes(0)),
        [0x48, 0x83, 0xec, size, 0x48, 0x89, 0x6c, 0x24, at, ..] if size == at.wrapping_add(8) => {
            Some(Keeps::Bytes(at.into()))
        }
        [0x48, 0x81, 0xec, a, b, c, d, 0x48, 0x89, 0x6c, 0x24, at, ..]
            if number([a, b, c, d]) == Some(u64::from(at) + WORD) =>
        {
            Some(Keeps::Bytes(at.into()))
        }
        [0x48, 0x81, 0xec, a, b, c, d, 0x48, 0x89, 0xac, 0x24, e, f, g, h, ..] => {
            let at = number([e, f, g, h])?;
            (number([a, b, c, d]) == Some(at + WORD)).then_some(Keeps::Bytes(at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BANG: [u8; 7] = [0x89, 0x84, 0x24, 0, 0xc0, 0xfe, 0xff];

    /// What `code`, behind much that is none, tells at its end.
    fn at_end(code: &[&[u8]], behind: usize) -> Keeps {
        let bytes = [&vec![0x90; 3 * BLOCK - 3], &code.concat()[..], &vec![0x90; behind]].concat();
        keeps(bytes.len() as u64, |start| {
            let start = usize::try_from(start).unwrap();
            Some(bytes[start..bytes.len().min(start + READ)].into())
        })
    }

    #[test]
    fn the_instructions_that_make_a_frame_tell_its_size() {
        let push: &[u8] = &[0x55];
        let leaf = [0x48, 0x83, 0xec, 0x18, 0x48, 0x89, 0x6c, 0x24, 0x10];
        let large = [0x48, 0x81, 0xec, 0, 2, 0, 0, 0x48, 0x89, 0xac, 0x24, 0xf8, 1, 0, 0];
        let stub = [0x48, 0x81, 0xec, 8, 0, 0, 0, 0x48, 0x89, 0x2c, 0x24];
        for behind in [0, 1, 20, 2 * BLOCK] {
            for (code, expected) in [
                (&[&BANG, push, &[0x48, 0x83, 0xec, 0x30]][..], Keeps::Bytes(0x30)),
                (&[&BANG, push, &[0x48, 0x81, 0xec, 0x40, 1, 0, 0]], Keeps::Bytes(0x140)),
                (&[&BANG, push, &[0x48, 0x8b, 0xec]], Keeps::Pointer),
                (&[&leaf], Keeps::Bytes(0x10)),
                (&[&large], Keeps::Bytes(0x1f8)),
                (&[&stub], Keeps::Bytes(0)),
                (&[&BANG, push, &[0x48, 0x83, 0xec, 0x30], &leaf], Keeps::Bytes(0x10)),
                (&[&[0x48, 0x83, 0xec, 0x18]], Keeps::Pointer),
            ] {
                assert_eq!(at_end(code, behind), expected, "{code:x?} {behind}");
            }
        }
        assert_eq!(at_end(&[&BANG], 0), Keeps::Nothing);
        assert_eq!(at_end(&[&BANG, push], 0), Keeps::Bytes(0));
    }

    #[test]
    fn no_more_than_some_blocks_are_read() {
        let mut read = 0;
        let end = BLOCKS * 100 * BLOCK as u64;
        let found = keeps(end + 1, |_| {
            read += 1;
            Some([0x90; READ][..].into())
        });
        assert_eq!((found, read), (Keeps::Pointer, BLOCKS));
        assert_eq!(keeps(5, |_| Some([0x90; READ][..].into())), Keeps::Pointer);
        assert_eq!(keeps(end, |_| None), Keeps::Pointer);
    }
}
