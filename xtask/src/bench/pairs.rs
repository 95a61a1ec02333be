//! How much longer something takes than something else, from pairs of measures that
//! scatter by more than that, and how sure that is.

use serde::Serialize;

/// Times of one thing in times of another, each of neighbours in time.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Pairs(Vec<f64>);

/// Nineteen of twenty intervals hold the truth: so many standard deviations.
const DEVIATIONS: f64 = 1.96;

impl Pairs {
    /// What takes `time`, and what it is compared with.
    pub(super) fn push(&mut self, time: f64, other: f64) {
        self.0.push(time / other);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The factor: the median of the means of any two (Hodges and Lehmann). A few pairs that
    /// something disturbed do not matter, and of two things alike neither is the longer.
    pub(super) fn factor(&self) -> f64 {
        super::median(self.means()).exp()
    }

    /// In which interval it is with 95 % certainty, by Wilcoxon's signed ranks, whatever
    /// the pairs scatter by. Of fewer than six pairs nothing can be said.
    pub(super) fn interval(&self) -> Option<[f64; 2]> {
        let mut means = self.means();
        let count = self.0.len() as f64;
        let middle = count * (count + 1.0) / 4.0;
        let deviation = (count * (count + 1.0) * (2.0 * count + 1.0) / 24.0).sqrt();
        // The correction for what is counted makes it no narrower than the exact one.
        let beyond = middle - DEVIATIONS * deviation - 0.5;
        if beyond < 0.0 {
            return None;
        }
        means.sort_by(f64::total_cmp);
        let beyond = beyond as usize;
        Some([means[beyond], means[means.len() - 1 - beyond]].map(f64::exp))
    }

    /// The means of the logarithms of any two, each with itself as well.
    fn means(&self) -> Vec<f64> {
        let logs: Vec<f64> = self.0.iter().map(|ratio| ratio.ln()).collect();
        let with_later =
            |(at, one): (usize, &f64)| logs[at..].iter().map(|it| one.midpoint(*it)).collect();
        logs.iter().enumerate().flat_map(|pair| -> Vec<f64> { with_later(pair) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times that are 1 as a rule, scatter by 5 % and are up to twice as long now and then.
    fn times(mut seed: u64) -> impl Iterator<Item = f64> {
        let mut next = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as f64 / (1u64 << 31) as f64
        };
        std::iter::repeat_with(move || {
            let disturbed = if next() < 0.2 { next() } else { 0.0 };
            0.95 + 0.1 * next() + disturbed
        })
    }

    fn pairs(seed: u64, count: usize, factor: f64) -> Pairs {
        let mut pairs = Pairs::default();
        times(seed).zip(times(!seed)).take(count).for_each(|(one, other)| {
            pairs.push(one * factor, other);
        });
        pairs
    }

    #[test]
    fn the_interval_holds_the_truth_nineteen_times_in_twenty() {
        for truth in [1.0, 1.02] {
            let holds = |seed: &u64| {
                let [low, high] = pairs(*seed, 30, truth).interval().unwrap();
                (low..=high).contains(&truth)
            };
            let holding = (0..1000).filter(holds).count();
            assert!((930..=975).contains(&holding), "{holding} of 1000");
        }
    }

    #[test]
    fn many_pairs_tell_what_single_ones_do_not() {
        let pairs = pairs(7, 300, 1.02);
        let [low, high] = pairs.interval().unwrap();
        assert!(
            low > 1.005 && high < 1.035 && (low..high).contains(&pairs.factor()),
            "{low} {high}"
        );
    }

    #[test]
    fn few_pairs_tell_nothing_for_certain() {
        assert_eq!(pairs(1, 5, 1.0).interval(), None);
        assert!(pairs(1, 6, 1.0).interval().is_some());
        let mut one = Pairs::default();
        one.push(3.0, 2.0);
        assert!((one.factor() - 1.5).abs() < 1e-9);
        assert!(Pairs::default().factor().is_nan());
    }
}
