//! The stack through which a walk went.

use std::ops::Range;

use whyslow_events::StackMemory;

/// Bytes of stack that are kept of a walk.
const MOST: usize = 1 << 20;
/// Bytes that a stack may have grown deeper by until the next walk.
const ROOM: u64 = 64 << 10;
/// Bytes that are compared at once.
const PIECE: usize = 1 << 8;

/// Whether what was walked through can be kept: all of it is in `stack`, and not too much.
pub(super) fn can_keep(walked: &Range<u64>, stack: StackMemory<'_>) -> bool {
    let end = offset(stack.start, walked.end).filter(|end| *end <= stack.bytes.len());
    let size = end.and_then(|_| offset(walked.start, walked.end));
    walked.start >= stack.start && size.is_some_and(|size| size <= MOST)
}

/// Bytes of a stack by their addresses, of several walks where none came all the way.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    /// Address of the first.
    start: u64,
    bytes: Vec<u8>,
}

impl Bytes {
    /// The first address from `sp` on where the stack is not what it was, or where that
    /// cannot be told.
    pub(super) fn same_to(&self, sp: u64, stack: StackMemory<'_>) -> u64 {
        let then = offset(self.start, sp).and_then(|at| self.bytes.get(at..));
        let now = offset(stack.start, sp).and_then(|at| stack.bytes.get(at..));
        let (then, mut now) = (then.unwrap_or_default(), now.unwrap_or_default());
        // What was read later has yet to be proved to belong to the rest.
        if let Some(later) = stack.later.filter(|later| sp <= *later) {
            let room = offset(sp, later).unwrap_or(0);
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

    /// Becomes that of `stack` where a walk went, of which what is the `same` need not be
    /// copied. What else is there up to `end` stays as it was; whether there was such.
    pub(super) fn become_of(
        &mut self,
        stack: StackMemory<'_>,
        walked: Range<u64>,
        same: &[Range<u64>],
        end: u64,
    ) -> bool {
        let held = self.start..self.start.saturating_add(self.bytes.len() as u64);
        let near = offset(self.start.min(walked.start), end).is_some_and(|all| all <= MOST);
        let kept = near && walked.start < held.end && held.start < walked.end;
        if !kept {
            self.start = walked.start.saturating_sub(ROOM);
            self.bytes.clear();
        } else if walked.start < self.start {
            let start = walked.start.saturating_sub(ROOM);
            let room = offset(start, self.start).unwrap_or(0);
            self.bytes.splice(0..0, std::iter::repeat_n(0, room));
            self.start = start;
        }
        let end = if kept { end } else { walked.end };
        self.bytes.resize(offset(self.start, end).unwrap_or(0), 0);
        let mut from = walked.start;
        for same in same.iter().filter(|_| kept) {
            self.copy(stack, from..same.start.min(walked.end));
            from = from.max(same.end);
        }
        self.copy(stack, from..walked.end);
        kept
    }

    fn copy(&mut self, stack: StackMemory<'_>, range: Range<u64>) {
        let Some(length) = offset(range.start, range.end) else { return };
        let to = offset(self.start, range.start).and_then(|at| self.bytes.get_mut(at..));
        let from = offset(stack.start, range.start).and_then(|at| stack.bytes.get(at..));
        if let (Some(to), Some(from)) = (to, from) {
            let length = length.min(to.len()).min(from.len());
            to[..length].copy_from_slice(&from[..length]);
        }
    }
}

/// Bytes from one address up to another.
fn offset(from: u64, to: u64) -> Option<usize> {
    usize::try_from(to.checked_sub(from)?).ok()
}
