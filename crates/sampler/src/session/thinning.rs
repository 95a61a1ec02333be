//! Fewer stacks of waits where there are very many waits: their places are
//! known soon, and an event that takes a stack now and then costs time at each
//! switch. The same where recording costs more than it may. What is thinned are
//! stacks alone; every switch is recorded.

use rustc_hash::FxHashMap;

use super::rein::LAST_STEP;

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
    /// How often their number is to be halved, on every CPU.
    step: u32,
}

/// A rest that only another step ends.
const FOR_GOOD: u32 = u32::MAX;

impl Thinning {
    /// Halves the number of stacks so often from now on; at the last step there
    /// are none.
    pub(super) fn take_step(&mut self, step: u32) {
        self.step = step;
        let longest = self.rests().max(RESTS);
        self.resting.values_mut().for_each(|rounds| *rounds = (*rounds).min(longest));
    }

    fn rests(&self) -> u32 {
        if self.step == LAST_STEP { FOR_GOOD } else { (1 << self.step) - 1 }
    }

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
            *rounds -= u32::from(*rounds != FOR_GOOD);
            if *rounds == 0 {
                new.push((*cpu, true));
            }
            *rounds > 0
        });
        for (cpu, waits) in waits {
            let many = waits.saturating_mul(1_000_000_000) > MANY.saturating_mul(elapsed);
            let awake = !self.resting.contains_key(&cpu) && new.iter().all(|(of, _)| *of != cpu);
            let rests = self.rests().max(if many { RESTS } else { 0 });
            if rests > 0 && awake {
                self.resting.insert(cpu, rests);
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
    fn a_step_makes_rests_longer_and_the_last_one_ends_all_stacks() {
        let mut thinning = Thinning::default();
        let mut now = 0;
        let mut on = true;
        let mut taken = |thinning: &mut Thinning, rounds: u32| {
            let mut taken = 0;
            for _ in 0..rounds {
                now += ROUND;
                taken += u32::from(on);
                thinning.round(now, [(0, 1)]).iter().for_each(|(_, take)| on = *take);
            }
            taken
        };
        thinning.take_step(2);
        assert!((20..=28).contains(&taken(&mut thinning, 80)), "one round in four");
        thinning.take_step(LAST_STEP);
        assert!(taken(&mut thinning, 1000) <= 5);
        thinning.take_step(0);
        assert!(taken(&mut thinning, 100) > 80);
    }

    #[test]
    fn what_counts_is_the_rate() {
        let mut thinning = Thinning::default();
        assert!(thinning.round(100 * ROUND, [(0, 1000)]).is_empty());
        assert_eq!(thinning.round(101 * ROUND, [(0, 1000)]), [(0, false)]);
    }
}
