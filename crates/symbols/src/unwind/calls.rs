//! The few x86-64 instructions that tell about frames.

use crate::unwind::walk::Code;

/// Bytes of the longest call instruction, prefix included.
pub(crate) const LONGEST: usize = 8;

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Of the function at this address.
    Direct(u64),
    /// Through a register or memory.
    Indirect,
}

/// The call that ends with `bytes`, just before `return_address`.
pub(crate) fn ending(bytes: &[u8], return_address: u64) -> Option<Call> {
    if let [.., 0xe8, a, b, c, d] = bytes {
        let distance = i32::from_le_bytes([*a, *b, *c, *d]);
        return Some(Call::Direct(return_address.wrapping_add_signed(distance.into())));
    }
    // Opcode ff with 2 in the middle of the byte behind it, which also says
    // how many bytes follow.
    let indirect = (2..LONGEST).any(|length| {
        let call = bytes.len().checked_sub(length).and_then(|at| bytes.get(at..));
        matches!(call, Some([0xff, operand, rest @ ..]) if operand >> 3 & 7 == 2 && operand_bytes(*operand, rest.first()) == rest.len())
    });
    indirect.then_some(Call::Indirect)
}

/// The call that returns to `return_address`.
pub(crate) fn before(code: &mut impl Code, return_address: u64) -> Option<Call> {
    let mut bytes = [0; LONGEST];
    let start = return_address.checked_sub(bytes.len() as u64)?;
    ending(code.bytes(start, &mut bytes)?, return_address)
}

/// Bytes of an operand behind its first.
fn operand_bytes(operand: u8, next: Option<&u8>) -> usize {
    let scaled = operand & 7 == 4;
    match operand >> 6 {
        0b11 => 0,
        0b10 => 4 + usize::from(scaled),
        0b01 => 1 + usize::from(scaled),
        _ if operand & 7 == 5 => 4,
        _ if scaled && next.is_some_and(|base| base & 7 == 5) => 5,
        _ => usize::from(scaled),
    }
}

/// How much `code` takes off the stack pointer, wherever it seems to.
pub(crate) fn frame_sizes(code: &[u8]) -> impl Iterator<Item = u64> {
    (0..code.len()).filter_map(|at| match code[at..] {
        [0x48, 0x83, 0xec, size, ..] => u64::try_from(size.cast_signed()).ok(),
        [0x48, 0x81, 0xec, a, b, c, d, ..] => u64::try_from(i32::from_le_bytes([a, b, c, d])).ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_by_their_last_bytes() {
        let ending = |bytes: &[u8]| super::ending(bytes, 0x1000);
        assert_eq!(ending(&[0x90, 0x90, 0xe8, 0x10, 0, 0, 0]), Some(Call::Direct(0x1010)));
        assert_eq!(ending(&[0xe8, 0xf0, 0xff, 0xff, 0xff]), Some(Call::Direct(0xff0)));
        for indirect in [
            &[0xff, 0xd0][..],                           // *%rax
            &[0x41, 0xff, 0xd4],                         // *%r12
            &[0xff, 0x10],                               // *(%rax)
            &[0xff, 0x50, 0x18],                         // *24(%rax)
            &[0xff, 0x90, 0x80, 1, 0, 0],                // *384(%rax)
            &[0xff, 0x15, 1, 2, 3, 4],                   // *GOT(%rip)
            &[0xff, 0x14, 0xc2],                         // *(%rdx,%rax,8)
            &[0xff, 0x54, 0x24, 0x08],                   // *8(%rsp)
            &[0xff, 0x94, 0x24, 0x08, 1, 0, 0],          // *264(%rsp)
            &[0x41, 0xff, 0x14, 0xc5, 0x10, 0x20, 3, 0], // *table(,%rax,8)
        ] {
            assert_eq!(ending(indirect), Some(Call::Indirect), "{indirect:x?}");
        }
        for other in [&[0xff, 0xe0][..], &[0xff, 0x25, 1, 2, 3, 4], &[0x90; 8], &[0xff], &[]] {
            assert_eq!(ending(other), None, "{other:x?}");
        }
    }

    #[test]
    fn frame_sizes_are_those_taken_off_the_stack_pointer() {
        let sizes = |code: &[u8]| frame_sizes(code).collect::<Vec<_>>();
        let small = [0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x18, 0x90, 0x90, 0x90];
        assert_eq!(sizes(&small), [0x18]);
        assert_eq!(sizes(&[0x48, 0x81, 0xec, 0, 0x10, 0, 0]), [0x1000]);
        assert_eq!(sizes(&[0x48, 0x83, 0xec, 0x80, 0, 0, 0]), [0u64; 0], "that adds");
    }
}
