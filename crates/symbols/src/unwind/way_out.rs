//! The step over code that nothing describes, when the way back to its caller is
//! straight: the instructions from here to the `ret` say where the return address is.
//! CPython's trampolines (`-X perf`) are such code, what Go calls C with and is called by,
//! and every end of a function.

use whyslow_events::StackMemory;

use crate::unwind::registers::{BP, BX, PC, PRESERVED_NUMBERS, Registers, SP};
use crate::unwind::walk::{Frame, From};

/// Bytes of code that are looked at: a few instructions.
pub(crate) const REACH: usize = 32;

/// Bytes of a word.
const WORD: i64 = 8;

/// Where a function's caller finds what is its own, from the stack pointer on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    return_address: u64,
    /// Where each of [`PRESERVED_NUMBERS`] is saved, if it is.
    saved: [Option<u64>; PRESERVED_NUMBERS.len()],
}

/// The caller of `frame`, whose next instructions are `code`; `None` when they do
/// not lead straight to it.
pub(crate) fn caller(frame: &Frame, code: &[u8], stack: StackMemory<'_>) -> Option<Frame> {
    let way = way(code)?;
    let sp = frame.registers.get(SP)?;
    let word = |offset| stack.word(sp.checked_add(offset)?);
    let mut registers: Registers = frame.registers;
    registers.keep_preserved();
    for (number, saved) in PRESERVED_NUMBERS.into_iter().zip(way.saved) {
        if let Some(saved) = saved {
            registers.set(number, Some(word(saved)?));
        }
    }
    registers.set(PC, Some(word(way.return_address).filter(|address| *address != 0)?));
    registers.set(SP, sp.checked_add(way.return_address + WORD.cast_unsigned()));
    Some(Frame { registers, from: From::Call })
}

/// Follows `code` to its `ret`. A call comes back with the stack as it was.
fn way(mut code: &[u8]) -> Option<Way> {
    let mut sp = 0i64;
    let mut saved = [None; PRESERVED_NUMBERS.len()];
    // What was pushed on this very way is in the register still.
    let mut pop = |number: u8, sp: i64| {
        let at = PRESERVED_NUMBERS.iter().position(|it| *it == number)?;
        saved[at] = u64::try_from(sp).ok();
        Some(())
    };
    loop {
        let (length, moved) = match code {
            [0xc3, ..] => {
                let return_address = u64::try_from(sp).ok()?;
                return Some(Way { return_address, saved });
            }
            [0xf3, 0x0f, 0x1e, 0xfa, ..] => (4, 0), // endbr64
            [0x55, ..] => (1, -WORD),               // push %rbp
            [0x48, 0x89, 0xe5, ..] => (3, 0),       // mov %rsp,%rbp
            [0xff, 0xd0..=0xd7, ..] => (2, 0),      // call *%reg
            [0x31, 0xc0, ..] => (2, 0),             // xor %eax,%eax
            [number @ (0x5b | 0x5d), ..] => {
                // pop %rbx, pop %rbp
                pop(if *number == 0x5b { BX } else { BP }, sp)?;
                (1, WORD)
            }
            [0x41, number @ 0x5c..=0x5f, ..] => {
                // pop %r12 to %r15
                pop(12 + (number - 0x5c), sp)?;
                (2, WORD)
            }
            [0x48, 0x83, 0xec, size, ..] => (4, -i64::from(size.cast_signed())),
            [0x48, 0x83, 0xc4, size, ..] => (4, i64::from(size.cast_signed())),
            [0x48, 0x81, 0xc4, a, b, c, d, ..] => {
                (7, i64::from(i32::from_le_bytes([*a, *b, *c, *d])))
            }
            _ => return None,
        };
        sp = sp.checked_add(moved)?;
        code = code.get(length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way_of(code: &[u8]) -> Option<(u64, Option<u64>)> {
        way(code).map(|way| (way.return_address, way.saved[0]))
    }

    #[test]
    fn each_instruction_of_a_trampoline_leads_out() {
        // sub $8,%rsp; call *%rcx; add $8,%rsp; ret
        let code = [0x48, 0x83, 0xec, 8, 0xff, 0xd1, 0x48, 0x83, 0xc4, 8, 0xc3];
        let ways = [0, 4, 6, 10].map(|at| way_of(&code[at..]).unwrap().0);
        assert_eq!(ways, [0, 8, 8, 0]);
        // endbr64; push %rbp; mov %rsp,%rbp; call *%rcx; pop %rbp; ret
        let code =
            [0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48, 0x89, 0xe5, 0xff, 0xd1, 0x5d, 0xc3, 0x90, 0x90];
        let ways = [0, 4, 5, 8, 10, 11].map(|at| way_of(&code[at..]).unwrap());
        let inside = (8, Some(0));
        assert_eq!(ways, [(0, None), (0, None), inside, inside, inside, (0, None)]);
    }

    #[test]
    fn what_was_pushed_before_is_given_back() {
        // call *%rdi; xor %eax,%eax; pop %r15, %r14, %r13, %r12, %rbp, %rbx; ret
        let code = [
            0xff, 0xd7, 0x31, 0xc0, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b,
            0xc3, 0x90,
        ];
        let way = way(&code).unwrap();
        assert_eq!(PRESERVED_NUMBERS, [BP, BX, 12, 13, 14, 15]);
        assert_eq!(way.saved, [32, 40, 24, 16, 8, 0].map(Some));
        assert_eq!(way.return_address, 48);
    }

    #[test]
    fn what_does_not_lead_straight_out_leads_nowhere() {
        for code in [
            &[][..],
            &[0x48, 0x83, 0xc4],             // cut
            &[0x48, 0x83, 0xc4, 8],          // ends before its ret
            &[0x48, 0x83, 0xec, 8, 0xc3],    // takes, and does not give back
            &[0xeb, 0x10, 0xc3],             // jmp
            &[0x5c, 0xc3],                   // pop %rsp
            &[0x48, 0x83, 0xc4, 0x80, 0xc3], // adds a negative number
        ] {
            assert_eq!(way_of(code), None, "{code:x?}");
        }
    }
}
