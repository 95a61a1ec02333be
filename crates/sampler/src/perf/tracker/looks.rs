//! What was read from `/proc` beside the records, and its place among them:
//! closer looks at threads that stay blocked, with the proof that the look saw
//! the wait it was meant for, and notes of other kinds.

use std::collections::VecDeque;

use whyslow_events::{Event, SiteId, StackEnd, Tid, UserRegisters};

use super::chains::Known;
use super::glances::Glance;
use super::preempted::Seen;
use super::{Doing, Tracker};
use crate::perf::Tally;
use crate::perf::interner::UserHalf;
use crate::perf::record::Record;
use crate::perf::waits::Wait;

/// A wait this long deserves a look, ns: shorter ones are over too soon.
const LONG_WAIT: u64 = 1_000_000;
/// A wait this long deserves one even though its place is known, ns.
const VERY_LONG_WAIT: u64 = 20_000_000;
/// Calls that could not be read are tried again after so long, ns: where an interpreter has
/// many threads, those that are new to its list are not known at once.
const READ_AGAIN: u64 = 1_000_000_000;
/// The same of what is behind a descriptor: tables of sockets are read now and then, ns.
const TELL_AGAIN: u64 = 200_000_000;
/// So often, for others may never have any.
const TRIES: u8 = 3;
/// Looks in one round at most: some 15 µs each, and 30 more with the stack.
const LOOKS_PER_ROUND: usize = 32;
/// The same of places that are known.
const SECOND_LOOKS_PER_ROUND: usize = 8;
/// Looks when the window ends: what was blocked all the time was there to be
/// looked at, but a short window may not have come to it. For so long, ns.
const LAST_LOOKS: u64 = 100_000_000;
/// Wishes kept at most; of a thread that blocks all the time only the last counts.
const WISHES: usize = 65_536;

#[derive(Clone, Copy, Debug)]
struct Wish {
    since: u64,
    tid: Tid,
    wait: u64,
    /// The system call and its object are to be read.
    site: bool,
    /// The stack is to be read.
    stack: bool,
    /// How often it was looked at, and not all of it to be read.
    tries: u8,
}

/// Why a look is wanted, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Something is not known at all.
    New,
    /// The stack is known from before.
    Known,
    /// The interpreted calls could not be read.
    Unread,
    /// What is behind its descriptor could not be told.
    Untold,
}

impl Why {
    /// How old such a wish has to be, ns.
    fn age(self) -> u64 {
        match self {
            Why::New => LONG_WAIT,
            Why::Known => VERY_LONG_WAIT,
            Why::Unread => READ_AGAIN,
            Why::Untold => TELL_AGAIN,
        }
    }
}

#[derive(Debug)]
pub(super) enum Reading {
    Look { tid: Tid, wait: u64, site: SiteId, stack: Option<(UserRegisters, UserHalf)> },
    Stood(Seen),
    Glance(Glance),
    Awake { tid: Tid, start: u64 },
    Gone(Tid),
    Tallied(Tally),
    Note(Event),
}

/// Waits to look at, and readings that are newer than the records so far.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// Those of which something is not known at all.
    first: VecDeque<Wish>,
    /// Those whose stack is known from before.
    second: VecDeque<Wish>,
    /// Those to be read again, since when.
    again: VecDeque<Wish>,
    /// The same of those whose site was not told.
    untold: VecDeque<Wish>,
    readings: VecDeque<(u64, Reading)>,
}

impl Looks {
    /// Asks for a look at a wait that began at `since`, for its `site` and for
    /// its stack, which is `known` so well.
    pub(super) fn want(&mut self, since: u64, tid: Tid, wait: u64, site: bool, known: Known) {
        let stack = known != Known::Exactly;
        if !site && !stack {
            return;
        }
        let first = site || known == Known::No;
        let wishes = if first { &mut self.first } else { &mut self.second };
        keep(wishes, Wish { since, tid, wait, site, stack, tries: 0 });
    }

    /// Asks for another look, as part of what the wish was for could not be had at `now`.
    fn try_again(&mut self, why: Why, now: u64, wish: Wish) {
        if wish.tries < TRIES {
            keep(self.wishes(why), Wish { since: now, tries: wish.tries + 1, ..wish });
        }
    }

