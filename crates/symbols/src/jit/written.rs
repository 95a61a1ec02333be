//! What a runtime has written, on its way into the codes of its process: with
//! the time from which it holds.

use crate::jit::codes::{Code, Codes, Room};

/// Where code is put that was read at one moment.
#[derive(Debug)]
pub(crate) struct Written<'a> {
    codes: &'a mut Codes,
    room: &'a mut Room,
    /// The moment, ns.
    now: u64,
    /// Since when what has no time of its own is taken to be there, ns.
    arrived: u64,
}

impl<'a> Written<'a> {
    /// Read at `now`, and not there at the reading before.
    pub(crate) fn at(now: u64, codes: &'a mut Codes, room: &'a mut Room) -> Self {
        Written { codes, room, now, arrived: now }
    }

    /// The same when it may have been there for long.
    pub(crate) fn long_ago(self) -> Self {
        Written { arrived: 0, ..self }
    }

    /// Code at an address, with the time the runtime gives, if it does.
    pub(crate) fn load(&mut self, start: u64, size: u64, code: Code, time: Option<u64>) {
        self.codes.insert(start, size, code, self.since(time), self.room);
    }

    /// Code that moved.
    pub(crate) fn shift(&mut self, from: u64, to: u64, time: Option<u64>) {
        self.codes.shift(from, to, self.since(time), self.room);
    }

    /// A time that is still to come is on another clock than ours.
    fn since(&self, time: Option<u64>) -> u64 {
        time.filter(|time| (1..=self.now).contains(time)).unwrap_or(self.arrived)
    }
}
