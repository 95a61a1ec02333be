//! The rest of a stack whose copy was too short: read from the thread, which has gone
//! on since, and believed where it proves to be that of the copy.

use std::mem;
use std::ops::Range;

use whyslow_events::{StackEnd, StackMemory, Tid};

use super::{READS, UserHalf};
use crate::perf::record::UserStack;
use crate::perf::tracker::Tracker;

/// Where a copy was too short and holds no call, so much of its end must be as
/// it was before what lies beyond is believed, in bytes.
pub(super) const OVERLAP: usize = 512;
/// Bytes of a return address.
const WORD: usize = 8;
/// Room that is kept from one read to the next, in bytes.
const KEPT: usize = 2 << 20;

/// Which of [`READS`] the stack of a thread needed last: it soon needs it again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::perf::tracker) struct Reach(usize);

impl Reach {
    /// How much to read of such a stack: first, and when that was too short.
    pub(super) fn reads(self) -> impl Iterator<Item = usize> {
        READS.into_iter().skip(self.0)
    }

    /// Of a stack that had `filled` bytes when so many as the read at `index` allows
    /// were asked for.
    fn of(filled: usize, index: usize) -> Reach {
        Reach(READS.iter().position(|limit| filled < *limit).map_or(index, |fits| fits.min(index)))
    }
}

impl Tracker {
    /// Unwinds a copy with what lies beyond it now.
    pub(super) fn unwind_extended(
        &mut self,
        time: u64,
        tid: Tid,
        copy: &UserStack,
        proof: &Range<usize>,
    ) -> Option<UserHalf> {
        self.with_room(|tracker, all| tracker.unwind_in(all, time, tid, copy, proof))
    }

    /// What comes of a stack that is read into a room, of which as much stays as is worth it.
    pub(super) fn with_room<T>(&mut self, read: impl FnOnce(&mut Self, &mut Vec<u8>) -> T) -> T {
        let mut room = mem::take(&mut self.room);
        let found = read(self, &mut room);
        room.truncate(KEPT);
        room.shrink_to(KEPT);
        self.room = room;
        found
    }

    fn unwind_in(
        &mut self,
        all: &mut Vec<u8>,
        time: u64,
        tid: Tid,
        copy: &UserStack,
        proof: &Range<usize>,
    ) -> Option<UserHalf> {
        let Reach(first) = self.threads.get(&tid)?.reach;
        for (index, &limit) in READS.iter().enumerate().skip(first) {
            let (filled, user) = self.unwind_with(all, tid, copy, proof, limit)?;
            if let Some(thread) = self.threads.get_mut(&tid) {
                thread.reach = Reach::of(filled, index);
            }
            let user = user?;
            if user.end != StackEnd::CopyTooShort {
                return Some(user);
            }
            if !self.reads.allows(time) {
                return Some(UserHalf { end: StackEnd::OverBudget, ..user });
            }
        }
        None
    }

    /// Unwinds a copy with up to `limit` bytes beyond it: how many there are, and what
    /// came of it, unless that does not belong to the copy. `None` when nothing could be
    /// read.
    fn unwind_with(
        &mut self,
        all: &mut Vec<u8>,
        tid: Tid,
        UserStack { registers, bytes, .. }: &UserStack,
        proof: &Range<usize>,
        limit: usize,
    ) -> Option<(usize, Option<UserHalf>)> {
        let (pid, space) = self.space_of(tid)?;
        let start = registers.sp();
        let end = start.checked_add(bytes.len() as u64)?;
        let mut now = [0; OVERLAP];
        let now = now.get_mut(..proof.len())?;
        if all.len() < bytes.len() + limit {
            all.resize(bytes.len() + limit, 0);
        }
        let (copied, beyond) = all.split_at_mut(bytes.len());
        copied.copy_from_slice(bytes);
        let place = start.checked_add(proof.start as u64)?;
        let inspector = self.waits.inspector();
        let filled = inspector.stack_beyond(pid, (place, now), (end, &mut beyond[..limit]))?;
        self.reads.spend(filled);
        let later = (*now != bytes[proof.clone()]).then_some(end);
        let known = &all[..bytes.len() + filled];
        let memory = StackMemory { start, bytes: known, whole: filled < limit, later };
        let mut user = self.unwind(space, registers, memory);
        let believed = match user.end {
            StackEnd::Complete => {
                user.end = StackEnd::Extended;
                true
            }
            StackEnd::CopyTooShort => true,
            // What lies there now does not belong to the copy.
            StackEnd::BadUnwindInfo => false,
            // No call that is seen leads to the copy.
            _ => later.is_none(),
        };
        Some((filled, believed.then_some(user)))
    }
}

/// Where a copy shows that the frames beyond it are still those of its time:
/// at the return address into the outermost frame it gives, if it gives one.
/// What else lies there may be an array that is being filled.
pub(super) fn proof(copy: &[u8], so_far: &[u64]) -> Option<Range<usize>> {
    match so_far {
        [_, .., outermost] => {
            let mut words = copy.chunks_exact(WORD);
            let at = WORD * words.rposition(|word| word == outermost.to_ne_bytes())?;
            Some(at..at + WORD)
        }
        _ => Some(copy.len().checked_sub(OVERLAP)?..copy.len()),
    }
}
