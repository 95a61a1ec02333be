//! Fewer stacks of waits where there are very many waits: their places are
//! known soon, and an event that takes a stack now and then costs time at each
//! switch. What is thinned are stacks alone; every switch is recorded.

use rustc_hash::FxHashMap;

/// Waits of one CPU a second from which on its stacks are thinned.
const MANY: u64 = 20_000;
/// Rounds in which no stack is taken, after each in which stacks are.
const RESTS: u32 = 9;

/// Of which CPUs stacks are taken now.
#[derive(Debug, Default)]
pub(super) struct Thinning {
    last: u64,
    /// How many rounds a CPU rests yet.
    resting: FxHashMap<u32, u32>,
}

impl Thinning {
    /// After a round that ended at `now` with so many waits on each CPU: the
    /// CPUs of which stacks are to be taken from now on, and those of which
    /// they are not, as far as that is new.
    pub(super) fn round(
        &mut self,
        now: u64,
        waits: impl IntoIterator<Item = (u32, u64)>,
    ) -> Vec<(u32, bool)> {
        let elapsed = now.saturating_sub(std::mem::replace(&mut self.last, now));
        let mut new = vec![];
        self.resting.retain(|cpu, rounds| {
            *rounds -= 1;
            if *rounds == 0 {
                new.push((*cpu, true));
            }
            *rounds > 0
        });
        for (cpu, waits) in waits {
            let many = waits.saturating_mul(1_000_000_000) > MANY.saturating_mul(elapsed);
            let awake = !self.resting.contains_key(&cpu) && new.iter().all(|(of, _)| *of != cpu);
            if many && awake {
                self.resting.insert(cpu, RESTS);
                new.push((cpu, false));
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: u64 = 10_000_000;

    #[test]
    fn stacks_of_a_cpu_with_very_many_waits_are_taken_in_one_round_of_ten() {
        let mut thinning = Thinning::default();
        let changes: Vec<_> = (1..=30)
            .flat_map(|round| {
                let new = thinning.round(round * ROUND, [(0, 1000), (1, 10)]);
                new.into_iter().map(move |change| (round, change))
            })
            .collect();
        let (off, on) = ((0, false), (0, true));
        let expected = [(1, off), (10, on), (11, off), (20, on), (21, off), (30, on)];
        assert_eq!(changes, expected);
    }

    #[test]
    fn what_counts_is_the_rate() {
        let mut thinning = Thinning::default();
        assert!(thinning.round(100 * ROUND, [(0, 1000)]).is_empty());
        assert_eq!(thinning.round(101 * ROUND, [(0, 1000)]), [(0, false)]);
    }
}
