//! Walks beside other walks, compared with walks alone, through stacks that grow, shrink and
//! change as those of a program do.

use std::ops::Range;
use std::rc::Rc;

use whyslow_events::{Unwound, UserRegisters};

use super::*;
use crate::unwind::java::Keeps;
use crate::unwind::memory::Piece;
use crate::unwind::rule::Rule;
use crate::unwind::walk::{Code, Known, walk};

const TOP: u64 = 0x8_0000;
const FUNCTION: u64 = 0x1000;
const LENGTH: u64 = 0x100;
const FUNCTIONS: u64 = 12;
const RBX: u8 = 3;
const SPACE: SpaceId = SpaceId(1);

/// Functions with frames of all sizes, of which every third saves a register. The first is that
/// in which the stack begins. Counts how often it is asked.
#[derive(Default)]
struct Program(usize);

impl Program {
    /// Of a frame of this function, in bytes.
    fn size(function: u64) -> u64 {
        16 * (2 + function % 5)
    }
}

impl Code for Program {
    fn at(&mut self, address: u64) -> Known {
        self.0 += 1;
        let Some(function) = address.checked_sub(FUNCTION).map(|past| past / LENGTH) else {
            return Known::Nothing;
        };
        match function {
            0 => Known::First,
            1..FUNCTIONS => {
                let size = i64::try_from(Program::size(function)).unwrap();
                let begin = FUNCTION + function * LENGTH;
                let saves = function.is_multiple_of(3).then_some(RBX);
                Known::Rule(Rc::new(Rule::of_frame(begin, size, saves)), begin)
            }
            _ => Known::Nothing,
        }
    }

    fn bytes<'a>(&mut self, _: u64, _: &'a mut [u8]) -> Option<&'a [u8]> {
        None
    }

    fn in_memory(&mut self, _: u64) -> Option<Piece> {
        None
    }

    fn java(&mut self, _: u64) -> Option<Keeps> {
        None
    }
}

/// Numbers without order, the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

/// A thread in the middle of calls.
struct Thread {
    memory: Vec<u8>,
    sp: u64,
    /// Functions and the stack pointers before they were called, innermost last.
    calls: Vec<(u64, u64)>,
    chance: Chance,
}

impl Thread {
    fn new() -> Self {
        let memory = vec![0; TOP as usize];
        Thread { memory, sp: TOP - 64, calls: vec![(0, TOP)], chance: Chance(1) }
    }

    fn write(&mut self, address: u64, word: u64) {
        let at = usize::try_from(address).unwrap();
        self.memory[at..at + 8].copy_from_slice(&word.to_ne_bytes());
    }

    fn call(&mut self) {
        let function = 1 + self.chance.below(FUNCTIONS - 1);
        let (caller, _) = *self.calls.last().unwrap();
        let place = FUNCTION + caller * LENGTH + 16 * (1 + self.chance.below(4));
        self.calls.push((function, self.sp));
        let size = Program::size(function);
        self.write(self.sp - 8, place);
        let saved = self.chance.below(3);
        self.write(self.sp - 16, saved);
        self.sp -= size;
    }

    fn give_back(&mut self) {
        if self.calls.len() > 1
            && let Some((_, sp)) = self.calls.pop()
        {
            self.sp = sp;
        }
    }

    /// Changes something that is no return address, anywhere on the stack.
    fn assign(&mut self) {
        let call = self.chance.below(self.calls.len() as u64) as usize;
        if let Some((_, sp)) = self.calls.get(call.max(1)).copied() {
            let value = self.chance.below(3);
            self.write(sp - 16, value);
        }
    }

    /// What a sample of it says, with so much of its stack.
    fn sample(&mut self, copied: u64) -> (Registers, Range<usize>) {
        let (function, _) = *self.calls.last().unwrap();
        let mut user = UserRegisters::new(FUNCTION + function * LENGTH + 8, self.sp);
        user.set(RBX.into(), self.chance.below(3));
        (Registers::from(&user), self.sp as usize..(self.sp + copied).min(TOP) as usize)
    }
}

/// The walk alone, and beside others; how often each asked for code.
fn both(
    trails: &mut Trails,
    registers: Registers,
    stack: StackMemory<'_>,
) -> [(Unwound, usize); 2] {
    let (mut program, mut along) = (Program::default(), Along::default());
    let alone = (walk(&mut program, registers, stack, &mut along), program.0);
    let (mut program, mut along) = (Program::default(), trails.along(SPACE, stack));
    let beside = (walk(&mut program, registers, stack, &mut along), program.0);
    trails.keep(SPACE, along, stack, &beside.0);
    [alone, beside]
}

#[test]
fn a_walk_beside_another_comes_to_the_same() {
    let (mut thread, mut trails) = (Thread::new(), Trails::default());
    let (mut all, mut walked, mut complete) = (0, 0, 0);
    for round in 0..4_000_u64 {
        // Down to some depth, and not too far from it.
        let goal = 150 + 100 * (round / 1_000) as usize;
        for _ in 0..thread.chance.below(12) {
            let up = thread.chance.below(goal as u64 * 2) as usize > thread.calls.len();
            if up { thread.call() } else { thread.give_back() }
        }
        (0..thread.chance.below(4)).for_each(|_| thread.assign());
        let copied = [2_000, 8_000, TOP][thread.chance.below(3) as usize];
        let (registers, bytes) = thread.sample(copied);
        let start = bytes.start as u64;
        let later = (thread.chance.below(4) == 0).then_some(start + 4_000);
        let stack = StackMemory { start, bytes: &thread.memory[bytes], whole: false, later };
        let [(alone, asked), (beside, asked_beside)] = both(&mut trails, registers, stack);
        assert_eq!(beside, alone, "round {round}");
        all += asked;
        walked += asked_beside;
        complete += usize::from(alone.end == StackEnd::Complete);
    }
    assert!(complete > 500, "{complete}");
    assert!(walked * 2 < all, "{walked} of {all}");
}

#[test]
fn what_has_not_changed_is_not_walked_again() {
    let (mut thread, mut trails) = (Thread::new(), Trails::default());
    (0..500).for_each(|_| thread.call());
    let sample = |thread: &mut Thread, trails: &mut Trails| {
        let (registers, bytes) = thread.sample(TOP);
        let start = bytes.start as u64;
        let stack = StackMemory { start, bytes: &thread.memory[bytes], whole: false, later: None };
        let [(alone, _), (beside, asked)] = both(trails, registers, stack);
        assert_eq!((alone.addresses.len(), alone.end), (501, StackEnd::Complete));
        assert_eq!(beside, alone);
        asked
    };
    // Of what calls itself, one after the other, it is asked for the first.
    assert_eq!(sample(&mut thread, &mut trails), 494);
    let asked = sample(&mut thread, &mut trails);
    assert!(asked < 20, "{asked}");
    trails.forget(SPACE);
    assert_eq!(sample(&mut thread, &mut trails), 494, "other code may be there");
}
