//! What to read of a thread at once. A [`Plan`] remembers which parts of memory
//! the last reads of a thread needed; the next one fetches all of them in one
//! call. A [`View`] is memory as that call saw it: what the plan did not cover
//! is read singly, and the plan then covers it too.

use crate::chain::Identity;
use crate::memory::{self, Memory};
use crate::trouble::Trouble;

/// Parts that are closer together than this are read as one, with what is
/// between: a part more costs as much time as copying this. Less than any page,
/// so that nothing between two parts can be unmapped.
const GAP: u64 = 1024;

/// A part that so many reads did not need is dropped.
const PATIENCE: u32 = 64;

/// Bytes in one plan. A stack of the depth that is kept needs less.
const LARGEST: u64 = 2 << 20;

/// Parts of memory that belong to one thread.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// In order of address, apart from each other by [`GAP`] or more.
    parts: Vec<Part>,
    /// Reads so far.
    now: u32,
    /// Where the thread's calls began when it was last seen to stand still.
    pub(crate) root: Option<(u64, Identity)>,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    start: u64,
    end: u64,
    /// The last read that needed it.
    used: u32,
}

/// The bytes of a plan, read once or twice in a row. Kept from read to read: the
/// space for them costs more than the bytes.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    bytes: Vec<u8>,
    /// Where each part begins in each time's bytes.
    starts: Vec<usize>,
    /// The bytes of one time.
    length: usize,
}

impl Plan {
    /// Begins another read of the thread.
    pub(crate) fn next(&mut self) {
        self.now = self.now.wrapping_add(1);
        let now = self.now;
        self.parts.retain(|part| now.wrapping_sub(part.used) < PATIENCE);
    }

    /// Reads all parts in one call, so many times in a row. When that is not
    /// possible the plan is out of date, and begins anew.
    pub(crate) fn fetch(&mut self, memory: &dyn Memory, times: usize, into: &mut Fetched) {
        into.starts.clear();
        into.length = 0;
        for part in &self.parts {
            into.starts.push(into.length);
            into.length += part.length();
        }
        into.bytes.resize(into.length * times, 0);
        let mut ranges = Vec::with_capacity(self.parts.len() * times);
        let mut rest = into.bytes.as_mut_slice();
        for part in self.parts.iter().cycle().take(self.parts.len() * times) {
            let (bytes, after) = rest.split_at_mut(part.length());
            ranges.push((part.start, bytes));
            rest = after;
        }
        if !memory.read_many(&mut ranges) {
            self.parts.clear();
        }
    }

    fn add(&mut self, start: u64, length: u64) {
        let end = start.saturating_add(length);
        let total: u64 = self.parts.iter().map(|part| part.end - part.start).sum();
        if total.saturating_add(length) > LARGEST {
            return;
        }
        let near = self.parts.partition_point(|part| part.end.saturating_add(GAP) < start);
        let beyond = self.parts.partition_point(|part| part.start <= end.saturating_add(GAP));
        let joined = &self.parts[near..beyond.max(near)];
        let start = joined.first().map_or(start, |part| part.start.min(start));
        let end = joined.last().map_or(end, |part| part.end.max(end));
        let part = Part { start, end, used: self.now };
        self.parts.splice(near..beyond.max(near), [part]);
    }

    fn covering(&self, start: u64, length: u64) -> Option<usize> {
        let part = self.parts.partition_point(|part| part.start <= start).checked_sub(1)?;
        (start.checked_add(length)? <= self.parts[part].end).then_some(part)
    }
}

impl Part {
    fn length(&self) -> usize {
        usize::try_from(self.end - self.start).expect("a plan is smaller than memory")
    }
}

/// Memory as one time of a [`Fetched`] saw it.
pub(crate) struct View<'a> {
    memory: &'a dyn Memory,
    plan: &'a mut Plan,
    starts: &'a [usize],
    bytes: &'a [u8],
    singly: Vec<(u64, Vec<u8>)>,
}

impl<'a> View<'a> {
    /// The time numbered `time` of what was fetched by `plan`, which is the
    /// same since.
    pub(crate) fn new(
        memory: &'a dyn Memory,
        plan: &'a mut Plan,
        fetched: &'a Fetched,
        time: usize,
    ) -> Self {
        let bytes = &fetched.bytes[time * fetched.length..][..fetched.length];
        View { memory, plan, starts: &fetched.starts, bytes, singly: Vec::new() }
    }

