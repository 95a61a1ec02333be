//! The program that the kernel runs where a thread leaves its CPU: it writes a record, as
//! `record::told` reads it. That tells what the tracepoint tells, and costs the target a
//! third less: names are not copied, and registers not each by calls of its own.

use super::types::Types;
use crate::arch::Registers;
use crate::perf::record::told::LEFT;

/// Numbers of the kernel's functions (`enum bpf_func_id`, linux/bpf.h).
const OUTPUT: i32 = 25;
const REGISTERS: i32 = 175;

/// `PF_KTHREAD` and `PF_IO_WORKER` (linux/sched.h): threads without user code.
const NO_USER_CODE: i32 = 0x0020_0010;
/// The event of this CPU (`BPF_F_CURRENT_CPU`).
const THIS_CPU: i32 = -1;

/// Registers of the machine that runs the program. Those up to `E` do not outlive a call,
/// whose arguments are in `A` and the next; its result is in `RESULT`.
const RESULT: u8 = 0;
const A: u8 = 1;
const B: u8 = 2;
const C: u8 = 3;
const D: u8 = 4;
const E: u8 = 5;
const CONTEXT: u8 = 6;
const THREAD: u8 = 7;
/// Behind the last byte of the record, which is put together below it.
const END: u8 = 10;

/// Sizes of what is loaded and stored.
const HALF: u8 = 0x08;
const WORD: u8 = 0x00;
const DOUBLE: u8 = 0x18;

/// A switch is told as: who leaves, who comes, in which state and in which code segment, and
/// the registers. `table` is the descriptor of the events to write to.
pub(super) fn at_switch(types: &Types, table: i32) -> Vec<u64> {
    const PREEMPTED: i16 = 0;
    const PREVIOUS: i16 = 8;
    const NEXT: i16 = 16;
    const STATE: i16 = 24;
    let to = |at: usize| at as i16 - LEFT as i16;
    let mut code = vec![
        copy(CONTEXT, A),
        load(DOUBLE, THREAD, CONTEXT, PREVIOUS),
        load(WORD, A, THREAD, types.pid),
        store(WORD, to(0), A),
        load(DOUBLE, A, CONTEXT, NEXT),
        load(WORD, A, A, types.pid),
        store(WORD, to(4), A),
        // Who is preempted was about to wait, perhaps, and has not done so.
        load(DOUBLE, A, CONTEXT, STATE),
        load(WORD, B, THREAD, types.exit_state),
        with(A, B),
        load(DOUBLE, B, CONTEXT, PREEMPTED),
        skip_if_zero(B, 1),
        set(A, 0),
        store(HALF, to(8), A),
        copy(A, THREAD),
        call(REGISTERS),
        load(WORD, B, THREAD, types.flags),
        set(A, 0),
        skip_if_any(B, NO_USER_CODE, 1),
        load(HALF, A, RESULT, Registers::SEGMENT_IN_FRAME),
        store(HALF, to(10), A),
    ];
    for (number, at) in Registers::IN_FRAME.into_iter().enumerate() {
        code.extend([load(DOUBLE, A, RESULT, at), store(DOUBLE, to(12 + 8 * number), A)]);
    }
    code.extend(write(LEFT, table));
    code
}

/// Writes the record of so many bytes below `END`, and ends the program.
fn write(bytes: usize, table: i32) -> Vec<u64> {
    let length = bytes as i32;
    let [low, high] = table_at(B, table);
    let arguments = [copy(A, CONTEXT), low, high, set32(C, THIS_CPU), copy(D, END)];
    let rest = [add(D, -length), set(E, length), call(OUTPUT)];
    [&arguments[..], &rest, &end()].concat()
}

fn end() -> [u64; 2] {
    const EXIT: u8 = 0x95;
    [set(RESULT, 0), instruction(EXIT, 0, 0, 0, 0)]
}

fn table_at(to: u8, descriptor: i32) -> [u64; 2] {
    const BY_DESCRIPTOR: u8 = 1;
    [instruction(0x18, to, BY_DESCRIPTOR, 0, descriptor), 0]
}

fn load(size: u8, to: u8, from: u8, offset: i16) -> u64 {
    instruction(0x61 | size, to, from, offset, 0)
}

fn store(size: u8, to: i16, from: u8) -> u64 {
    instruction(0x63 | size, END, from, to, 0)
}

fn copy(to: u8, from: u8) -> u64 {
    instruction(0xbf, to, from, 0, 0)
}

fn set(to: u8, value: i32) -> u64 {
    instruction(0xb7, to, 0, 0, value)
}

/// The same, without the sign.
fn set32(to: u8, value: i32) -> u64 {
    instruction(0xb4, to, 0, 0, value)
}

fn add(to: u8, value: i32) -> u64 {
    instruction(0x07, to, 0, 0, value)
}

/// The bits of both.
fn with(to: u8, other: u8) -> u64 {
    instruction(0x4f, to, other, 0, 0)
}

/// Goes over the next instructions if the register is zero.
fn skip_if_zero(register: u8, count: i16) -> u64 {
    instruction(0x15, register, 0, count, 0)
}

/// Goes over the next instructions if one of the bits is set.
fn skip_if_any(register: u8, bits: i32, count: i16) -> u64 {
    instruction(0x45, register, 0, count, bits)
}

fn call(function: i32) -> u64 {
    instruction(0x85, 0, 0, 0, function)
}

/// `struct bpf_insn` (linux/bpf.h): what, with which registers, offset, value.
fn instruction(code: u8, target: u8, source: u8, offset: i16, value: i32) -> u64 {
    let [low, high] = offset.to_ne_bytes();
    let [a, b, c, d] = value.to_ne_bytes();
    u64::from_ne_bytes([code, target | source << 4, low, high, a, b, c, d])
}
