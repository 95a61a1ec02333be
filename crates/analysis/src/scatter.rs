//! How much parts of a recording differ that stand for others. A pause is drawn by one stretch,
//! in which threads that take turns do so together and one wait is like the next: what many
//! threads and many waits of it tell may be hardly more than one. From part to part it shows.

use crate::account::Account;
use crate::ledger::PerState;
use crate::state::State;
use crate::timeline::{Doing, Timeline};

/// Of fewer parts it shows nothing.
const FEWEST: f64 = 3.0;
/// The square of the 97.5th percentile of Student's distribution, in that of the normal one,
/// by degrees of freedom from two on.
const STUDENT: [f64; 9] = [4.82, 2.64, 2.01, 1.72, 1.56, 1.46, 1.38, 1.33, 1.29];
/// What has next to no part, or all but that, is not asked.
const HARDLY: f64 = 0.05;

/// Sums over parts, of what was done in them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Scatter {
    parts: f64,
    /// All of it, ns, and the squares of that.
    whole: f64,
    squares: f64,
    of: PerState<Moments>,
}

/// Of one state: its time, ns, the squares of that, and its products with all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Moments {
    sum: f64,
    squares: f64,
    products: f64,
}

impl Scatter {
    /// The pauses of the next segment that are drawn: what was done in them off the CPU.
    pub(crate) fn add_drawn(&mut self, segment: &Timeline, accounts: &[Vec<Account>]) {
        self.add(segment, accounts, &segment.drawn, |doing| !is_known(doing));
    }

    /// What was told between the pauses of the next segment.
    pub(crate) fn add_told(&mut self, segment: &Timeline, accounts: &[Vec<Account>]) {
        let starts = [segment.start].into_iter().chain(segment.pauses.iter().map(|(_, to)| *to));
        let ends = segment.pauses.iter().map(|(from, _)| *from).chain([segment.end]);
        self.add(segment, accounts, &starts.zip(ends).collect::<Vec<_>>(), |_| true);
    }

    fn add(
        &mut self,
        segment: &Timeline,
        accounts: &[Vec<Account>],
        parts: &[(u64, u64)],
        counts: impl Fn(Doing) -> bool,
    ) {
        let mut done = vec![PerState::<u64>::default(); parts.len()];
        for (thread, accounts) in segment.threads.iter().zip(accounts) {
            let mut next = 0;
            for ((start, end, interval), account) in thread.spans().zip(accounts) {
                next += parts[next..].iter().take_while(|(_, to)| *to <= start).count();
                if !counts(interval.doing) {
                    continue;
                }
                let within = parts[next..].iter().zip(&mut done[next..]);
                for ((from, to), sums) in within.take_while(|((from, _), _)| *from < end) {
                    sums[account.state] += end.min(*to) - start.max(*from);
                }
            }
        }
        done.iter().for_each(|sums| self.add_one(sums));
    }

    fn add_one(&mut self, sums: &PerState<u64>) {
        let whole = sums.total() as f64;
        if whole == 0.0 {
            return;
        }
        self.parts += 1.0;
        self.whole += whole;
        self.squares += whole * whole;
        for (state, ns) in sums.iter() {
            let (ns, of) = (ns as f64, &mut self.of[state]);
            of.sum += ns;
            of.squares += ns * ns;
            of.products += ns * whole;
        }
    }

    /// The sum of squares that looks at spans of time would have whose shares were as far off
    /// as those of these parts are, in that of all time; nothing where they do not show it.
    pub(crate) fn squares(&self) -> f64 {
        if self.parts < FEWEST {
            return 0.0;
        }
        // The variance of a ratio of sums (Cochran 1977, Sampling Techniques, 6.4).
        let free = self.parts - 1.0;
        let student = STUDENT.get(free as usize - 2).copied().unwrap_or(free / (free - 2.0));
        let few = self.parts / free * student / (self.whole * self.whole);
        let of = |(_, Moments { sum, squares, products }): (State, Moments)| {
            let share = sum / self.whole;
            let apart = squares - 2.0 * share * products + share * share * self.squares;
            let has_part = (HARDLY..=1.0 - HARDLY).contains(&share);
            if has_part { few * apart / (share * (1.0 - share)) } else { 0.0 }
        };
        self.of.iter().map(of).fold(0.0, f64::max)
    }
}

/// What a thread does is told, or counted by the kernel.
fn is_known(doing: Doing) -> bool {
    match doing {
        Doing::Blocked(wait) => !wait.sketched,
        Doing::OnCpu { .. } | Doing::Stopped => true,
        Doing::Runq { .. } | Doing::Unknown | Doing::Undetermined => false,
    }
}

/// What the parts of a recording that stand for others leave open.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Apart {
    /// The squares of pauses that are drawn, and those of what was told between all.
    pub(crate) drawn: f64,
    pub(crate) told: f64,
    /// How long were the pauses that the kernel tallied, ns of the wall clock: each thread's
    /// part is exact, and what several do at a time is taken from what was told.
    pub(crate) tallied_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(disk: u64, sleep: u64) -> PerState<u64> {
        let mut sums = PerState::default();
        (sums[State::IoDisk], sums[State::Sleep]) = (disk, sleep);
        sums
    }

    fn of(parts: impl Iterator<Item = (u64, u64)>) -> Scatter {
        let mut scatter = Scatter::default();
        parts.for_each(|(disk, sleep)| scatter.add_one(&part(disk, sleep)));
        scatter
    }

    #[test]
    fn parts_that_are_alike_show_nothing() {
        let alike = of((1..20).map(|n| (30 * n, 70 * n)));
        assert!(alike.squares() < 1e-9, "{}", alike.squares());
        assert_eq!(of((0..2).map(|n| (n % 2, 1 - n % 2))).squares(), 0.0, "too few");
        assert_eq!(Scatter::default().squares(), 0.0);
    }

    #[test]
    fn parts_of_one_wait_each_are_as_many_looks() {
        let each = of((0..1000).map(|n| if n % 4 == 0 { (10, 0) } else { (0, 10) }));
        let looks = 1.0 / each.squares();
        assert!((looks - 1000.0).abs() < 10.0, "{looks}");
    }

    #[test]
    fn few_parts_tell_less_than_their_spread_says() {
        let apart = |parts: u64| {
            let few = of((0..parts).map(|n| if n % 2 == 0 { (10, 0) } else { (0, 10) }));
            few.squares() * parts as f64
        };
        assert!((6.5..8.0).contains(&apart(3)), "{}", apart(3));
        assert!((1.9..2.2).contains(&apart(6)), "{}", apart(6));
        assert!((1.2..1.5).contains(&apart(12)), "{}", apart(12));
    }

    #[test]
    fn what_has_hardly_a_part_is_not_asked() {
        let rare = of((0..1000).map(|n| if n % 50 == 0 { (10, 0) } else { (0, 10) }));
        assert_eq!(rare.squares(), 0.0);
    }
}
