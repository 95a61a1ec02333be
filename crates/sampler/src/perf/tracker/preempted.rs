//! Where threads stand that were preempted. No stack is copied at such a switch, which may
//! come at any time; but the registers are recorded. Where the thread was sampled in the same
//! function with its stack as deep, it came the same way; that is lent. A thread that
//! nothing is known of and that waits long for its CPU is looked at from outside: its stack
//! cannot change until it has one.

use std::collections::VecDeque;
use std::rc::Rc;

use whyslow_events::{Event, SpaceId, StackId, Tid, UserRegisters};

use super::chains::{Place, Ways};
use super::looks::Reading;
use super::{Doing, Tracker};
use crate::arch::Registers;
use crate::perf::interner::{Chain, UserHalf};

/// Who waits so long for a CPU is looked at, ns.
const LONG: u64 = 1_000_000;
/// Looks in one round at most: some 40 µs each.
const LOOKS_PER_ROUND: usize = 4;
/// Wishes kept: as many as may be due at a time.
const WISHES: usize = 1_024;

/// Whole stacks of one thread, by function and stack pointer.
pub(super) type Stood = Ways<UserHalf>;

/// A thread to be looked at.
#[derive(Debug)]
struct Wish {
    since: u64,
    tid: Tid,
    wait: u64,
    registers: UserRegisters,
}

/// What a look saw.
#[derive(Debug)]
pub(super) struct Seen {
    tid: Tid,
    wait: u64,
    registers: UserRegisters,
    user: UserHalf,
}

/// The threads to be looked at, since the longest first.
#[derive(Debug, Default)]
pub(super) struct Preempted(VecDeque<Wish>);

impl Preempted {
    fn due(&mut self, now: u64) -> Option<Wish> {
        let due = self.0.front().is_some_and(|wish| wish.since.saturating_add(LONG) <= now);
        if due { self.0.pop_front() } else { None }
    }
}

impl Tracker {
    /// The stack of a thread that leaves its CPU and wants to go on, where it is known.
    pub(super) fn stack_of_preempted(
        &mut self,
        time: u64,
        tid: Tid,
        registers: Option<Registers>,
    ) -> Option<StackId> {
        let registers = registers?.user();
        let (_, space) = self.space_of(tid)?;
        let place = self.function_and_depth(space, &registers)?;
        let thread = self.threads.get_mut(&tid)?;
        thread.wait += 1;
        let Some(known) = thread.stood.0.get(&place) else {
            let wait = thread.wait;
            self.preempted.0.push_back(Wish { since: time, tid, wait, registers });
            if self.preempted.0.len() > WISHES {
                self.preempted.0.pop_front();
            }
            return None;
        };
        let mut user = known.lent();
        if let Some(innermost) = Rc::make_mut(&mut user.addresses).first_mut() {
            *innermost = registers.pc;
        }
        user.script = self.calls_at(tid, time).unwrap_or_default();
        Some(self.number(time, space, &Chain { kernel: Rc::default(), user }))
    }

    /// Looks at threads that have waited long for a CPU by `now`.
    pub(super) fn look_at_preempted(&mut self, now: u64, clock: &impl Fn() -> u64) {
        for _ in 0..LOOKS_PER_ROUND {
            let wish = loop {
                match self.preempted.due(now) {
                    None => return,
                    Some(wish) if self.still_preempted(wish.tid, wish.wait) => break wish,
                    Some(_) => {}
                }
            };
            let Wish { tid, wait, registers, .. } = wish;
            if let Some((registers, user)) = self.read_stack_and_script(tid, registers) {
                let seen = Seen { tid, wait, registers, user };
                self.looks.put(clock(), Reading::Stood(seen));
            }
        }
    }

    /// Reports what a look saw that ended at `time`, unless the thread had a CPU meanwhile.
    pub(super) fn place_preempted(&mut self, time: u64, seen: Seen) {
        let Seen { tid, wait, registers, user } = seen;
        let Some((_, space)) = self.space_of(tid).filter(|_| self.still_preempted(tid, wait))
        else {
            return;
        };
        self.note_stood(tid, space, &registers, &user);
        let stack = self.number(time, space, &Chain { kernel: Rc::default(), user });
        self.emit(time, Event::Stood { tid, stack });
    }

    /// Remembers a whole stack of a thread, for when it is preempted there.
    pub(super) fn note_stood(
        &mut self,
        tid: Tid,
        space: SpaceId,
        registers: &UserRegisters,
        user: &UserHalf,
    ) {
        if user.end.is_whole()
            && let Some(place) = self.function_and_depth(space, registers)
            && let Some(thread) = self.threads.get_mut(&tid)
        {
            thread.stood.remember(place, UserHalf { script: Rc::default(), ..user.clone() });
        }
    }

    /// Where the function of a thread begins, or the very place in it where that is not
    /// known, and its stack pointer. `None` where no stacks are unwound.
    fn function_and_depth(&mut self, space: SpaceId, registers: &UserRegisters) -> Option<Place> {
        let unwinder = self.unwinding.0.as_mut()?;
        let function = unwinder.function(space, registers.pc).unwrap_or(registers.pc);
        Some((function, registers.sp()))
    }

    fn still_preempted(&self, tid: Tid, wait: u64) -> bool {
        let thread = self.threads.get(&tid);
        thread.is_some_and(|it| it.wait == wait && it.doing == Doing::Runnable)
    }
}
