//! The lengths of waits: as they are, or rounded where there are too many to keep.

use std::collections::BTreeMap;

use crate::percentile::percentile;

/// Lengths are rounded to so many binary digits: by less than 1 in 128.
const DIGITS: u32 = 7;

/// Any number of lengths, ns.
#[derive(Debug, Default)]
pub(crate) struct Lengths {
    /// In the order of time.
    exact: Vec<u64>,
    /// How many there are of each rounded length.
    rounded: BTreeMap<u64, u64>,
    longest: u64,
}

/// The same, no more to come.
#[derive(Debug)]
pub(crate) struct Sorted(Lengths);

impl Lengths {
    pub(crate) fn push(&mut self, length: u64) {
        self.exact.push(length);
    }

    /// Adds to the last length; false when there is none.
    pub(crate) fn lengthen(&mut self, by: u64) -> bool {
        let last = self.exact.last_mut();
        last.map(|last| *last += by).is_some()
    }

    pub(crate) fn add(&mut self, other: Lengths) {
        self.exact.extend(other.exact);
        for (length, count) in other.rounded {
            *self.rounded.entry(length).or_default() += count;
        }
        self.longest = self.longest.max(other.longest);
    }

    /// From now on needs room that does not grow with the number of lengths.
    pub(crate) fn round(&mut self) {
        for length in std::mem::take(&mut self.exact) {
            self.longest = self.longest.max(length);
            *self.rounded.entry(rounded(length)).or_default() += 1;
        }
    }

    /// The same, to be asked.
    pub(crate) fn sorted(mut self) -> Sorted {
        if self.rounded.is_empty() {
            self.exact.sort_unstable();
        } else {
            self.round();
        }
        Sorted(self)
    }
}

impl Sorted {
    pub(crate) fn count(&self) -> u64 {
        self.0.exact.len() as u64 + self.0.rounded.values().sum::<u64>()
    }

    pub(crate) fn max(&self) -> u64 {
        self.0.longest.max(percentile(&self.0.exact, 100))
    }

    /// The shortest length that at least `percent` of them do not exceed; 0 of none.
    pub(crate) fn percentile(&self, percent: u64) -> u64 {
        if self.0.rounded.is_empty() {
            return percentile(&self.0.exact, percent as usize);
        }
        let rank = (self.count() * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let reached = |(_, count): &(&u64, &u64)| {
            seen += **count;
            seen >= rank
        };
        let length = self.0.rounded.iter().find(reached).map_or(0, |(length, _)| *length);
        length.min(self.0.longest)
    }
}

/// The middle of the lengths that agree in their first digits.
fn rounded(length: u64) -> u64 {
    let rest = (u64::BITS - length.leading_zeros()).saturating_sub(DIGITS);
    (length >> rest << rest) + ((1 << rest) >> 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(lengths: &[u64]) -> Lengths {
        let mut all = Lengths::default();
        lengths.iter().for_each(|length| all.push(*length));
        all
    }

    proptest! {
        #[test]
        fn rounding_keeps_counts_and_maximum_and_percentiles_within_one_percent(
            lengths in proptest::collection::vec(0..u64::MAX >> 8, 1..200)
        ) {
            let exact = of(&lengths).sorted();
            let mut all = of(&lengths);
            all.round();
            let all = all.sorted();
            prop_assert_eq!(all.count(), exact.count());
            prop_assert_eq!(all.max(), exact.max());
            for percent in [1, 50, 99] {
                let (near, is) = (all.percentile(percent), exact.percentile(percent));
                prop_assert!(near.abs_diff(is) as f64 <= is as f64 / 100.0, "{} {}", near, is);
            }
        }
    }

    #[test]
    fn rounded_lengths_are_few() {
        let mut all = of(&(0..1_000_000).collect::<Vec<_>>());
        all.round();
        assert!(all.rounded.len() < 2_000, "{}", all.rounded.len());
    }

    #[test]
    fn what_is_added_to_rounded_lengths_is_rounded_too() {
        let mut all = of(&[1, 2]);
        all.round();
        all.add(of(&[3]));
        let all = all.sorted();
        assert_eq!((all.count(), all.max(), all.percentile(50)), (3, 3, 2));
    }
}
