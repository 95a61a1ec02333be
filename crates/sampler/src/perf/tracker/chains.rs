//! Call chains of the target: unwound from what the kernel copied, read from
//! outside while a thread is blocked, or known from the same place before.

mod further;
mod pointers;

use std::fmt;
use std::rc::Rc;

use rustc_hash::FxHashMap;
use whyslow_events::{Pid, SpaceId, StackEnd, StackId, StackMemory, Tid, Unwind, UserRegisters};

pub(super) use self::further::Reach;
use self::further::proof;
use super::Tracker;
use crate::arch::Registers;
use crate::inspect::Process;
use crate::perf::interner::{Chain, UserHalf, halves};
use crate::perf::record::UserStack;
use crate::session::Readers;

/// Ways remembered for one thread. Threads wait at few places; a deep recursion
/// that waits at each depth begins anew.
const PLACES: usize = 256;
/// Most of a stack that is read from outside: first, and when that was too short.
const READS: [usize; 3] = [64 << 10, 1 << 20, 8 << 20];

/// Who turns stack memory into call chains; `None` where the kernel's own
/// chains are to be used.
#[derive(Default)]
pub(super) struct Unwinding(pub(super) Option<Box<dyn Unwind>>);

impl fmt::Debug for Unwinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Unwinding" } else { "no unwinding" })
    }
}

/// What was recorded of the thread that is about to leave a CPU.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) chain: Box<[u64]>,
    pub(super) user: Option<Box<UserStack>>,
}

/// A program counter and where on the stack: with both equal, the way there
/// nearly always is, too.
pub(super) type Place = (u64, u64);

/// Ways on the stack of one thread.
#[derive(Debug)]
pub(super) struct Ways<T>(pub(super) FxHashMap<Place, T>);

/// Where a thread waited, by program counter and stack pointer.
pub(super) type Places = Ways<Waited>;

/// The way to a wait.
#[derive(Debug)]
pub(super) struct Waited {
    chain: Chain,
    /// Its number where it is lent, once it was.
    lent: Option<StackId>,
}

/// What lies beyond copies that were too short, by the return address that
/// proves it and its place.
pub(super) type Beyond = Ways<Rc<[u64]>>;

impl Waited {
    fn new(chain: Chain) -> Self {
        Waited { chain, lent: None }
    }
}

impl<T> Default for Ways<T> {
    fn default() -> Self {
        Ways(FxHashMap::default())
    }
}

impl<T> Ways<T> {
    pub(super) fn remember(&mut self, place: Place, way: T) {
        if self.0.len() >= PLACES && !self.0.contains_key(&place) {
            self.0.clear();
        }
        self.0.insert(place, way);
    }
}

/// Samples after which it is clear that copies are large enough.
const ENOUGH: u32 = 128;

/// How often copies for samples were too short, and what lay beyond unknown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Copies {
    all: u32,
    short: u32,
}

/// How well the stack of a wait is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It was copied at the very switch, or nothing better can be had.
    Exactly,
    /// From another wait at the same place.
    FromBefore,
    /// Not at all.
    No,
}

impl Tracker {
    /// Reads stacks with these from now on.
    pub(crate) fn read_with(&mut self, readers: Readers) {
        self.unwinding = Unwinding(Some(readers.unwinder));
        self.scripts.read_with(readers.scripts);
    }

    /// Looks for what reading the stacks of a process needs, its interpreter and how to
    /// unwind its code, so that the first waits of the window do not end meanwhile.
    pub(crate) fn prepare(&mut self, time: u64, pid: u32, tid: u32) {
        let Some(space) = self.processes.get(&Pid(pid)).map(|process| process.space) else {
            return;
        };
        self.report_space(time, space);
        self.scripts.prepare(space, Tid(tid), &Process::new(pid));
        let inspector = self.waits.inspector();
        let Some(call) = inspector.call(pid, tid) else { return };
        let mut room = vec![];
        let read = inspector.stack(pid, call.sp, READS[0], &mut room);
        let Some((bytes, whole)) = read else { return };
        let memory = StackMemory { start: call.sp, bytes, whole, later: None };
        self.unwind(space, &UserRegisters::new(call.pc, call.sp), memory);
    }

