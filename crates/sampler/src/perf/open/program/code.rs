//! The program that the kernel runs where a thread leaves its CPU: it writes a record, as
//! `record::told` reads it. That tells what the tracepoint tells, and costs the target a
//! third less: names are not copied, and registers not each by calls of its own.

use super::machine::{
    A, B, C, D, DOUBLE, E, END, F as CONTEXT, G as THREAD, HALF, RESULT, WORD, add, call, copy,
    end, load, set, set32, skip_if_any, skip_if_zero, store, table_at, with,
};
use super::types::Types;
use crate::arch::Registers;
use crate::perf::record::told::LEFT;

/// Numbers of the kernel's functions (`enum bpf_func_id`, linux/bpf.h).
const OUTPUT: i32 = 25;
pub(super) const REGISTERS: i32 = 175;

/// `PF_KTHREAD` and `PF_IO_WORKER` (linux/sched.h): threads without user code.
const NO_USER_CODE: i32 = 0x0020_0010;
/// The event of this CPU (`BPF_F_CURRENT_CPU`).
const THIS_CPU: i32 = -1;

/// Where the arguments of the tracepoint are.
pub(super) const PREEMPTED: i16 = 0;
const PREVIOUS: i16 = 8;
pub(super) const NEXT: i16 = 16;
pub(super) const STATE: i16 = 24;

/// Puts the thread that leaves into `THREAD`, and the arguments into `CONTEXT`.
pub(super) fn begin() -> [u64; 2] {
    [copy(CONTEXT, A), load(DOUBLE, THREAD, CONTEXT, PREVIOUS)]
}

/// A switch is told as: who leaves, who comes, in which state and in which code segment, for
/// how long the one that leaves has had a CPU so far, and the registers. `table` is the descriptor of the events to write to.
pub(super) fn tell(types: &Types, table: i32) -> Vec<u64> {
    let to = |at: usize| at as i16 - LEFT as i16;
    let mut code = vec![
        load(WORD, A, THREAD, types.pid),
        store(WORD, END, to(0), A),
        load(DOUBLE, A, CONTEXT, NEXT),
        load(WORD, A, A, types.pid),
        store(WORD, END, to(4), A),
        load(DOUBLE, A, THREAD, types.ran),
        store(DOUBLE, END, to(12), A),
    ];
    code.extend(state_and_frame(types, END, to(8)));
    for (number, at) in Registers::IN_FRAME.into_iter().enumerate() {
        code.extend([load(DOUBLE, A, RESULT, at), store(DOUBLE, END, to(20 + 8 * number), A)]);
    }
    code.extend(output(LEFT, table));
    code.extend(end());
    code
}

/// Stores the state in which `THREAD` leaves at `base` + `at`, and its code segment behind
/// it. Its registers as it came into the kernel are at `RESULT` then.
pub(super) fn state_and_frame(types: &Types, base: u8, at: i16) -> [u64; 14] {
    [
        // Who is preempted was about to wait, perhaps, and has not done so.
        load(DOUBLE, A, CONTEXT, STATE),
        load(WORD, B, THREAD, types.exit_state),
        with(A, B),
        load(DOUBLE, B, CONTEXT, PREEMPTED),
        skip_if_zero(B, 1),
        set(A, 0),
        store(HALF, base, at, A),
        copy(A, THREAD),
        call(REGISTERS),
        load(WORD, B, THREAD, types.flags),
        set(A, 0),
        skip_if_any(B, NO_USER_CODE, 1),
        load(HALF, A, RESULT, Registers::SEGMENT_IN_FRAME),
        store(HALF, base, at + 2, A),
    ]
}

/// Writes the record of so many bytes below `END` with the event of this CPU.
pub(super) fn output(bytes: usize, table: i32) -> Vec<u64> {
    let length = bytes as i32;
    let [low, high] = table_at(B, table);
    let arguments = [copy(A, CONTEXT), low, high, set32(C, THIS_CPU), copy(D, END)];
    let rest = [add(D, -length), set(E, length), call(OUTPUT)];
    [&arguments[..], &rest].concat()
}
