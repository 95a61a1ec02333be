//! What the fuzzer calls: the walk over unwind information and a stack that
//! are bent, with no file opened and no panic caught.

use std::rc::Rc;

use gimli::UnwindContext;
use whyslow_events::{SpaceId, StackMemory, Unwound};

use crate::unwind::image::Image;
use crate::unwind::java::Keeps;
use crate::unwind::memory::Piece;
use crate::unwind::registers::{PC, Registers, SP};
use crate::unwind::table::{Section, Sections, Table};
use crate::unwind::trail::{Along, Trails};
use crate::unwind::walk::{self, Code, Known};

/// Unwinds a stack. `input` is three sections (`.eh_frame`, `.eh_frame_hdr`,
/// `.debug_frame`), each behind its address (8 bytes) and its length (2);
/// then 17 registers, the program counter last; then the stack, which may or may
/// not be whole.
pub fn unwind(input: &[u8]) -> [Unwound; 2] {
    let mut rest = input;
    let mut section = || {
        let address = number(&mut rest);
        let (length, behind) = rest.split_first_chunk().unwrap_or((&[0; 2], &[]));
        let (bytes, behind) = behind.split_at(behind.len().min(u16::from_le_bytes(*length).into()));
        rest = behind;
        Section { address, bytes: bytes.to_vec() }
    };
    let (eh_frame, eh_frame_hdr, debug_frame) = (section(), section(), section());
    let sections = Sections { eh_frame, eh_frame_hdr, debug_frame, text: 0, got: 0 };
    let mut registers = Registers::default();
    for register in 0..=PC {
        registers.set(register, Some(number(&mut rest)));
    }
    let start = registers.get(SP).unwrap_or_default();
    let mut code = OneFile { table: Table::new(sections), context: UnwindContext::new() };
    let (mut trails, space) = (Trails::default(), SpaceId(0));
    [false, true].map(|whole| {
        let stack = StackMemory { start, bytes: rest, whole, later: None };
        let chain = walk::walk(&mut code, registers, stack, &mut Along::default());
        assert!((1..=walk::DEEPEST).contains(&chain.addresses.len()), "{chain:?}");
        // Beside other walks it is the same.
        for half in [stack.bytes.len() / 2, stack.bytes.len()] {
            let part = StackMemory { bytes: &stack.bytes[..half], ..stack };
            let mut along = trails.along(space, part);
            let beside = walk::walk(&mut code, registers, part, &mut along);
            trails.keep(space, along, part, &beside);
            assert!(half < stack.bytes.len() || beside == chain, "{beside:?} {chain:?}");
        }
        chain
    })
}

/// Reads an ELF image, and asks it for the rule at each place of its code.
pub fn image(input: &[u8]) {
    const PLACES: u64 = 64;
    let Some(image) = Image::parse(input) else { return };
    let mut context = UnwindContext::new();
    for offset in (0..input.len() as u64).step_by(input.len().div_ceil(PLACES as usize)) {
        if let Some(address) = image.address_of(offset) {
            let _ = image.table.rule(address, &mut context);
        }
    }
}

/// The next eight bytes; zero when they are not there.
fn number(rest: &mut &[u8]) -> u64 {
    let Some((number, behind)) = rest.split_first_chunk() else { return 0 };
    *rest = behind;
    u64::from_le_bytes(*number)
}

/// A space in which all of the lower half is one file, linked where it is.
struct OneFile {
    table: Table,
    context: UnwindContext<usize>,
}

impl Code for OneFile {
    fn at(&mut self, address: u64) -> Known {
        match self.table.rule(address, &mut self.context) {
            _ if address >> 63 != 0 => Known::Nothing,
            Ok(Some(rule)) => {
                let function = rule.function;
                Known::Rule(Rc::new(rule), function)
            }
            Ok(None) => Known::Code,
            Err(_) => Known::Broken,
        }
    }

    /// Calls, all of them.
    fn bytes<'a>(&mut self, _: u64, bytes: &'a mut [u8]) -> Option<&'a [u8]> {
        bytes.fill(0xe8);
        Some(bytes)
    }

    /// A trampoline, wherever there is no rule and the address is odd.
    fn in_memory(&mut self, address: u64) -> Option<Piece> {
        let mut piece = Piece::default();
        piece[..5].copy_from_slice(&[0x48, 0x83, 0xc4, 8, 0xc3]);
        (address & 1 == 1).then_some(piece)
    }

    /// Every fourth byte is a JVM's, with frames of all sizes.
    fn java(&mut self, address: u64) -> Option<Keeps> {
        (address & 3 == 2).then_some(match address >> 2 & 3 {
            0 => Keeps::Pointer,
            1 => Keeps::Nothing,
            2 => Keeps::Bytes(address >> 4 & 0xff),
            _ => Keeps::Bytes(address),
        })
    }
}