    /// Whether more than one in a hundred of the last samples would have had its
    /// whole stack if more of it had been copied. That so many will be is known
    /// before the last of them has come.
    pub(crate) fn copies_are_short(&mut self) -> bool {
        let Copies { all, short } = self.copies;
        let are_short = short * 100 > all.max(ENOUGH);
        if are_short || all >= ENOUGH {
            self.copies = Copies::default();
        }
        are_short
    }

    /// The stack of a thread that the sampling clock hit.
    pub(super) fn stack_of_sample(
        &mut self,
        time: u64,
        tid: Tid,
        chain: &[u64],
        user: Option<Box<UserStack>>,
    ) -> Option<StackId> {
        let (_, space) = self.space_of(tid)?;
        let (kernel, by_pointers) = halves(chain);
        let mut user = match user {
            stack if self.has_no_program(&kernel, stack.as_deref(), &by_pointers) => {
                self.without_program(tid, stack.as_deref())
            }
            Some(stack) => {
                let user = self.unwind_copy(time, tid, space, &stack, &by_pointers);
                self.note_stood(tid, space, &stack.registers, &user);
                self.copies.all += 1;
                let short = matches!(user.end, StackEnd::CopyTooShort | StackEnd::OverBudget);
                self.copies.short += u32::from(short);
                user
            }
            None => frame_pointers(by_pointers),
        };
        if let Some(script) = self.calls_at(tid, time) {
            user.script = script;
        }
        Some(self.number(time, space, &Chain { kernel: kernel.into(), user }))
    }

    /// The stack of a thread that leaves its CPU to wait.
    pub(super) fn stack_of_wait(
        &mut self,
        time: u64,
        tid: Tid,
        registers: Option<Registers>,
        taken: Option<Taken>,
    ) -> (Option<StackId>, Known) {
        let Some((_, space)) = self.space_of(tid) else { return (None, Known::Exactly) };
        let halves = taken.as_ref().map(|taken| self.waits.halves_at_switch(&taken.chain));
        let copy = taken.as_ref().and_then(|taken| taken.user.as_deref());
        if self.unwinding.0.is_none() {
            let chain = halves
                .map(|(kernel, user)| Chain { kernel: kernel.into(), user: frame_pointers(user) });
            return (chain.map(|chain| self.number(time, space, &chain)), Known::Exactly);
        }
        let kernel: Option<Rc<[u64]>> = halves.as_ref().map(|(kernel, _)| kernel[..].into());
        let by_pointers = halves.as_ref().map_or(&[][..], |(_, user)| user);
        let gone = kernel.as_ref().filter(|it| self.has_no_program(it, copy, by_pointers));
        let copied = match gone {
            Some(_) => Some(self.without_program(tid, copy)),
            None => copy.map(|stack| self.unwind_copy(time, tid, space, stack, by_pointers)),
        };
        let Some(thread) = self.threads.get_mut(&tid) else { return (None, Known::Exactly) };
        thread.left = registers.map(|registers| registers.user());
        thread.kernel = kernel.clone().unwrap_or_default();
        let place = registers.map(|registers| (registers.pc, registers.sp));
        let before = place.and_then(|place| thread.places.0.get(&place));
        let known = match (&copied, before) {
            (Some(user), _) if settled(user.end) => Known::Exactly,
            (_, Some(_)) => Known::FromBefore,
            (_, None) => Known::No,
        };
        let of_place = before.filter(|_| known == Known::FromBefore);
        let lent = of_place.filter(|_| kernel.is_none()).map(|it| it.lent);
        let before = before.map(|before| before.chain.kernel.clone());
        let chain = Chain {
            kernel: kernel.or(before).unwrap_or_default(),
            user: of_place.map(|it| it.chain.user.lent()).or(copied).unwrap_or(UserHalf {
                addresses: registers.map_or(Rc::default(), |registers| Rc::from([registers.pc])),
                ..UserHalf::none()
            }),
        };
        if let (Known::Exactly, Some(place)) = (known, place) {
            thread.places.remember(place, Waited::new(chain.clone()));
        }
        if self.scripts.may_run_in(space) {
            thread.waits_in = Some(chain.clone());
        }
        if chain.user.end == StackEnd::None && chain.kernel.is_empty() {
            return (None, known);
        }
        let number = match (lent, place) {
            (Some(Some(number)), _) => number,
            (Some(None), Some(place)) => self.number_lent(time, (tid, space), place, &chain),
            _ => self.number(time, space, &chain),
        };
        (Some(number), known)
    }

