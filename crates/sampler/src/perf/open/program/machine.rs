//! Instructions of the machine that runs programs in the kernel
//! (Documentation/bpf/standardization/instruction-set.rst). Those up to `E` of its registers
//! do not outlive a call, whose arguments are in `A` and the next; its result is in `RESULT`.

pub(super) const RESULT: u8 = 0;
pub(super) const A: u8 = 1;
pub(super) const B: u8 = 2;
pub(super) const C: u8 = 3;
pub(super) const D: u8 = 4;
pub(super) const E: u8 = 5;
/// Those that do.
pub(super) const F: u8 = 6;
pub(super) const G: u8 = 7;
pub(super) const H: u8 = 8;
pub(super) const I: u8 = 9;
/// Behind the last byte of the program's own memory.
pub(super) const END: u8 = 10;

/// Sizes of what is loaded and stored.
pub(super) const HALF: u8 = 0x08;
pub(super) const WORD: u8 = 0x00;
pub(super) const DOUBLE: u8 = 0x18;

pub(super) fn end() -> [u64; 2] {
    const EXIT: u8 = 0x95;
    [set(RESULT, 0), instruction(EXIT, 0, 0, 0, 0)]
}

/// A table, as the argument of a call.
pub(super) fn table_at(to: u8, descriptor: i32) -> [u64; 2] {
    const BY_DESCRIPTOR: u8 = 1;
    [instruction(0x18, to, BY_DESCRIPTOR, 0, descriptor), 0]
}

/// Where the first value of a table is.
pub(super) fn first_of(to: u8, descriptor: i32) -> [u64; 2] {
    const VALUE: u8 = 2;
    [instruction(0x18, to, VALUE, 0, descriptor), 0]
}

pub(super) fn load(size: u8, to: u8, from: u8, offset: i16) -> u64 {
    instruction(0x61 | size, to, from, offset, 0)
}

pub(super) fn store(size: u8, base: u8, offset: i16, from: u8) -> u64 {
    instruction(0x63 | size, base, from, offset, 0)
}

pub(super) fn copy(to: u8, from: u8) -> u64 {
    instruction(0xbf, to, from, 0, 0)
}

pub(super) fn set(to: u8, value: i32) -> u64 {
    instruction(0xb7, to, 0, 0, value)
}

/// The same, without the sign.
pub(super) fn set32(to: u8, value: i32) -> u64 {
    instruction(0xb4, to, 0, 0, value)
}

pub(super) fn add(to: u8, value: i32) -> u64 {
    instruction(0x07, to, 0, 0, value)
}

pub(super) fn add_register(to: u8, other: u8) -> u64 {
    instruction(0x0f, to, other, 0, 0)
}

pub(super) fn subtract(from: u8, other: u8) -> u64 {
    instruction(0x1f, from, other, 0, 0)
}

pub(super) fn multiply(register: u8, by: i32) -> u64 {
    instruction(0x27, register, 0, 0, by)
}

pub(super) fn shift_left(register: u8, by: i32) -> u64 {
    instruction(0x67, register, 0, 0, by)
}

pub(super) fn shift_right(register: u8, by: i32) -> u64 {
    instruction(0x77, register, 0, 0, by)
}

/// The bits in which both differ.
pub(super) fn differ(register: u8, other: u8) -> u64 {
    instruction(0xaf, register, other, 0, 0)
}

/// The bits of both.
pub(super) fn with(to: u8, other: u8) -> u64 {
    instruction(0x4f, to, other, 0, 0)
}

/// Goes over the next instructions if the register is zero.
pub(super) fn skip_if_zero(register: u8, count: usize) -> u64 {
    instruction(0x15, register, 0, distance(count), 0)
}

/// Goes over the next instructions if the register is another number.
pub(super) fn skip_unless(register: u8, value: i32, count: usize) -> u64 {
    instruction(0x55, register, 0, distance(count), value)
}

/// Goes over the next instructions if one of the bits is set.
pub(super) fn skip_if_any(register: u8, bits: i32, count: usize) -> u64 {
    instruction(0x45, register, 0, distance(count), bits)
}

/// Goes over the next instructions if the register is not the same as another.
pub(super) fn skip_unless_same(register: u8, other: u8, count: usize) -> u64 {
    instruction(0x5d, register, other, distance(count), 0)
}

/// Goes over the next instructions if the register is more than another.
pub(super) fn skip_if_more(register: u8, other: u8, count: usize) -> u64 {
    instruction(0x2d, register, other, distance(count), 0)
}

/// Goes over the next instructions if the register is less than another.
pub(super) fn skip_if_less(register: u8, other: u8, count: usize) -> u64 {
    instruction(0xad, register, other, distance(count), 0)
}

/// Goes over the next instructions if the register is no more than another.
pub(super) fn skip_unless_more(register: u8, other: u8, count: usize) -> u64 {
    instruction(0xbd, register, other, distance(count), 0)
}

/// Goes over the next instructions.
pub(super) fn skip(count: usize) -> u64 {
    instruction(0x05, 0, 0, distance(count), 0)
}

/// What is done if the register is not zero.
pub(super) fn unless_zero(register: u8, then: &[u64]) -> Vec<u64> {
    [&[skip_if_zero(register, then.len())], then].concat()
}

/// The same, and what is done if it is.
pub(super) fn either(register: u8, then: &[u64], if_zero: &[u64]) -> Vec<u64> {
    let over = [skip(if_zero.len())];
    [&[skip_if_zero(register, then.len() + 1)], then, &over, if_zero].concat()
}

pub(super) fn call(function: i32) -> u64 {
    instruction(0x85, 0, 0, 0, function)
}

fn distance(count: usize) -> i16 {
    i16::try_from(count).expect("no program of ours is so long")
}

/// `struct bpf_insn` (linux/bpf.h): what, with which registers, offset, value.
fn instruction(code: u8, target: u8, source: u8, offset: i16, value: i32) -> u64 {
    let [low, high] = offset.to_ne_bytes();
    let [a, b, c, d] = value.to_ne_bytes();
    u64::from_ne_bytes([code, target | source << 4, low, high, a, b, c, d])
}
