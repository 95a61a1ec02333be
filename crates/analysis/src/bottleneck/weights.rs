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
    let mut weights: Vec<Weight> = vec![];
    let mut until = |until: u64, weight: f64| {
        if until > weights.last().map_or(start, |last| last.until) {
            weights.push(Weight { until, weight });
        }
    };
    // What the stretch stands for of the pause before it, to its own length.
    let (mut since, mut more) = (start, 0.0);
    for (index, &(from, to)) in pauses.iter().enumerate() {
        let after = pauses.get(index + 1).map_or(end, |next| next.0) - to;
        let stretch = from - since;
        let before = if after == 0 { stretch } else { after.min(stretch) };
        let told = before + after;
        let part = if told == 0 { 0.0 } else { (to - from) as f64 / told as f64 };
        until(from - before, 1.0 + more);
        until(from, 1.0 + more + part);
        // Where nothing is told that could stand for it, it counts as it is drawn.
        until(to, if told == 0 { 1.0 } else { 0.0 });
        (since, more) = (to, part);
    }
    until(end, 1.0 + more);
    weights
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