    /// The stack of a wait that nobody recorded, from one before at the same place.
    pub(super) fn stack_lent(&mut self, time: u64, tid: Tid, place: Place) -> Option<StackId> {
        let (_, space) = self.space_of(tid)?;
        let Waited { chain, lent } = self.threads.get(&tid)?.places.0.get(&place)?;
        let chain = match lent {
            Some(number) => return Some(*number),
            None => Chain { user: chain.user.lent(), kernel: chain.kernel.clone() },
        };
        Some(self.number_lent(time, (tid, space), place, &chain))
    }

    /// The number of what is lent at a place, to be kept: to look for it among all at every wait
    /// takes a fifth of the time of a switch.
    fn number_lent(
        &mut self,
        time: u64,
        (tid, space): (Tid, SpaceId),
        place: Place,
        chain: &Chain,
    ) -> StackId {
        let number = self.number(time, space, chain);
        let thread = self.threads.get_mut(&tid);
        if let Some(waited) = thread.and_then(|thread| thread.places.0.get_mut(&place)) {
            waited.lent = Some(number);
        }
        number
    }

    /// Reads and unwinds the stack of a thread that is blocked now, in the wait
    /// that its `left` registers tell of.
    pub(super) fn read_stack(
        &mut self,
        time: u64,
        tid: Tid,
        registers: &UserRegisters,
    ) -> Option<UserHalf> {
        let of = self.space_of(tid)?;
        let reach = self.threads.get(&tid)?.reach;
        self.read_stack_in(time, of, registers, reach)
    }

    /// The same of a thread of this process and its space, which needed that much last.
    pub(super) fn read_stack_in(
        &mut self,
        time: u64,
        of: (u32, SpaceId),
        registers: &UserRegisters,
        reach: Reach,
    ) -> Option<UserHalf> {
        self.unwinding.0.as_ref()?;
        self.report_space(time, of.1);
        self.with_room(|tracker, room| tracker.read_into(room, time, of, registers, reach))
    }

    fn read_into(
        &mut self,
        room: &mut Vec<u8>,
        time: u64,
        (pid, space): (u32, SpaceId),
        registers: &UserRegisters,
        reach: Reach,
    ) -> Option<UserHalf> {
        let (start, mut best) = (registers.sp(), None);
        for limit in reach.reads() {
            if !self.reads.allows(time) {
                return Some(best.map_or_else(|| only(registers.pc), not_read_on));
            }
            let (bytes, whole) = self.waits.inspector().stack(pid, start, limit, room)?;
            self.reads.spend(bytes.len());
            let memory = StackMemory { start, bytes, whole, later: None };
            let user = self.unwind(space, registers, memory);
            let done = user.end != StackEnd::CopyTooShort;
            best = Some(user);
            if done {
                break;
            }
        }
        best
    }

    /// The calls at another wait of the thread at the same place.
    pub(super) fn known_stack(&self, tid: Tid, registers: &UserRegisters) -> Option<UserHalf> {
        let places = &self.threads.get(&tid)?.places;
        places.0.get(&(registers.pc, registers.sp())).map(|waited| waited.chain.user.lent())
    }

    /// The number of what was read of the wait a thread is in.
    pub(super) fn stack_of_look(
        &mut self,
        time: u64,
        tid: Tid,
        registers: &UserRegisters,
        user: UserHalf,
    ) -> Option<StackId> {
        let (_, space) = self.space_of(tid)?;
        let thread = self.threads.get_mut(&tid)?;
        let place = (registers.pc, registers.sp());
        let mut kernel = thread.kernel.clone();
        if kernel.is_empty()
            && let Some(before) = thread.places.0.get(&place)
        {
            kernel = before.chain.kernel.clone();
        }
        let chain = Chain { kernel, user };
        thread.places.remember(place, Waited::new(chain.clone()));
        Some(self.number(time, space, &chain))
    }

    pub(super) fn space_of(&self, tid: Tid) -> Option<(u32, SpaceId)> {
        let pid = self.threads.get(&tid)?.pid;
        Some((pid.0, self.processes.get(&pid)?.space))
    }

    fn unwind(
        &mut self,
        space: SpaceId,
        registers: &UserRegisters,
        memory: StackMemory<'_>,
    ) -> UserHalf {
        let Some(unwinder) = &mut self.unwinding.0 else { return frame_pointers(vec![]) };
        let unwound = unwinder.unwind(space, registers, memory);
        let (addresses, end) = (unwound.addresses.into(), unwound.end);
        UserHalf { addresses, end, script: Rc::default() }
    }

