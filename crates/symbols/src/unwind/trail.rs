//! What a walk before came by: the outer frames of a deep stack hardly change from one
//! sample to the next, and to compare memory is faster by far than to walk through it.
//!
//! Where a frame has the same registers as one of the walk before, and the stack from there
//! on the same bytes, the frames that follow are the same, too: a step by a rule
//! depends on nothing else, and reads only up to where its caller's frame begins. What
//! depends on more, such as code in memory, is walked each time. One frame in some is
//! noted with its registers, by where on the stack it is: two walks through the same frames
//! note the same.

mod bytes;
mod rest;

use std::mem;
use std::ops::Range;

use whyslow_events::{SpaceId, StackEnd, StackMemory, Unwound};

use crate::unwind::registers::{Preserved, Registers, SP};
use crate::unwind::trail::bytes::Bytes;
use crate::unwind::trail::rest::Rest;
use crate::unwind::walk::DEEPEST;

/// Stacks of fewer frames are walked as fast as they are compared.
const WORTH: usize = 32;
/// Bytes that are walked through before comparing is tried again, at first.
const FIRST_PAUSE: u64 = 128;
/// Walks that are kept: those of the threads that are deep in their stacks at a time.
const TRAILS: usize = 16;

/// Whether a frame with this stack pointer is noted: one in eight, whatever the distances.
fn is_noted(sp: u64) -> bool {
    const RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    (sp >> 3).wrapping_mul(RATIO) >> 61 == 0
}

/// A frame that was noted.
#[derive(Clone, Copy, Debug)]
struct Mark {
    registers: Preserved,
    /// Which of the frames of its walk.
    frame: usize,
    /// It was come to by another walk than the one before it: what is between is not known.
    apart: bool,
}

/// A walk, as far as it went by rules alone: its frames, innermost first, and the stack
/// through which it went.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    marks: Vec<Mark>,
    /// Return addresses, from the first mark on.
    frames: Vec<u64>,
    bytes: Bytes,
    rest: Rest,
}

impl Trail {
    /// From where to where on the stack it goes.
    fn extent(&self) -> Range<u64> {
        match (self.marks.first(), self.marks.last()) {
            (Some(first), Some(last)) => first.registers.sp()..last.registers.sp(),
            _ => 0..0,
        }
    }
}

/// A walk under way, beside the one before.
#[derive(Debug, Default)]
pub(crate) struct Along {
    before: Trail,
    /// The first mark of the walk before that is further out than this walk is.
    next: usize,
    marks: Vec<Mark>,
    /// Room for the frames.
    frames: Vec<u64>,
    /// Where the stack is as it was at the walk before.
    same: Vec<Range<u64>>,
    /// The last mark is one of the walk before, from which on all is the same up to here.
    joined: Option<u64>,
    /// Bytes of stack that are walked through alone after comparing was in vain.
    pause: u64,
    not_before: u64,
    /// Frames that it walked to, and that it need not walk to.
    walked: usize,
    spared: usize,
}

impl Along {
    /// About how many frames there will be.
    pub(crate) fn expected(&self) -> usize {
        WORTH + self.before.frames.len()
    }

    /// Whether the walk is to tell of a frame with this stack pointer.
    pub(crate) fn marks(&self, sp: u64) -> bool {
        is_noted(sp) && !self.before.rest.lasts()
    }

    /// The walk has passed so many frames that need not be told of.
    pub(crate) fn passed(&mut self, frames: usize) {
        self.walked += frames;
    }

    /// The walk has reached a frame by a rule alone; it goes on from where this moves it
    /// to. `addresses` are those of its frames, without this one.
    pub(crate) fn reached(
        &mut self,
        registers: &mut Registers,
        stack: StackMemory<'_>,
        addresses: &mut Vec<u64>,
    ) {
        self.walked += 1;
        if !registers.get(SP).is_some_and(|sp| self.marks(sp)) {
            return;
        }
        let Some(here) = registers.preserved() else { return };
        let frame = addresses.len();
        let matched = here.sp() >= self.not_before && {
            let ahead = self.before.marks[self.next..].iter();
            self.next += ahead.take_while(|mark| mark.registers.sp() <= here.sp()).count();
            let last = self.next.checked_sub(1).and_then(|at| self.before.marks.get(at));
            last.is_some_and(|mark| mark.registers == here)
        };
        if matched {
            self.compare(registers, stack, addresses);
        } else {
            self.joined = None;
            self.marks.push(Mark { registers: here, frame, apart: false });
        }
    }

    /// Takes over what follows the last mark before, at which the walk is, as far as the
    /// stack is the same.
    fn compare(
        &mut self,
        registers: &mut Registers,
        stack: StackMemory<'_>,
        addresses: &mut Vec<u64>,
    ) {
        let at = self.next - 1;
        let here = self.before.marks[at];
        let sp = here.registers.sp();
        let same_to = self.before.bytes.same_to(sp, stack);
        let most = here.frame + DEEPEST.saturating_sub(addresses.len() + 1);
        let follows =
            |mark: &&Mark| mark.registers.sp() <= same_to && !mark.apart && mark.frame <= most;
        let further = self.before.marks[self.next..].iter().take_while(follows).count();
        let taken = &self.before.marks[at..=at + further];
        let moved = addresses.len();
        let frame = |mark: &Mark| mark.frame - here.frame + moved;
        self.marks.extend(taken.iter().map(|it| Mark { frame: frame(it), apart: false, ..*it }));
        if let [.., last] = taken
            && further > 0
        {
            addresses.extend(&self.before.frames[here.frame..last.frame]);
            self.spared += last.frame - here.frame;
            *registers = Registers::from(&last.registers);
        }
        self.next += further;
        self.same.push(sp..same_to);
        self.joined = Some(same_to);
        self.fared(sp, further > 0);
    }

