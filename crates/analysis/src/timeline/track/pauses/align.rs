//! How a pattern is drawn out so that each activity has its amount and yet each part of the
//! pattern keeps its place: what several threads did at the same time they do at the same
//! time then, too.

/// Parts of a pattern that keep their places are of so many intervals on average.
const TOGETHER: usize = 4;
/// Each round comes closer to amounts and places that agree (iterative proportional fitting,
/// Deming and Stephan 1940).
const ROUNDS: usize = 8;
/// Weights are so many to the ns.
const FINE: f64 = 16.0;

/// Weights of the intervals of a pattern, each of a length and of a kind below the number of
/// `amounts`, ns: the amount of each kind is to be dealt out in proportion to them.
pub(super) fn weights(pattern: &[(u64, usize)], amounts: &[u64]) -> Vec<u64> {
    let whole: u64 = pattern.iter().map(|(length, _)| length).sum();
    let wanted: u64 = amounts.iter().sum();
    let places = pattern.len().div_ceil(TOGETHER);
    if whole == 0 || wanted == 0 {
        return pattern.iter().map(|(length, _)| *length).collect();
    }
    let pieces = pieces(pattern, whole, places);
    let mut sums = vec![vec![0.0; amounts.len()]; places];
    for piece in &pieces {
        sums[piece.place][pattern[piece.interval].1] += piece.length;
    }
    let place_wanted = wanted as f64 / places as f64;
    let (mut of_kind, mut of_place) = (vec![1.0; amounts.len()], vec![1.0; places]);
    for _ in 0..ROUNDS {
        for (factor, sums) in of_place.iter_mut().zip(&sums) {
            let sum: f64 = sums.iter().zip(&of_kind).map(|(sum, factor)| sum * factor).sum();
            *factor = if sum > 0.0 { place_wanted / sum } else { 0.0 };
        }
        for (kind, factor) in of_kind.iter_mut().enumerate() {
            let sum: f64 = sums.iter().zip(&of_place).map(|(sums, it)| sums[kind] * it).sum();
            *factor = if sum > 0.0 { amounts[kind] as f64 / sum } else { 0.0 };
        }
    }
    let mut weights = vec![0.0; pattern.len()];
    for piece in &pieces {
        let factor = of_place[piece.place] * of_kind[pattern[piece.interval].1];
        weights[piece.interval] += factor * piece.length;
    }
    weights.into_iter().map(|ns| (ns * FINE).round() as u64).collect()
}

/// The part of an interval that is in one place.
struct Piece {
    interval: usize,
    place: usize,
    length: f64,
}

/// Cuts intervals where one of so many places of equal length ends.
fn pieces(pattern: &[(u64, usize)], whole: u64, places: usize) -> Vec<Piece> {
    let length = whole as f64 / places as f64;
    let (mut pieces, mut at) = (vec![], 0.0);
    for (interval, (span, _)) in pattern.iter().enumerate() {
        let end = at + *span as f64;
        let place = |time: f64| ((time / length) as usize).min(places - 1);
        for place in place(at)..=place(end) {
            let from = at.max(place as f64 * length);
            let to = if place == places - 1 { end } else { end.min((place + 1) as f64 * length) };
            if to > from {
                pieces.push(Piece { interval, place, length: to - from });
            }
        }
        at = end;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lengths that the intervals get.
    fn drawn(pattern: &[(u64, usize)], amounts: &[u64]) -> Vec<f64> {
        let weights = weights(pattern, amounts);
        let whole = |kind: usize| -> u64 {
            let alike = pattern.iter().zip(&weights).filter(|((_, it), _)| *it == kind);
            alike.map(|(_, weight)| weight).sum()
        };
        let drawn = pattern.iter().zip(&weights);
        drawn
            .map(|((_, kind), weight)| {
                amounts[*kind] as f64 * *weight as f64 / whole(*kind).max(1) as f64
            })
            .collect()
    }

    #[test]
    fn what_has_its_share_is_drawn_out_evenly() {
        let pattern: Vec<_> = (0..100).flat_map(|_| [(10, 0), (30, 1)]).collect();
        let drawn = drawn(&pattern, &[20_000, 60_000]);
        assert!(drawn.chunks(2).all(|pair| (pair[0] - 200.0).abs() < 5.0), "{drawn:?}");
    }

    #[test]
    fn each_part_keeps_its_place_though_one_activity_has_more_than_its_share() {
        // At first it hardly computes, and then all the time.
        let first = (0..100).flat_map(|_| [(10, 0), (30, 1)]);
        let pattern: Vec<_> = first.chain((0..100).flat_map(|_| [(30, 0), (10, 1)])).collect();
        let drawn = drawn(&pattern, &[50_000, 30_000]);
        let half: f64 = drawn[..200].iter().sum();
        assert!((half - 40_000.0).abs() < 800.0, "{half}");
        let (all, of_first): (f64, f64) =
            (drawn.iter().step_by(2).sum(), drawn[..200].iter().step_by(2).sum());
        assert!((all - 50_000.0).abs() < 1.0 && of_first < 20_000.0, "{all} {of_first}");
    }

    proptest! {
        #[test]
        fn any_pattern_has_a_weight_for_each_interval(
            pattern in prop::collection::vec((0..1_000_000_u64, 0..3_usize), 0..60),
            amounts in prop::array::uniform3(0..1_000_000_000_u64),
        ) {
            let weights = weights(&pattern, &amounts);
            prop_assert_eq!(weights.len(), pattern.len());
            let (sum, most) = (weights.iter().map(|it| u128::from(*it)).sum::<u128>(), amounts.iter().sum::<u64>());
            prop_assert!(sum <= 16 * u128::from(most) + 60 || amounts.iter().sum::<u64>() == 0);
        }
    }
}
