//! How much an instant counts where the recording paused: what several threads do at the same
//! time is known of what is told alone, and stands for the pauses beside it. What each does
//! by itself is known of pauses, too.

/// The weight of all instants up to a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Weight {
    pub(super) until: u64,
    pub(super) weight: f64,
}

/// The weights from `start` to `end`, in order of time, with these pauses in between. All
/// time has its weight: the time of each pause is given to the stretch behind it, and to as
/// much of the one before.
pub(super) fn weights(start: u64, end: u64, pauses: &[(u64, u64)]) -> Vec<Weight> {
    let mut borders = vec![start, end];
    let mut given = vec![];
    for (index, &(from, to)) in pauses.iter().enumerate() {
        let after = pauses.get(index + 1).map_or(end, |next| next.0);
        let since = index.checked_sub(1).map_or(start, |last| pauses[last].1);
        let before = match after - to {
            0 => from - since,
            length => length.min(from - since),
        };
        let told = before + (after - to);
        let part = if told == 0 { 0.0 } else { (to - from) as f64 / told as f64 };
        given.push((from - before, after, part));
        borders.extend([from - before, from, to, after]);
    }
    borders.sort_unstable();
    borders.dedup();
    let weight = |at: u64| {
        let told = |given: &&(u64, u64, f64)| (given.0..given.1).contains(&at);
        let more: f64 = given.iter().filter(told).map(|given| given.2).sum();
        let paused = pauses.iter().zip(&given).find(|((from, to), _)| (*from..*to).contains(&at));
        match paused {
            // Nothing is told that could stand for it.
            Some((_, (.., part))) => f64::from(u8::from(*part == 0.0)),
            None => 1.0 + more,
        }
    };
    let stretches = borders.windows(2);
    stretches.map(|pair| Weight { until: pair[1], weight: weight(pair[0]) }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(start: u64, weights: &[Weight]) -> f64 {
        let from = std::iter::once(start).chain(weights.iter().map(|it| it.until));
        from.zip(weights).map(|(from, it)| (it.until - from) as f64 * it.weight).sum()
    }

    #[test]
    fn a_pause_is_told_by_what_is_beside_it() {
        let weights = weights(0, 150, &[(100, 140)]);
        let expected = [(90, 1.0), (100, 3.0), (140, 0.0), (150, 3.0)];
        assert_eq!(weights, expected.map(|(until, weight)| Weight { until, weight }));
    }

    #[test]
    fn what_nothing_is_told_of_counts_as_it_is_drawn() {
        assert_eq!(weights(5, 9, &[(5, 9)]), [Weight { until: 9, weight: 1.0 }]);
        assert_eq!(weights(5, 9, &[]), [Weight { until: 9, weight: 1.0 }]);
        let at_the_end = weights(0, 100, &[(20, 100)]);
        let expected = [(20, 5.0), (100, 0.0)];
        assert_eq!(at_the_end, expected.map(|(until, weight)| Weight { until, weight }));
    }

    proptest! {
        #[test]
        fn all_time_has_its_weight(lengths in prop::collection::vec(0..1_000_u64, 1..20)) {
            let mut at = 7;
            let mut ends = lengths.iter().map(|length| { at += length; at });
            let mut pauses = vec![];
            while let (Some(from), Some(to)) = (ends.next(), ends.next()) {
                pauses.push((from, to));
            }
            let end = 7 + lengths.iter().sum::<u64>();
            let weights = weights(7, end, &pauses);
            prop_assert!((sum(7, &weights) - (end - 7) as f64).abs() < 1e-6);
        }
    }
}
