//! Waits that a timer cuts short and that go on at once at the same place, as the
//! wait for CPython's GIL does every 5 ms: one wait in truth. What was seen in it
//! once holds as long as it goes on, and nobody has to look again.

use whyslow_events::{StackId, Tid, UserRegisters};

use super::Tracker;
use crate::arch::Registers;

/// On the CPU, or on its way there, for no longer, ns: enough to see that the time
/// is over and to wait again, too little to do anything else.
const AT_ONCE: u64 = 50_000;

/// Program counter and stack pointer.
type Place = (u64, u64);

/// A look at a wait comes when the records of its beginning have: shorter ones, ns,
/// are over by then.
const LOOKED_AT: u64 = 20_000_000;

/// What a wait that begins has to do with the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Nothing.
    None,
    /// It is the same, and is cut short too soon to be looked at.
    Short,
    /// It is the same, with these calls.
    Known(StackId),
}

/// What is known of the wait that a thread is in, or was in last.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    place: Option<Place>,
    /// Its calls as somebody saw them.
    stack: Option<StackId>,
    /// An interrupt ended it, as a timer does.
    timed_out: bool,
    /// It is the one before, of which all is known.
    goes_on: bool,
}

impl Repeats {
    /// Somebody saw the wait at the place that `registers` tell.
    pub(super) fn see(&mut self, registers: &UserRegisters, stack: StackId) {
        if self.place == Some((registers.pc, registers.sp())) {
            self.stack = Some(stack);
        }
    }

    /// The wait ends.
    pub(super) fn end(&mut self, by_interrupt: bool) {
        self.timed_out = by_interrupt;
    }

    /// Whether all is known of the wait the thread is in, from before.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// A wait begins at `place`, if that is known, so long after the end of the one
    /// before, which lasted so long.
    fn begin(&mut self, place: Option<Place>, busy: u64, lasted: u64) -> Repeat {
        let timed_out = std::mem::take(&mut self.timed_out);
        let before = std::mem::replace(&mut self.place, place);
        let same = timed_out && busy <= AT_ONCE && place.is_some() && before == place;
        self.stack = self.stack.filter(|_| same);
        self.goes_on = self.stack.is_some();
        match self.stack {
            Some(stack) => Repeat::Known(stack),
            None if same && lasted < LOOKED_AT => Repeat::Short,
            None => Repeat::None,
        }
    }
}

impl Tracker {
    /// What the wait that `tid` begins at `time` has to do with the one before.
    pub(super) fn repeat(&mut self, time: u64, tid: Tid, registers: Option<&Registers>) -> Repeat {
        let Some(thread) = self.threads.get_mut(&tid) else { return Repeat::None };
        let place = registers.map(|registers| (registers.pc, registers.sp));
        let (busy, lasted) = match thread.awake.checked_sub(thread.asleep) {
            Some(lasted) => (time.saturating_sub(thread.awake), lasted),
            None => (u64::MAX, u64::MAX),
        };
        thread.repeats.begin(place, busy, lasted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: StackId = StackId(7);
    const HERE: Option<Place> = Some((1, 2));
    const LONG: u64 = LOOKED_AT;

    /// A wait that was seen, and ended by a timer.
    fn seen() -> Repeats {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.begin(HERE, 1, 1), Repeat::None);
        repeats.see(&UserRegisters::new(1, 2), STACK);
        repeats.end(true);
        repeats
    }

    #[test]
    fn what_was_seen_holds_while_timers_end_the_wait_and_it_goes_on_at_once() {
        let mut repeats = seen();
        for _ in 0..3 {
            assert_eq!(repeats.begin(HERE, AT_ONCE, LONG), Repeat::Known(STACK));
            assert!(repeats.goes_on());
            repeats.end(true);
        }
        repeats.end(false);
        assert_eq!(repeats.begin(HERE, 1, 1), Repeat::None, "somebody woke it");
        assert!(!repeats.goes_on());
        repeats.end(true);
        assert_eq!(repeats.begin(HERE, 1, LONG), Repeat::None, "there is time to look at it");
        repeats.end(true);
        assert_eq!(repeats.begin(HERE, 1, LONG - 1), Repeat::Short, "nobody can see it");
    }

    #[test]
    fn another_place_or_work_in_between_is_another_wait() {
        assert_eq!(seen().begin(Some((1, 3)), 1, 1), Repeat::None);
        assert_eq!(seen().begin(None, 1, 1), Repeat::None);
        assert_eq!(seen().begin(HERE, AT_ONCE + 1, 1), Repeat::None);
        let mut elsewhere = seen();
        elsewhere.see(&UserRegisters::new(8, 8), StackId(8));
        assert_eq!(elsewhere.begin(HERE, 1, 1), Repeat::Known(STACK), "that was another wait");
    }
}
