//! Dividing a whole number into whole parts without losing any of it.

/// Deals out `amount` in proportion to parts that sum to `whole`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Split {
    amount: u64,
    whole: u64,
    /// Of `whole`, in the parts so far.
    seen: u64,
    /// Of `amount`, for them.
    given: u64,
}

impl Split {
    /// `amount` is at most `whole`, so no part is given more than it is long.
    pub(crate) fn new(amount: u64, whole: u64) -> Self {
        Split { amount: amount.min(whole), whole, seen: 0, given: 0 }
    }

    /// What the next part is given.
    pub(crate) fn part(&mut self, length: u64) -> u64 {
        self.seen = self.seen.saturating_add(length).min(self.whole);
        let due = u128::from(self.amount) * u128::from(self.seen) / u128::from(self.whole.max(1));
        let due = u64::try_from(due).unwrap_or(self.amount);
        due - std::mem::replace(&mut self.given, due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_and_no_part_overflows() {
        let lengths = [3, 1, 0, 1, 1, 1];
        for amount in 0..=7 {
            let mut split = Split::new(amount, 7);
            let parts = lengths.map(|length| split.part(length));
            assert_eq!(parts.iter().sum::<u64>(), amount);
            assert!(parts.iter().zip(lengths).all(|(part, length)| *part <= length), "{parts:?}");
        }
        assert_eq!(Split::new(9, 7).part(7), 7);
        assert_eq!(Split::new(0, 0).part(0), 0);
    }
}
