//! At how many waits their stacks are taken: at each where there are few, and where there are
//! many at those in new places, and at a part of the others that is left to chance. To copy a
//! stack costs ten times what a switch does. What is thinned are stacks alone; every switch is
//! recorded.

use super::rein::LAST_STEP;
use crate::perf::Often;

/// Stacks a second and CPU of waits at places that have theirs: all of a target with few
/// waits.
const PER_SECOND: u64 = 99;
/// A round counts for one part in so many of what is taken to be the rate.
const SMOOTH: u64 = 8;
const SECOND: u64 = 1_000_000_000;
/// Stacks of a round and CPU at most, where all places are new: some 1500 a second.
const NEW: u32 = 15;
/// The same where switches are recorded for a part of the time only, whose cost says for how
/// much of it.
const NEW_IN_STRETCH: u32 = 100;

/// How often stacks are taken.
#[derive(Debug, Default)]
pub(super) struct Thinning {
    last: u64,
    /// Waits a second, of the CPU that has most.
    rate: u64,
    /// How often the number of stacks at known places is to be halved.
    step: u32,
    said: Option<Often>,
}

impl Thinning {
    /// Halves the number of stacks so often from now on; at the last step there
    /// are none.
    pub(super) fn take_step(&mut self, step: u32) {
        self.step = step;
    }

    /// After a round that ended at `now` with so many waits on each CPU: how often stacks are
    /// to be taken from now on, where some may have been taken or that is new.
    pub(super) fn round(
        &mut self,
        now: u64,
        waits: impl IntoIterator<Item = u64>,
        in_stretch: bool,
    ) -> Option<Often> {
        let elapsed = now.saturating_sub(std::mem::replace(&mut self.last, now)).max(1);
        let most = waits.into_iter().max().unwrap_or(0);
        let rate = most.saturating_mul(SECOND) / elapsed;
        self.rate = (self.rate * (SMOOTH - 1) + rate) / SMOOTH;
        let chance = (PER_SECOND << 32 >> self.step) / self.rate.max(1);
        let often = match (self.step, in_stretch) {
            (LAST_STEP, _) => Often { chance: 0, most: 0, halvings: LAST_STEP },
            (halvings, in_stretch) => Often {
                halvings,
                chance: u32::try_from(chance).unwrap_or(u32::MAX),
                most: if in_stretch { NEW_IN_STRETCH } else { NEW },
            },
        };
        let is_new = self.said != Some(often);
        self.said = Some(often);
        (is_new || most > 0).then_some(often)
    }

    /// Nothing is recorded, and nothing to be learned, until `now`.
    pub(super) fn rest(&mut self, now: u64) {
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: u64 = 20_000_000;

    /// Chances, as parts of 1, after so many rounds with so many waits each.
    fn chance(thinning: &mut Thinning, rounds: u64, waits: u64) -> f64 {
        let mut often = None;
        for _ in 0..rounds {
            often = thinning.round(thinning.last + ROUND, [0, waits, 1], false).or(often);
        }
        f64::from(often.unwrap().chance) / f64::from(u32::MAX)
    }

    #[test]
    fn of_few_waits_all_stacks_are_taken_and_of_many_so_many_a_second() {
        let mut thinning = Thinning::default();
        assert!((chance(&mut thinning, 50, 1) - 1.0).abs() < 1e-9);
        let part = chance(&mut thinning, 100, 1000);
        let taken = part * 50_000.0;
        assert!((taken - PER_SECOND as f64).abs() < 1.0, "{taken} a second");
        assert!((chance(&mut thinning, 200, 1) - 1.0).abs() < 1e-9, "there are few again");
    }

    #[test]
    fn a_step_halves_them_and_the_last_one_ends_them() {
        let mut thinning = Thinning::default();
        let all = chance(&mut thinning, 200, 100);
        thinning.take_step(2);
        let quarter = chance(&mut thinning, 1, 100);
        assert!((all / quarter - 4.0).abs() < 0.2, "{all} {quarter}");
        thinning.take_step(LAST_STEP);
        let none = thinning.round(thinning.last + ROUND, [1], false).unwrap();
        assert_eq!(none, Often { chance: 0, most: 0, halvings: LAST_STEP });
    }

    #[test]
    fn where_nothing_happens_nothing_is_said_and_a_rest_counts_for_nothing() {
        let mut thinning = Thinning::default();
        assert!(thinning.round(ROUND, [1], true).is_some());
        for _ in 0..100 {
            thinning.round(thinning.last + ROUND, [0], true);
        }
        assert_eq!(thinning.round(thinning.last + ROUND, [0], true), None);
        let before = chance(&mut thinning, 200, 100);
        thinning.rest(thinning.last + 100 * ROUND);
        assert!((chance(&mut thinning, 1, 100) - before).abs() < 1e-9);
    }
}