    /// Keeps what was read at `time` until the records have come so far.
    pub(super) fn put(&mut self, time: u64, reading: Reading) {
        self.readings.push_back((time, reading));
    }

    /// A tally of a pause whose end is still to come.
    pub(super) fn pending_tally(&self) -> Option<&Tally> {
        self.readings.iter().find_map(|(_, reading)| match reading {
            Reading::Tallied(tally) => Some(tally),
            _ => None,
        })
    }

    /// Whether a first wish is due at `now`.
    fn has_due(&self, now: u64) -> bool {
        self.first.front().is_some_and(|wish| wish.since.saturating_add(LONG_WAIT) <= now)
    }

    /// The next wish that is due at `now`.
    fn due(&mut self, why: Why, now: u64) -> Option<Wish> {
        let (wishes, age) = (self.wishes(why), why.age());
        let due = wishes.front().is_some_and(|wish| wish.since.saturating_add(age) <= now);
        if due { wishes.pop_front() } else { None }
    }

    fn wishes(&mut self, why: Why) -> &mut VecDeque<Wish> {
        match why {
            Why::New => &mut self.first,
            Why::Known => &mut self.second,
            Why::Unread => &mut self.again,
            Why::Untold => &mut self.untold,
        }
    }
}

fn keep(wishes: &mut VecDeque<Wish>, wish: Wish) {
    if wishes.len() == WISHES {
        wishes.pop_front();
    }
    wishes.push_back(wish);
}

