//! When to look at which thread. Rounds come at random distances, so that no
//! rhythm of the target hides between them, and all threads of a round are seen
//! at nearly one moment. A thread that does not move is passed over for more and
//! more rounds: that it has not moved is known exactly afterwards.

use whyslow_events::Thinned;

/// Distance of rounds, ns: on average, and most, when looking costs too much.
const CLOSEST: u64 = 5_000_000;
const FARTHEST: u64 = 100_000_000;
/// A thread at rest is looked at in every 32nd round, when there are many.
const CALMEST: u32 = 5;
/// Looks at threads at rest, a second: some 4 µs each.
const AT_REST: u64 = 1500;
/// What looking may cost, in millionths of a CPU, when nobody says.
pub(super) const ALLOWED: u32 = 20_000;
/// How often that is compared, ns.
const COMPARED: u64 = 500_000_000;
const MILLION: u64 = 1_000_000;

/// The rhythm of rounds.
#[derive(Debug)]
pub(super) struct Pace {
    distance: u64,
    closest: u64,
    round: u64,
    random: u64,
    /// When cost was compared last, and our CPU time then.
    compared: (u64, u64),
    allowed: u64,
    /// When rounds began, and what was spent by then.
    begun: (u64, u64),
    /// How many rounds there would be by now if looking cost nothing.
    wanted: u64,
}

/// How many looks in a row found a thread where it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Calm(u32);

impl Calm {
    /// Another look, of a thread among so many.
    pub(super) fn after(self, moved: bool, threads: usize) -> Calm {
        let looks = threads as u64 * (1_000_000_000 / CLOSEST);
        let calmest = looks.div_ceil(AT_REST).next_power_of_two().ilog2().min(CALMEST);
        if moved { Calm(0) } else { Calm((self.0 + 1).min(calmest)) }
    }
}

impl Pace {
    /// Rounds from `now` on, at most `frequency` a second; `spent` is our CPU time.
    pub(super) fn new(now: u64, spent: u64, frequency: u32, allowed: u32) -> Self {
        let closest = CLOSEST.max(1_000_000_000 / u64::from(frequency.max(1)));
        Pace {
            distance: closest,
            closest,
            round: 0,
            random: now | 1,
            compared: (now, spent),
            allowed: u64::from(allowed).max(1),
            begun: (now, spent),
            wanted: 0,
        }
    }

    /// Whether a thread as calm as this is looked at in the present round.
    pub(super) fn is_due(&self, calm: Calm) -> bool {
        self.round.is_multiple_of(1 << calm.0)
    }

    /// Goes on to the next round in which the least calm thread is due, and how
    /// long it is until then, ns.
    pub(super) fn advance(&mut self, least: Calm) -> u64 {
        let mut wait = 0;
        loop {
            self.round += 1;
            self.wanted += self.distance / self.closest.max(1);
            wait += self.distance / 2 + self.next_random() % self.distance.max(1);
            if self.is_due(least) {
                return wait;
            }
        }
    }

    /// Keeps the cost within what is allowed.
    pub(super) fn compare(&mut self, now: u64, spent: u64) {
        let (then, spent_then) = self.compared;
        let passed = now.saturating_sub(then);
        if passed < COMPARED {
            return;
        }
        self.compared = (now, spent);
        let cost = spent.saturating_sub(spent_then).saturating_mul(MILLION) / passed;
        let farthest = FARTHEST.max(self.closest);
        self.distance = (self.distance * cost / self.allowed).clamp(self.closest, farthest);
    }

    /// What was left out until `now` to keep to what is allowed.
    pub(super) fn thinned(&self, now: u64, spent: u64) -> Thinned {
        let passed = now.saturating_sub(self.begun.0).max(1);
        let cost = spent.saturating_sub(self.begun.1).saturating_mul(MILLION) / passed;
        let looks = self.round.saturating_mul(MILLION) / self.wanted.max(1);
        let millionths = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        // Stacks and samples come with the looks.
        let [cost, looks] = [cost, looks.min(MILLION)].map(millionths);
        let limit = millionths(self.allowed);
        Thinned { limit, cost, stacks: looks, samples: looks, looks }
    }

    /// xorshift, by Marsaglia: a rhythm needs no better.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calm_are_looked_at_less_often_and_the_moved_at_once() {
        let mut pace = Pace::new(1, 0, 1000, ALLOWED);
        let rest = (0..9).fold(Calm::default(), |calm, _| calm.after(false, 100));
        assert_eq!(rest.after(true, 100), Calm::default());
        assert_eq!(Calm::default().after(false, 2), Calm::default(), "few are always looked at");
        let due = (0..160).filter(|_| {
            pace.advance(Calm::default());
            pace.is_due(rest)
        });
        assert_eq!(due.count(), 10);
        let long = pace.advance(rest);
        assert!(pace.is_due(rest) && long > 8 * CLOSEST, "{long}");
    }

    #[test]
    fn distances_vary_around_their_mean() {
        let mut pace = Pace::new(7, 0, 499, ALLOWED);
        let distances: Vec<u64> = (0..1000).map(|_| pace.advance(Calm::default())).collect();
        let mean = distances.iter().sum::<u64>() / 1000;
        assert!(mean.abs_diff(CLOSEST) < CLOSEST / 20, "{mean}");
        assert!(distances.iter().all(|it| (CLOSEST / 2..CLOSEST * 3 / 2).contains(it)));
        assert!(distances.iter().any(|it| *it < CLOSEST * 2 / 3));
    }

    #[test]
    fn what_costs_too_much_is_done_less_often() {
        let mut pace = Pace::new(0, 0, 1000, ALLOWED);
        pace.compare(COMPARED, COMPARED / 10);
        assert_eq!(pace.distance, 5 * CLOSEST);
        for _ in 0..10 {
            pace.advance(Calm::default());
        }
        let thinned = pace.thinned(COMPARED, COMPARED / 10);
        assert_eq!((thinned.cost, thinned.looks), (100_000, 200_000), "{thinned:?}");
        pace.compare(2 * COMPARED, COMPARED / 10);
        assert_eq!(pace.distance, CLOSEST);
    }
}
