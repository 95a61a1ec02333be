//! Shares of whole nanoseconds that sum to what is shared.

/// Deals out an amount in proportion to lengths that sum to a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    amount: u64,
    whole: u64,
    seen: u64,
    given: u64,
}

impl Parts {
    pub(super) fn new(amount: u64, whole: u64) -> Parts {
        Parts { amount, whole, seen: 0, given: 0 }
    }

    pub(super) fn next(&mut self, length: u64) -> u64 {
        self.seen = self.seen.saturating_add(length);
        let due = scaled(self.amount, self.seen, self.whole);
        due - std::mem::replace(&mut self.given, due)
    }

    /// What no length was there for.
    pub(super) fn left(self) -> u64 {
        self.amount - self.given
    }
}

/// `amount` times `part` of `whole`; nothing of nothing.
pub(super) fn scaled(amount: u64, part: u64, whole: u64) -> u64 {
    let due = u128::from(amount) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(due).unwrap_or(u64::MAX)
}
