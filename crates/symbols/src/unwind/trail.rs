//! What a walk before came by: the outer frames of a deep stack hardly change from one
//! sample to the next, and to compare memory is faster by far than to walk through it.
//!
//! Where a frame has the same registers as one of the walk before, and the stack from there
//! on the same bytes, the frames that follow are the same, too: a step by a rule
//! depends on nothing else, and reads only up to where its caller's frame begins. What
//! depends on more, such as code in memory, is walked each time.

mod rest;

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;

use whyslow_events::{SpaceId, StackEnd, StackMemory};

use crate::unwind::registers::{Preserved, Registers};
use crate::unwind::trail::rest::Rest;
use crate::unwind::walk::DEEPEST;

/// Stacks of fewer frames are walked as fast as they are compared.
const WORTH: usize = 32;
/// Bytes of stack that are kept of a walk.
const MOST_BYTES: usize = 1 << 20;
/// Bytes that a stack may have grown deeper by until the next walk.
const ROOM: usize = 64 << 10;
/// After so many changes in it the stack is copied anew.
const CHANGES: usize = 8;
/// Bytes that are walked through before comparing is tried again, at first.
const FIRST_PAUSE: u64 = 128;
/// Walks that are kept: those of the threads that are deep in their stacks at a time.
const TRAILS: usize = 16;
/// Bytes that are compared at once.
const PIECE: usize = 1 << 8;

/// A walk, as far as it went by rules alone: its frames, innermost first, and the stack
/// through which it went.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    steps: VecDeque<Preserved>,
    start: u64,
    /// From before `start` on, where there is room for a deeper stack.
    bytes: Vec<u8>,
    room: usize,
    rest: Rest,
}

impl Trail {
    fn end(&self) -> u64 {
        self.start.saturating_add((self.bytes.len() - self.room) as u64)
    }

    /// The bytes from `address` on, none where they are not kept.
    fn from(&self, address: u64) -> &[u8] {
        let at = distance(self.start, address).and_then(|at| at.checked_add(self.room));
        at.and_then(|at| self.bytes.get(at..)).unwrap_or_default()
    }

    /// Becomes that of another walk, which went through these `steps` and `bytes`.
    fn become_of(&mut self, steps: &[Preserved], start: u64, bytes: &[u8]) {
        self.steps.clear();
        self.steps.extend(steps);
        self.start = start;
        self.room = ROOM;
        self.bytes.clear();
        self.bytes.resize(ROOM, 0);
        self.bytes.extend_from_slice(bytes);
    }

    /// Gets other inner frames: the first `count` steps give way to these, which begin at
    /// `start` and end where the rest begins, as their `bytes` do. Whether there was room.
    fn change(&mut self, count: usize, steps: &[Preserved], start: u64, bytes: &[u8]) -> bool {
        let Some(end) = distance(self.start, start.saturating_add(bytes.len() as u64)) else {
            return false;
        };
        let Some(at) = (self.room + end).checked_sub(bytes.len()) else { return false };
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        (self.start, self.room) = (start, at);
        self.steps.drain(..count);
        steps.iter().rev().for_each(|step| self.steps.push_front(*step));
        true
    }
}

/// Bytes from one address up to another.
fn distance(from: u64, to: u64) -> Option<usize> {
    usize::try_from(to.checked_sub(from)?).ok()
}

/// A walk under way, beside the one before.
#[derive(Debug, Default)]
pub(crate) struct Along {
    before: Trail,
    /// The first frame of the walk before that is further out than this walk is.
    next: usize,
    now: Vec<Preserved>,
    /// After those of `now`, this walk came through these frames of the walk before.
    shared: Option<Range<usize>>,
    /// How often the stack had changed in those, but not the way.
    changes: usize,
    /// Bytes of stack that are walked through alone after comparing was in vain.
    pause: u64,
    not_before: u64,
    /// Frames that it walked to, and that it need not walk to.
    walked: usize,
    spared: usize,
}

impl Along {
    /// The walk has reached a frame by a rule alone; it goes on from where this moves it
    /// to. `addresses` are those of its frames, without this one.
    pub(crate) fn reached(
        &mut self,
        registers: &mut Registers,
        stack: StackMemory<'_>,
        addresses: &mut Vec<u64>,
    ) {
        if self.before.rest.lasts() {
            return;
        }
        self.walked += 1;
        let Some(here) = registers.preserved() else { return self.stray() };
        if here.sp() < self.not_before {
            return self.now.push(here);
        }
        let ahead = self.before.steps.range(self.next..);
        self.next += ahead.take_while(|step| step.sp() <= here.sp()).count();
        let Some(at) = self.next.checked_sub(1).filter(|at| self.before.steps[*at] == here) else {
            self.part();
            return self.now.push(here);
        };
        let same_to = unchanged(&self.before, here.sp(), stack);
        let room = DEEPEST.saturating_sub(addresses.len() + 1);
        let ahead = self.before.steps.range(self.next..).take(room);
        self.next += ahead.take_while(|step| step.sp() <= same_to).count();
        match &self.shared {
            Some(shared) if shared.end == at => self.changes += 1,
            _ => self.part(),
        }
        self.shared.get_or_insert(at..at).end = self.next;
        let last = self.next - 1;
        addresses.extend(self.before.steps.range(at..last).map(Preserved::pc));
        if last > at {
            self.spared += last - at;
            *registers = Registers::from(&self.before.steps[last]);
        }
        self.fared(here.sp(), last > at);
    }

