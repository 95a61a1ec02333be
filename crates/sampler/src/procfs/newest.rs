//! Whether anything may have begun on the host, by the number that was given last.

use std::mem;

use whyslow_events::Tid;

/// The youngest process or thread of the host when we looked for new ones.
#[derive(Debug)]
pub(super) struct Newest {
    number: u32,
    /// It has ended, so that another may have the same number.
    free: bool,
    /// Another may have been taken for one that had ended, then.
    has_left: bool,
}

impl Newest {
    pub(super) fn new(number: u32) -> Self {
        Newest { number, free: false, has_left: false }
    }

    /// Whether another may have begun since, now that this is the newest; 0 when that cannot
    /// be told.
    pub(super) fn may_be_another(&self, number: u32) -> bool {
        number != self.number || number == 0 || self.free
    }

    /// New ones are looked for, and this is the newest.
    pub(super) fn look(&mut self, number: u32) {
        self.free &= number == self.number;
        self.number = number;
    }

    /// A thread of the target has ended.
    pub(super) fn left(&mut self, tid: Tid) {
        self.free |= tid.0 == self.number;
        self.has_left = true;
    }

    /// Whether one has ended since the last call: who began before that was seen has not
    /// been found by the number of threads, and all may have been still since.
    pub(super) fn has_left(&mut self) -> bool {
        mem::take(&mut self.has_left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn searches(newest: &mut Newest, number: u32) -> bool {
        let searches = newest.may_be_another(number);
        if searches {
            newest.look(number);
        }
        searches
    }

    #[test]
    fn another_number_is_another() {
        let mut newest = Newest::new(7);
        let hidden = 0;
        let found = [7, 9, 9, hidden, hidden].map(|number| searches(&mut newest, number));
        assert_eq!(found, [false, true, false, true, true]);
    }

    #[test]
    fn a_number_that_is_free_may_be_another_s_until_one_begins() {
        let mut newest = Newest::new(7);
        newest.left(Tid(6));
        assert!(newest.has_left() && !newest.has_left());
        assert!(!searches(&mut newest, 7));
        newest.left(Tid(7));
        // Whoever gets it may not have begun when we look first.
        let found = [7, 7, 8, 8].map(|number| searches(&mut newest, number));
        assert_eq!(found, [true, true, true, false]);
    }
}
