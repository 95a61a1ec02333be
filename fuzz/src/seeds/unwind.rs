//! A stack of a few frames, and the unwind information of its functions: one
//! that moves the stack pointer, one with a frame pointer, one whose rules are
//! expressions, one that a signal interrupted, and one that nobody called.

/// DWARF numbers and opcodes, by their names there.
mod dwarf {
    pub(super) const BP: u8 = 6;
    pub(super) const SP: u8 = 7;
    pub(super) const PC: u8 = 16;
    pub(super) const ADVANCE: u8 = 0x40;
    pub(super) const OFFSET: u8 = 0x80;
    pub(super) const UNDEFINED: u8 = 0x07;
    pub(super) const REMEMBER: u8 = 0x0a;
    pub(super) const RESTORE: u8 = 0x0b;
    pub(super) const DEF_CFA: u8 = 0x0c;
    pub(super) const DEF_CFA_OFFSET: u8 = 0x0e;
    pub(super) const DEF_CFA_EXPRESSION: u8 = 0x0f;
    pub(super) const EXPRESSION: u8 = 0x10;
    pub(super) const VAL_EXPRESSION: u8 = 0x16;
    pub(super) const BREG: u8 = 0x70;
    pub(super) const DEREF: u8 = 0x06;
    pub(super) const PLUS_UCONST: u8 = 0x23;
}
use dwarf::*;

/// Bytes of each function's code.
const SIZE: u64 = 0x100;
const EH_FRAME: u64 = 0x10_0000;
const STACK: u64 = 0x7ff0_0000;

/// The same functions by `.eh_frame` and by `.debug_frame`.
pub(crate) fn stacks() -> Vec<Vec<u8>> {
    let (eh_frame, debug_frame) = (entries(true), entries(false));
    vec![
        [section(EH_FRAME, &eh_frame), section(0, &[]), section(0, &[]), stack()].concat(),
        [section(0, &[]), section(0, &[]), section(0, &debug_frame), stack()].concat(),
    ]
}

/// An ELF file with a segment of code and an `.eh_frame`.
pub(crate) fn images() -> Vec<Vec<u8>> {
    const HEADER: u64 = 64;
    const PART: u64 = 56;
    const NAMES: &[u8] = b"\0.eh_frame\0.shstrtab\0";
    let frames = entries(true);
    let (frames_at, names_at) = (HEADER + PART, HEADER + PART + frames.len() as u64);
    let sections_at = names_at + NAMES.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves = |numbers: &[u16]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>();
    let words = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>();
    let longs = |numbers: &[u64]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>();
    file.extend([halves(&[3, 62]), words(&[1]), longs(&[0, HEADER, sections_at])].concat());
    file.extend([words(&[0]), halves(&[64, 56, 1, 64, 3, 2])].concat());
    file.extend([words(&[1, 5]), longs(&[0, 0, 0, 0x1000, 0x1000, 0x1000])].concat());
    file.extend(&frames);
    file.extend(NAMES);
    file.extend([0; 64]);
    for (name, kind, address, at, size) in
        [(1, 1, EH_FRAME, frames_at, frames.len()), (11, 3, 0, names_at, NAMES.len())]
    {
        let place = longs(&[0, address, at, size as u64]);
        file.extend([words(&[name, kind]), place, words(&[0, 0]), longs(&[1, 0])].concat());
    }
    vec![file]
}

fn section(address: u64, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a small section");
    [&address.to_le_bytes()[..], &length.to_le_bytes(), bytes].concat()
}

/// Registers, then memory in which each function returns to the next.
fn stack() -> Vec<u8> {
    let inside = |function: u64| (function + 1) * SIZE + 0x20;
    let mut registers = [0; 17];
    registers[usize::from(SP)] = STACK;
    registers[usize::from(PC)] = inside(0);
    let mut memory = [0; 32];
    memory[2] = inside(1); // Behind 16 bytes of the first.
    memory[3] = STACK + 72; // The CFA of the second, and the third's frame pointer.
    memory[8] = inside(2);
    memory[10] = inside(3);
    memory[13] = inside(4); // Where the signal interrupted the last.
    memory[14] = STACK + 128; // Where the CFA of the fourth is.
    memory[16] = STACK + 160;
    registers.iter().chain(&memory).flat_map(|number: &u64| number.to_le_bytes()).collect()
}

/// A common entry and one for each function. `.eh_frame` and `.debug_frame`
/// differ in how they refer to the common entry.
fn entries(eh: bool) -> Vec<u8> {
    let first = [DEF_CFA, SP, 8, OFFSET | PC, 1];
    let mut bytes = Vec::new();
    common(&mut bytes, eh, b"\0", &first);
    let signal = common(&mut bytes, eh, b"S\0", &first);
    let functions: [(usize, &[u8]); 5] = [
        (0, &[ADVANCE | 4, REMEMBER, DEF_CFA_OFFSET, 24, ADVANCE | 40, RESTORE]),
        (0, &[DEF_CFA_EXPRESSION, 3, BREG | SP, 0, DEREF, EXPRESSION, BP, 2, BREG | SP, 0]),
        (0, &[ADVANCE | 1, DEF_CFA, BP, 16, OFFSET | BP, 2]),
        (
            signal,
            &[
                DEF_CFA_EXPRESSION,
                4,
                BREG | SP,
                24,
                DEREF,
                DEREF,
                EXPRESSION,
                PC,
                2,
                BREG | SP,
                16,
                VAL_EXPRESSION,
                SP,
                4,
                BREG | SP,
                8,
                PLUS_UCONST,
                8,
            ],
        ),
        (0, &[UNDEFINED, PC]),
    ];
    for (number, (common, instructions)) in (0..).zip(functions) {
        let at = bytes.len() + 4;
        let reference = if eh { at - common } else { common };
        let reference = u32::try_from(reference).expect("a small section");
        let begin: u64 = (number + 1) * SIZE;
        let body = [&begin.to_le_bytes(), &SIZE.to_le_bytes(), instructions].concat();
        entry(&mut bytes, reference, &body);
    }
    bytes
}

fn common(bytes: &mut Vec<u8>, eh: bool, augmentation: &[u8], instructions: &[u8]) -> usize {
    let at = bytes.len();
    // Version, augmentation, factors of code and data, return address.
    let body = [&[1], augmentation, &[1, 0x78, PC], instructions].concat();
    entry(bytes, if eh { 0 } else { u32::MAX }, &body);
    at
}

fn entry(bytes: &mut Vec<u8>, reference: u32, body: &[u8]) {
    let length = u32::try_from(body.len() + 4).expect("a small section");
    bytes.extend([&length.to_le_bytes()[..], &reference.to_le_bytes(), body].concat());
}