    /// Whether the kernel has taken the program's memory away from a thread: it ends, or
    /// another program is about to begin.
    fn has_no_program(
        &self,
        kernel: &[u64],
        copy: Option<&UserStack>,
        by_pointers: &[u64],
    ) -> bool {
        let nothing = copy.map_or(by_pointers.is_empty(), |stack| stack.bytes.is_empty());
        nothing && self.waits.ends_program(kernel)
    }

    /// The stack of a thread without a program. Who was killed where it waited is there still,
    /// as its registers tell; of others there is nothing to be had.
    fn without_program(&self, tid: Tid, copy: Option<&UserStack>) -> UserHalf {
        let known = copy.and_then(|copy| self.known_stack(tid, &copy.registers));
        known.filter(|known| known.end == StackEnd::SamePlace).unwrap_or_else(|| UserHalf {
            addresses: Rc::default(),
            end: StackEnd::Complete,
            script: Rc::default(),
        })
    }

    /// Unwinds a copy that the kernel made. Where that leads nowhere, the kernel's own
    /// way along the frame pointers may. Where it was too short, the rest of the stack is
    /// read now: its frames are older than those in the copy, and
    /// believed only when where both meet the stack has not changed either, or when
    /// there is a call of the code at the end of the copy. Else what was found there
    /// before is believed.
    fn unwind_copy(
        &mut self,
        time: u64,
        tid: Tid,
        space: SpaceId,
        copy: &UserStack,
        by_pointers: &[u64],
    ) -> UserHalf {
        self.report_space(time, space);
        let UserStack { registers, bytes, narrow } = copy;
        if *narrow {
            let addresses = Rc::from([registers.pc]);
            return UserHalf { addresses, end: StackEnd::Narrow, script: Rc::default() };
        }
        let memory = StackMemory { start: registers.sp(), bytes, whole: false, later: None };
        let user = self.unwind(space, registers, memory);
        let user = self.joined(space, user, by_pointers);
        if user.end != StackEnd::CopyTooShort {
            return user;
        }
        let Some(proof) = proof(bytes, &user.addresses) else { return user };
        let refused = !self.reads.allows(time);
        let extended = if refused { None } else { self.unwind_extended(time, tid, copy, &proof) };
        let Some(thread) = self.threads.get_mut(&tid) else { return user };
        let outermost = user.addresses.last().copied().unwrap_or_default();
        let place = (outermost, registers.sp().wrapping_add(proof.start as u64));
        match extended {
            Some(extended) => {
                if extended.end == StackEnd::Extended
                    && let Some(beyond) = extended.addresses.strip_prefix(&*user.addresses)
                {
                    thread.beyond.remember(place, beyond.into());
                }
                extended
            }
            None => match thread.beyond.0.get(&place) {
                Some(beyond) => UserHalf {
                    addresses: [&*user.addresses, beyond].concat().into(),
                    end: StackEnd::Extended,
                    script: Rc::default(),
                },
                None if refused => not_read_on(user),
                None => user,
            },
        }
    }

    /// The number of a chain; defines it, and the space it is in, when new.
    pub(super) fn number(&mut self, time: u64, space: SpaceId, chain: &Chain) -> StackId {
        let (id, definition) = self.stacks.define(space, chain);
        if let Some(definition) = definition {
            self.report_space(time, space);
            self.emit(time, definition);
        }
        id
    }
}

/// What would have told more was not read: too much had been.
fn not_read_on(user: UserHalf) -> UserHalf {
    let short = user.end == StackEnd::CopyTooShort;
    UserHalf { end: if short { StackEnd::OverBudget } else { user.end }, ..user }
}

/// A program counter of which nothing more was read.
fn only(pc: u64) -> UserHalf {
    UserHalf { addresses: Rc::from([pc]), end: StackEnd::OverBudget, script: Rc::default() }
}

/// Whether another look at the same wait would tell no more.
fn settled(end: StackEnd) -> bool {
    !matches!(end, StackEnd::CopyTooShort | StackEnd::OverBudget | StackEnd::BadUnwindInfo)
}

fn frame_pointers(addresses: Vec<u64>) -> UserHalf {
    let end = if addresses.is_empty() { StackEnd::None } else { StackEnd::FramePointers };
    UserHalf { addresses: addresses.into(), end, script: Rc::default() }
}

#[cfg(test)]
mod tests;