    /// `length` bytes at `address`.
    pub(crate) fn get(&mut self, address: u64, length: u64) -> Result<&[u8], Trouble> {
        if let Some(part) = self.plan.covering(address, length) {
            let known = &mut self.plan.parts[part];
            known.used = self.plan.now;
            let skipped = usize::try_from(address - known.start).unwrap_or(usize::MAX);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            return Ok(&self.bytes[self.starts[part]..][skipped..][..length]);
        }
        let read = memory::bytes(self.memory, address, length);
        self.singly.push((address, read.ok_or(Trouble::Unreadable(address))?));
        Ok(self.singly.last().map_or(&[], |(_, bytes)| bytes))
    }

    /// Extends the plan by what was read singly. True when nothing was.
    pub(crate) fn finish(self) -> bool {
        let complete = self.singly.is_empty();
        for (address, bytes) in self.singly {
            self.plan.add(address, bytes.len() as u64);
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Each byte is the low byte of its address; counts calls and refuses what
    /// is at [`HOLE`].
    #[derive(Default)]
    struct Ramp {
        single: Cell<u32>,
        bulk: Cell<u32>,
    }

    const HOLE: u64 = 0x9_0000;

    fn fill(address: u64, into: &mut [u8]) -> bool {
        for (byte, at) in into.iter_mut().zip(address..) {
            *byte = at as u8;
        }
        address != HOLE
    }

    impl Memory for Ramp {
        fn read(&self, address: u64, into: &mut [u8]) -> bool {
            self.single.set(self.single.get() + 1);
            fill(address, into)
        }

        fn read_many(&self, ranges: &mut [(u64, &mut [u8])]) -> bool {
            self.bulk.set(self.bulk.get() + 1);
            ranges.iter_mut().all(|(address, into)| fill(*address, into))
        }
    }

    /// Gets each address from one view, and says whether all were covered.
    fn look(memory: &Ramp, plan: &mut Plan, addresses: &[u64]) -> bool {
        plan.next();
        let mut fetched = Fetched::default();
        plan.fetch(memory, 2, &mut fetched);
        let mut view = View::new(memory, plan, &fetched, 1);
        for &address in addresses {
            let bytes = view.get(address, 8).unwrap();
            assert_eq!(bytes, std::array::from_fn::<u8, 8, _>(|i| (address as u8) + i as u8));
        }
        view.finish()
    }

    #[test]
    fn what_was_read_singly_is_then_read_at_once() {
        let (memory, mut plan) = (Ramp::default(), Plan::default());
        let addresses = [0x7000, 0x1000, 0x1040, 0x10f0, 0x1000 + GAP + 0x80];
        assert!(!look(&memory, &mut plan, &addresses));
        assert_eq!(memory.single.take(), 5);
        assert!(look(&memory, &mut plan, &addresses));
        assert_eq!((memory.single.get(), memory.bulk.get()), (0, 2));
        let parts: Vec<_> = plan.parts.iter().map(|part| (part.start, part.end)).collect();
        assert_eq!(parts, [(0x1000, 0x1000 + GAP + 0x88), (0x7000, 0x7008)]);
    }

    #[test]
    fn parts_join_when_the_space_between_them_fills() {
        let mut plan = Plan::default();
        for start in [0, 2 * GAP, 4 * GAP, GAP, 3 * GAP] {
            plan.add(start, 8);
        }
        assert_eq!(plan.parts.len(), 1);
        assert_eq!((plan.parts[0].start, plan.parts[0].end), (0, 4 * GAP + 8));
        plan.add(8, 8);
        assert_eq!((plan.parts[0].start, plan.parts[0].end), (0, 4 * GAP + 8));
    }

    #[test]
    fn an_unused_part_is_dropped() {
        let (memory, mut plan) = (Ramp::default(), Plan::default());
        look(&memory, &mut plan, &[0x1000, 0x7000]);
        for _ in 0..PATIENCE {
            assert!(look(&memory, &mut plan, &[0x1000]));
        }
        assert_eq!(plan.parts.len(), 1);
    }

    #[test]
    fn a_plan_that_cannot_be_read_begins_anew() {
        let (memory, mut plan) = (Ramp::default(), Plan::default());
        look(&memory, &mut plan, &[0x1000]);
        plan.add(HOLE, 8);
        assert!(!look(&memory, &mut plan, &[0x1000]));
        assert!(look(&memory, &mut plan, &[0x1000]));
    }

    #[test]
    fn a_plan_does_not_grow_without_end() {
        let mut plan = Plan::default();
        for part in 0..100 {
            plan.add(part << 32, LARGEST / 10);
        }
        assert_eq!(plan.parts.len(), 10);
        plan.add(u64::MAX - 4, 8);
        assert_eq!(plan.parts.len(), 10);
    }
}