    /// Comparing at `sp` led further, or not: where much has changed, it is seldom tried.
    fn fared(&mut self, sp: u64, further: bool) {
        self.pause = if further { 0 } else { (2 * self.pause).max(FIRST_PAUSE) };
        if self.pause > FIRST_PAUSE {
            self.not_before = sp.saturating_add(self.pause);
        }
    }

    /// The walk has come to a frame by other means than a rule.
    pub(crate) fn stray(&mut self) {
        self.joined = None;
        self.marks.clear();
        self.same.clear();
    }

    /// What to keep of the walk, and the room it leaves.
    fn finish(mut self, stack: StackMemory<'_>, unwound: &Unwound) -> (Trail, Room) {
        let noted = !self.before.rest.lasts();
        // What was read whole may go on where a copy ended.
        if !stack.whole {
            self.before.rest.walked(self.walked, self.spared);
        }
        let mut trail = mem::take(&mut self.before);
        if noted && let Some(ends) = self.ends(stack, unwound) {
            self.lay(&mut trail, stack, unwound, ends);
        }
        let Along { mut marks, mut frames, .. } = self;
        marks.clear();
        frames.clear();
        (trail, Room { marks, frames })
    }

    /// The first and the last mark, if what is between is worth to be kept.
    fn ends(&mut self, stack: StackMemory<'_>, unwound: &Unwound) -> Option<(Mark, Mark)> {
        while self.marks.pop_if(|last| last.frame >= unwound.addresses.len()).is_some() {
            self.joined = None;
        }
        let (first, last) = (*self.marks.first()?, *self.marks.last()?);
        let walked = first.registers.sp()..last.registers.sp();
        let worth = last.frame - first.frame >= WORTH && bytes::can_keep(&walked, stack);
        worth.then_some((first, last))
    }

    /// Makes of the trail of the walk before that of this one. What the walk before came by
    /// further out stays, if this one has not come so far: it is compared once it is read.
    fn lay(
        &mut self,
        trail: &mut Trail,
        stack: StackMemory<'_>,
        unwound: &Unwound,
        (first, last): (Mark, Mark),
    ) {
        let (inner, outer) = (first.registers.sp(), last.registers.sp());
        let short = matches!(unwound.end, StackEnd::CopyTooShort | StackEnd::BadUnwindInfo);
        let beyond = trail.marks.iter().position(|mark| mark.registers.sp() > outer);
        let beyond = beyond.filter(|_| short).map_or(&[][..], |at| &trail.marks[at..]);
        let end = beyond.last().map_or(outer, |mark| mark.registers.sp());
        let kept = trail.bytes.become_of(stack, inner..outer, &self.same, end);
        let copied_to = stack.start.saturating_add(stack.bytes.len() as u64);
        let seamless = self.joined.is_some_and(|same_to| same_to >= copied_to);
        let joint = trail.marks[..self.next].last().filter(|_| seamless);
        self.frames.extend(&unwound.addresses[first.frame..=last.frame]);
        self.marks.iter_mut().for_each(|mark| mark.frame -= first.frame);
        if kept && let [next, ..] = beyond {
            let joint = joint.filter(|_| !next.apart);
            // The frame of the joint is that of the last mark here.
            let from = joint.map_or(next.frame, |joint| joint.frame + 1);
            let moved = self.frames.len();
            self.frames.extend(&trail.frames[from..]);
            let mark = |it: &Mark| Mark { frame: it.frame - from + moved, ..*it };
            self.marks.extend(beyond.iter().map(mark));
            let at = self.marks.len() - beyond.len();
            self.marks[at].apart = joint.is_none();
        }
        mem::swap(&mut trail.marks, &mut self.marks);
        mem::swap(&mut trail.frames, &mut self.frames);
    }
}

/// Room for the marks and frames of a walk.
#[derive(Debug, Default)]
struct Room {
    marks: Vec<Mark>,
    frames: Vec<u64>,
}

/// The walks of late through the stacks of all threads, the last first.
#[derive(Debug, Default)]
pub(crate) struct Trails {
    known: Vec<(SpaceId, Trail)>,
    /// For the next.
    room: Room,
}

impl Trails {
    /// For a walk through `stack`: beside the last that went through a part of it.
    pub(crate) fn along(&mut self, space: SpaceId, stack: StackMemory<'_>) -> Along {
        let end = stack.start.saturating_add(stack.bytes.len() as u64);
        let fits = |(of, trail): &(SpaceId, Trail)| {
            let Range { start: from, end: to } = trail.extent();
            *of == space && stack.start < to && from < end
        };
        let found = self.known.iter().position(fits);
        let before = found.map(|at| self.known.remove(at).1).unwrap_or_default();
        let Room { marks, frames } = mem::take(&mut self.room);
        Along { before, marks, frames, ..Along::default() }
    }

    /// Keeps what the walk was.
    pub(crate) fn keep(
        &mut self,
        space: SpaceId,
        along: Along,
        stack: StackMemory<'_>,
        unwound: &Unwound,
    ) {
        let (trail, room) = along.finish(stack, unwound);
        self.room = room;
        if trail.frames.len() >= WORTH {
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
