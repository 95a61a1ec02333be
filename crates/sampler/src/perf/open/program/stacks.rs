//! Whose stacks the program takes: of the target's threads that are about to wait, those at a
//! place where they were not seen before, and of the others each with the same chance. To
//! take a stack costs ten times what the rest of the program does, and an event of its own
//! that the kernel asks at each switch whether it wants one costs more than the stacks.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use perf_event_open::count::Counter;

use super::code::{PREEMPTED, REGISTERS, STATE, output};
use super::machine::{
    A, B, C, D, DOUBLE, END, F as CONTEXT, G as THREAD, H as PLACE, I as SEEN, RESULT, WORD, add,
    add_register, call, copy, differ, first_of, load, multiply, set, shift_left, shift_right, skip,
    skip_if_any, skip_if_less, skip_if_more, skip_if_zero, skip_unless, skip_unless_more,
    skip_unless_same, store,
};
use super::types::Types;
use crate::arch::Registers;
use crate::perf::threads::{RANGES, Threads};
use crate::sys::{Cell, enter_event, event_table};

/// Number of the kernel's function (`enum bpf_func_id`, linux/bpf.h).
const RANDOM: i32 = 7;
/// The states of a thread that waits, and is none of the kernel's own workers (0x80).
const WAITS: i32 = 0x7f;

/// Offsets in what is allowed: stacks until more are, and the chance.
const MOST: i16 = 0;
const CHANCE: i16 = 4;

/// Places that are remembered, each where its upper bits say: what another puts there is
/// seen anew, which costs a stack.
const PLACES: usize = 1 << PLACE_BITS;
const PLACE_BITS: i32 = 16;
/// Scatters what is multiplied by it over the upper bits (Knuth, The Art of Computer
/// Programming, 6.4): 2^32 by the golden ratio.
const SCATTER: i32 = 0x9e37_79b1_u32 as i32;

/// What the program knows of it.
#[derive(Debug)]
pub(in crate::perf::open) struct Stacks {
    /// The event of each CPU that takes them.
    table: OwnedFd,
    threads: Cell<{ 1 + RANGES }>,
    allowed: Cell<1>,
    seen: Cell<PLACES>,
}

impl Stacks {
    /// Of no thread yet, on so many CPUs at most.
    pub(super) fn new(cpus: u32) -> nix::Result<Stacks> {
        Ok(Stacks {
            table: event_table(cpus)?,
            threads: Cell::new()?,
            allowed: Cell::new()?,
            seen: Cell::new()?,
        })
    }

    /// Takes them with this event on a CPU.
    pub(super) fn take_with(&self, cpu: u32, event: &Counter) -> nix::Result<()> {
        enter_event(self.table.as_fd(), cpu, event.file())
    }

    /// Takes those of these threads from now on.
    pub(in crate::perf::open) fn take_of(&self, threads: &Threads) -> nix::Result<()> {
        self.threads.set(&threads.numbers())
    }

    /// Takes that of a wait where there was one before with a chance of so many in 2^32, and
    /// so many at most before more are allowed.
    pub(in crate::perf::open) fn allow(&self, chance: u32, most: u32) -> nix::Result<()> {
        self.allowed.set(&[u64::from(chance) << 32 | u64::from(most)])
    }
}

/// Takes the stack of `THREAD`, which leaves, or does not, and goes on behind this.
pub(super) fn take(types: &Types, stacks: &Stacks) -> Vec<u64> {
    let if_ours = if_ours(types, stacks, &at_place(types, stacks));
    let waits = [load(DOUBLE, A, CONTEXT, STATE), skip_if_any(A, WAITS, 1), skip(if_ours.len())];
    let if_waits = [&waits[..], &if_ours].concat();
    let preempted = [load(DOUBLE, A, CONTEXT, PREEMPTED), skip_if_zero(A, 1), skip(if_waits.len())];
    [&preempted[..], &if_waits].concat()
}

/// What is done if `THREAD` is one of those whose stacks are taken.
fn if_ours(types: &Types, stacks: &Stacks, then: &[u64]) -> Vec<u64> {
    const OF_RANGE: usize = 4;
    let [low, high] = first_of(C, stacks.threads.descriptor());
    let ranges = RANGES * OF_RANGE + 1;
    let mut code = vec![low, high, load(WORD, D, THREAD, types.pid)];
    code.extend([load(WORD, A, C, 0), skip_if_more(D, A, ranges)]);
    for range in 0..RANGES {
        let at = 8 + 8 * range as i16;
        // Of this range two are left behind the first skip, and none behind the second.
        let left = ranges - OF_RANGE * (range + 1);
        code.extend([load(WORD, A, C, at), skip_if_less(D, A, left + 2 + then.len())]);
        code.extend([load(WORD, A, C, at + 4), skip_unless_more(D, A, left)]);
    }
    code.push(skip(then.len()));
    code.extend(then);
    code
}

/// Takes the stack where that is to be done at the place where `THREAD` is.
fn at_place(types: &Types, stacks: &Stacks) -> Vec<u64> {
    let [.., sp, pc] = Registers::IN_FRAME;
    let [low, high] = first_of(SEEN, stacks.seen.descriptor());
    let place = [
        copy(A, THREAD),
        call(REGISTERS),
        load(DOUBLE, PLACE, RESULT, sp),
        load(WORD, A, THREAD, types.pid),
        add_register(PLACE, A),
        multiply(PLACE, SCATTER),
        load(DOUBLE, A, RESULT, pc),
        differ(PLACE, A),
        multiply(PLACE, SCATTER),
        low,
        high,
        copy(A, PLACE),
        shift_right(A, 64 - PLACE_BITS),
        shift_left(A, 3),
        add_register(SEEN, A),
    ];
    let [low, high] = first_of(B, stacks.allowed.descriptor());
    let taken = [
        &[low, high, load(WORD, A, B, MOST), add(A, -1), store(WORD, B, MOST, A)][..],
        // The event takes a stack; of what is written with it nothing, but that must be there.
        &[set(A, 0), store(DOUBLE, END, -8, A)],
        &output(8, stacks.table.as_raw_fd()),
        &[skip_unless(RESULT, 0, 1), store(DOUBLE, SEEN, 0, PLACE)],
    ]
    .concat();
    let by_chance =
        [call(RANDOM), low, high, load(WORD, A, B, CHANCE), skip_if_more(RESULT, A, taken.len())];
    let if_known = [load(DOUBLE, A, SEEN, 0), skip_unless_same(A, PLACE, by_chance.len())];
    let rest = if_known.len() + by_chance.len() + taken.len();
    let if_allowed = [low, high, load(WORD, A, B, MOST), skip_if_zero(A, rest)];
    [&place[..], &if_allowed, &if_known, &by_chance, &taken].concat()
}