impl Tracker {
    /// Looks at threads that have been blocked for long at `now`, where the records `ahead`
    /// are read and not taken in yet; `clock` tells the time after each look.
    pub(crate) fn look<'a>(
        &mut self,
        now: u64,
        ahead: impl Iterator<Item = &'a Record>,
        clock: impl Fn() -> u64,
    ) {
        if self.glances.is_some() {
            return self.glance(now, ahead, &clock);
        }
        // No record would tell whether the wait was over by then.
        if self.pauses.paused() {
            return;
        }
        self.look_at(Why::New, now, LOOKS_PER_ROUND, &clock);
        self.look_at(Why::Known, now, SECOND_LOOKS_PER_ROUND, &clock);
        self.look_at(Why::Unread, now, LOOKS_PER_ROUND, &clock);
        self.look_at(Why::Untold, now, LOOKS_PER_ROUND, &clock);
        self.look_at_preempted(now, &clock);
    }

    /// Looks once more before the window ends.
    pub(crate) fn last_looks(&mut self, now: u64, clock: impl Fn() -> u64) {
        if self.glances.is_some() {
            return self.last_glances(now, &clock);
        }
        // The rings fill up meanwhile.
        while clock().saturating_sub(now) < LAST_LOOKS && self.looks.has_due(now) {
            self.look_at(Why::New, now, LOOKS_PER_ROUND, &clock);
        }
    }

    pub(super) fn look_at(
        &mut self,
        why: Why,
        now: u64,
        mut left: usize,
        clock: &impl Fn() -> u64,
    ) {
        while left > 0
            && let Some(wish) = self.looks.due(why, now)
        {
            let Wish { tid, wait, .. } = wish;
            let Some(thread) = self.threads.get(&tid) else { continue };
            if thread.wait != wait || thread.doing != Doing::Waiting {
                continue;
            }
            left -= 1;
            let known = thread.site.filter(|_| !wish.site);
            let found = if known.is_none() { self.look_for_site(now, tid) } else { None };
            if found.is_some_and(|found| found.wants_look) {
                self.looks.try_again(Why::Untold, now, Wish { stack: false, ..wish });
            }
            let site = known.or(found.map(|found| found.site));
            if let (true, Some(site)) = (wish.stack, site) {
                self.look_for_calls(tid, wait, site, clock);
            }
            let stack = if wish.stack { self.look_for_stack(tid) } else { None };
            if stack.is_some() {
                self.note_turn(tid, clock);
            }
            if stack.as_ref().is_some_and(|(_, user)| user.script.is_empty())
                && self.space_of(tid).is_some_and(|(_, space)| self.scripts.may_run_in(space))
            {
                self.looks.try_again(Why::Unread, now, Wish { site: false, ..wish });
            }
            if let Some(site) = site
                && (known.is_none() || stack.is_some())
            {
                let reading = Reading::Look { tid, wait, site, stack };
                self.looks.put(clock(), reading);
            }
        }
    }

    pub(super) fn look_for_site(&mut self, now: u64, tid: Tid) -> Option<Wait> {
        let pid = self.threads.get(&tid)?.pid;
        let space = self.processes.get(&pid)?.space;
        let mut new = vec![];
        let found = self.waits.look(now, (pid, space), tid.0, |event| new.push(event));
        // In the order of the stream, not of the clock.
        self.define_sites(self.now, space, new);
        found
    }

    /// Reads the interpreted calls alone where the native ones are not known from before:
    /// to unwind code that was not met yet takes longer than many waits.
    fn look_for_calls(&mut self, tid: Tid, wait: u64, site: SiteId, clock: &impl Fn() -> u64) {
        let Some(thread) = self.threads.get(&tid) else { return };
        let (Some(registers), Some(chain)) = (thread.left, &thread.waits_in) else { return };
        if chain.user.end != StackEnd::None {
            return;
        }
        let user = chain.user.clone();
        if let Some(Ok(script)) = self.read_script(tid, true) {
            self.note_turn(tid, clock);
            let stack = Some((registers, UserHalf { script, ..user }));
            self.looks.put(clock(), Reading::Look { tid, wait, site, stack });
        }
    }

    /// What the event loop is at whose thread was read just now.
    pub(super) fn note_turn(&mut self, tid: Tid, clock: &impl Fn() -> u64) {
        if let Some(turn) = self.scripts.loop_turn() {
            self.looks.put(clock(), Reading::Note(Event::LoopTurn { tid, turn }));
        }
    }

    fn look_for_stack(&mut self, tid: Tid) -> Option<(UserRegisters, UserHalf)> {
        let thread = self.threads.get(&tid)?;
        let registers = match thread.left {
            Some(registers) => registers,
            None => {
                let call = self.waits.inspector().call(thread.pid.0, tid.0)?;
                UserRegisters::new(call.pc, call.sp)
            }
        };
        self.read_stack_and_script(tid, registers)
    }

    /// The calls of a thread that is blocked with these registers.
    pub(super) fn read_stack_and_script(
        &mut self,
        tid: Tid,
        registers: UserRegisters,
    ) -> Option<(UserRegisters, UserHalf)> {
        let mut user = self.read_stack(self.now, tid, &registers)?;
        user.script = self.read_script(tid, true).and_then(Result::ok).unwrap_or_default();
        Some((registers, user))
    }

    /// Puts an event that was read at `time` into the stream, when the records
    /// have come so far.
    pub(crate) fn note_at(&mut self, time: u64, event: Event) {
        self.looks.put(time, Reading::Note(event));
    }

    /// Reports what was read before `time`, and of the looks those whose thread
    /// has not moved: every record up to their end has been taken in.
    pub(super) fn place_readings(&mut self, time: u64) {
        while self.looks.readings.front().is_some_and(|(read, _)| *read < time) {
            let Some((read, reading)) = self.looks.readings.pop_front() else { break };
            match reading {
                Reading::Note(event) => self.emit(read, event),
                Reading::Stood(seen) => self.place_preempted(read, seen),
                Reading::Glance(glance) => self.place_glance(read, glance),
                Reading::Awake { tid, start } => self.place_awake(read, tid, start),
                Reading::Gone(tid) => self.place_gone(read, tid),
                Reading::Tallied(tally) => self.place_tally(read, tally),
                Reading::Look { tid, wait, site, stack } => {
                    let thread = self.threads.get(&tid);
                    let waits = thread.is_some_and(|t| t.wait == wait && t.doing == Doing::Waiting);
                    if waits && !self.pauses.paused() {
                        if let Some(thread) = self.threads.get_mut(&tid)
                            && stack.as_ref().is_some_and(|(_, user)| !user.script.is_empty())
                        {
                            thread.waits_in = None;
                        }
                        let stack = stack.and_then(|(registers, user)| {
                            let stack = self.stack_of_look(read, tid, &registers, user)?;
                            self.threads.get_mut(&tid)?.repeats.see(&registers, stack);
                            Some(stack)
                        });
                        self.emit(read, Event::Look { tid, site, stack });
                    }
                }
            }
        }
    }
}