    /// Comparing at `sp` led further, or not: where much has changed, it is seldom tried.
    fn fared(&mut self, sp: u64, further: bool) {
        self.pause = if further { 0 } else { (2 * self.pause).max(FIRST_PAUSE) };
        if self.pause > FIRST_PAUSE {
            self.part();
            self.not_before = sp.saturating_add(self.pause);
        }
    }

    /// The walk has come to a frame by other means than a rule.
    pub(crate) fn stray(&mut self) {
        self.shared = None;
        self.now.clear();
    }

    /// The walk is not where the one before was next.
    fn part(&mut self) {
        if let Some(shared) = self.shared.take() {
            self.now.extend(self.before.steps.range(shared));
        }
    }

    /// What to keep of the walk, which came to this `end`.
    fn finish(mut self, stack: StackMemory<'_>, end: StackEnd) -> (Trail, Vec<Preserved>) {
        let noted = !self.before.rest.lasts();
        // What was read whole may go on where a copy ended.
        if !stack.whole {
            self.before.rest.walked(self.walked, self.spared);
        }
        if !noted {
            return (self.before, self.now);
        }
        let copied_to = stack.start.saturating_add(stack.bytes.len() as u64);
        if let Some(shared) = self.shared.clone()
            && self.changes < CHANGES
            && let Some(last) = self.before.steps.get(shared.end - 1)
            // Beyond a copy is what was there before, if all that was copied is as it was: it
            // is compared once it is read.
            && (shared.end == self.before.steps.len()
                || end == StackEnd::CopyTooShort
                    && unchanged(&self.before, last.sp(), stack) == copied_to)
        {
            let joint = self.before.steps[shared.start].sp();
            let start = self.now.first().map_or(joint, Preserved::sp);
            let bytes = distance(stack.start, start).zip(distance(stack.start, joint));
            if let Some(bytes) = bytes.and_then(|(from, to)| stack.bytes.get(from..to))
                && self.before.change(shared.start, &self.now, start, bytes)
            {
                return (self.before, self.now);
            }
        }
        self.part();
        let Along { mut before, now, .. } = self;
        if let [first, .., last] = now.as_slice()
            && now.len() >= WORTH
            && let Some(kept) = distance(first.sp(), last.sp()).filter(|kept| *kept <= MOST_BYTES)
            && let Some(at) = distance(stack.start, first.sp())
            && let Some(bytes) = stack.bytes.get(at..)
        {
            before.become_of(&now, first.sp(), &bytes[..bytes.len().min(kept)]);
        }
        (before, now)
    }
}

/// The first address from `sp` on where the stack is not what it was at the walk before, or
/// where that cannot be told.
fn unchanged(before: &Trail, sp: u64, stack: StackMemory<'_>) -> u64 {
    let then = before.from(sp);
    let now = distance(stack.start, sp).and_then(|at| stack.bytes.get(at..));
    let mut now = now.unwrap_or_default();
    // What was read later has yet to be proved to belong to the rest.
    if let Some(later) = stack.later.filter(|later| sp <= *later) {
        let room = distance(sp, later).unwrap_or(0);
        now = &now[..now.len().min(room)];
    }
    let mut same = 0;
    for (then, now) in then.chunks(PIECE).zip(now.chunks(PIECE)) {
        if then != now {
            same += then.iter().zip(now).take_while(|(then, now)| then == now).count();
            break;
        }
        same += then.len();
    }
    sp.saturating_add(same as u64)
}

/// The walks of late through the stacks of all threads, the last first.
#[derive(Debug, Default)]
pub(crate) struct Trails {
    known: Vec<(SpaceId, Trail)>,
    /// Room for the steps of the next.
    spare: Vec<Preserved>,
}

impl Trails {
    /// For a walk through `stack`: beside the last that went through a part of it.
    pub(crate) fn along(&mut self, space: SpaceId, stack: StackMemory<'_>) -> Along {
        let end = stack.start.saturating_add(stack.bytes.len() as u64);
        let fits = |(of, trail): &(SpaceId, Trail)| {
            *of == space && stack.start < trail.end() && trail.start < end
        };
        let found = self.known.iter().position(fits);
        let before = found.map(|at| self.known.remove(at).1).unwrap_or_default();
        let mut now = mem::take(&mut self.spare);
        now.clear();
        Along { before, next: 0, now, ..Along::default() }
    }

    /// Keeps what the walk was that ended so.
    pub(crate) fn keep(
        &mut self,
        space: SpaceId,
        along: Along,
        stack: StackMemory<'_>,
        end: StackEnd,
    ) {
        let (trail, spare) = along.finish(stack, end);
        self.spare = spare;
        if trail.steps.len() >= WORTH {
            self.known.truncate(TRAILS - 1);
            self.known.insert(0, (space, trail));
        }
    }

    /// Other code may be mapped in a space.
    pub(crate) fn forget(&mut self, space: SpaceId) {
        self.known.retain(|(of, _)| *of != space);
    }
}

#[cfg(test)]
mod tests;
