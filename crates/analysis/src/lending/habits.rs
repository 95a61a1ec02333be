//! What a thread usually waits for, by how long it takes. A look falls into a wait in
//! proportion to its length, so that among waits of about the same length every kind
//! is seen as often as it happens.

use whyslow_events::SiteId;

/// Looks behind that are remembered of one length; then older ones count half.
const REMEMBERED: u32 = 64;
/// So many looks behind tell what a wait is like; where there are fewer, those ahead
/// are asked, too: the first of them may have met the exception.
const TELLING: u32 = 8;

/// A wait that somebody looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) span: u64,
    pub(super) site: SiteId,
    /// So long after its beginning.
    pub(super) after: u64,
}

/// A look that comes so soon after the beginning of a wait, ns, meets short ones as often as
/// long ones.
const SOON: u64 = 64_000;
/// What waits are kept as that are all of the same weight, however long they are; no wait is
/// that short.
const ANY: u64 = 1;

impl Sight {
    /// The same as one of those of which the number counts, and not the length.
    fn at_beginning(self) -> Option<Sight> {
        (self.after < SOON).then_some(Sight { span: ANY, ..self })
    }
}

#[derive(Clone, Copy, Debug)]
struct Habit {
    /// Binary digits of the length.
    length: u32,
    site: SiteId,
    /// Looks at waits that ended before now, and after.
    behind: u32,
    ahead: u32,
}

/// The waits of a thread, or of a process.
#[derive(Debug, Default)]
pub(super) struct Habits {
    known: Vec<Habit>,
    /// What each site should have been lent and was not, ns: less than nothing where it was
    /// lent too much. One account for all lengths: of the few waits of one length the site
    /// seen most often would get more than its part, and so of every other.
    owed: Vec<(SiteId, f64)>,
}

impl Habits {
    /// A wait that ends later.
    pub(super) fn foresee(&mut self, sight: Sight) {
        for sight in [sight].into_iter().chain(sight.at_beginning()) {
            self.of(sight).ahead += 1;
        }
    }

    /// A wait that ends now, and was foreseen.
    pub(super) fn see(&mut self, sight: Sight) {
        [sight].into_iter().chain(sight.at_beginning()).for_each(|sight| self.see_one(sight));
    }

    fn see_one(&mut self, sight: Sight) {
        let habit = self.of(sight);
        habit.ahead = habit.ahead.saturating_sub(1);
        habit.behind += 1;
        let length = length(sight.span);
        let like = || self.known.iter().filter(|habit| habit.length == length);
        if like().map(|habit| habit.behind).sum::<u32>() > REMEMBERED {
            for habit in self.known.iter_mut().filter(|habit| habit.length == length) {
                habit.behind /= 2;
            }
            self.known.retain(|habit| habit.behind + habit.ahead > 0);
            let known = |of: SiteId| self.known.iter().any(|habit| habit.site == of);
            self.owed.retain(|(site, _)| known(*site));
        }
    }

    fn of(&mut self, Sight { span, site, .. }: Sight) -> &mut Habit {
        let length = length(span);
        let is_it = |habit: &Habit| habit.length == length && habit.site == site;
        let place = self.known.iter().position(is_it).unwrap_or_else(|| {
            self.known.push(Habit { length, site, behind: 0, ahead: 0 });
            self.known.len() - 1
        });
        &mut self.known[place]
    }

    /// Where a wait most likely was that nobody looked at, and that took `span` ns, or less
    /// where a look `found` it `over`.
    /// Only where it `may` have been.
    pub(super) fn lend_to(
        &mut self,
        span: u64,
        found_over: bool,
        may: impl Fn(SiteId) -> bool,
    ) -> Option<SiteId> {
        let by_number = if found_over { self.lend(ANY, &may) } else { None };
        by_number.or_else(|| self.lend(span, &may))
    }

    /// A site at which one of the waits was seen.
    pub(super) fn first(&self) -> Option<SiteId> {
        self.known.first().map(|habit| habit.site)
    }

    /// Where a wait of `span` ns that nobody looked at, and that ends now, most likely
    /// was; `None` when none of about its length was looked at. Many such waits are
    /// spread over the sites as those that were seen.
    fn lend(&mut self, span: u64, may: &impl Fn(SiteId) -> bool) -> Option<SiteId> {
        let length = length(span);
        let known = || self.known.iter().filter(|habit| may(habit.site));
        let nearest = known().map(|habit| habit.length.abs_diff(length)).min()?;
        if nearest > 1 {
            return None;
        }
        let like = || known().filter(|habit| habit.length.abs_diff(length) == nearest);
        let enough = like().map(|habit| habit.behind).sum::<u32>() >= TELLING;
        let looks = |habit: &Habit| habit.behind + if enough { 0 } else { habit.ahead };
        let all = f64::from(like().map(looks).sum::<u32>().max(1));
        let mut most: Option<usize> = None;
        for habit in like().filter(|habit| looks(habit) > 0) {
            let at = self.owed.iter().position(|(site, _)| *site == habit.site);
            let at = at.unwrap_or_else(|| {
                self.owed.push((habit.site, 0.0));
                self.owed.len() - 1
            });
            self.owed[at].1 += span as f64 * f64::from(looks(habit)) / all;
            most = most.filter(|most| self.owed[*most].1 >= self.owed[at].1).or(Some(at));
        }
        let (site, owed) = &mut self.owed[most?];
        *owed -= span as f64;
        Some(*site)
    }
}

fn length(span: u64) -> u32 {
    u64::BITS - span.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: SiteId = SiteId(1);
    const PIPE: SiteId = SiteId(2);

    fn anywhere(_: SiteId) -> bool {
        true
    }

    fn look(habits: &mut Habits, sight: Sight) {
        habits.foresee(sight);
        habits.see(sight);
    }

    fn see(habits: &mut Habits, span: u64, site: SiteId) {
        look(habits, Sight { span, site, after: SOON });
    }

    fn locks_lent(habits: &mut Habits, waits: usize) -> usize {
        (0..waits).filter(|_| habits.lend(110_000, &anywhere) == Some(LOCK)).count()
    }

    #[test]
    fn unseen_waits_are_spread_as_the_seen_ones() {
        let mut habits = Habits::default();
        (0..30).for_each(|_| see(&mut habits, 100_000, LOCK));
        (0..10).for_each(|_| see(&mut habits, 100_000, PIPE));
        let lent = locks_lent(&mut habits, 400);
        assert!((295..=305).contains(&lent), "{lent}");
    }

    #[test]
    fn a_few_waits_of_each_length_are_spread_as_well() {
        let mut habits = Habits::default();
        let lengths = || (10..30).map(|digits| 3 << digits);
        for span in lengths() {
            (0..2).for_each(|_| see(&mut habits, span, LOCK));
            see(&mut habits, span, PIPE);
        }
        let mut lent = [LOCK, PIPE].map(|_| 0);
        for span in lengths().rev() {
            lent[usize::from(habits.lend(span, &anywhere) == Some(PIPE))] += span;
        }
        let part = lent[1] as f64 / (lent[0] + lent[1]) as f64;
        assert!((0.25..0.42).contains(&part), "of a single wait of each length: {part}");
    }

    #[test]
    fn what_was_seen_once_does_not_decide_alone() {
        let mut habits = Habits::default();
        see(&mut habits, 100_000, PIPE);
        (0..19).for_each(|_| habits.foresee(Sight { span: 100_000, site: LOCK, after: SOON }));
        let lent = locks_lent(&mut habits, 400);
        assert!((375..=385).contains(&lent), "{lent}");
    }

    #[test]
    fn what_is_known_well_is_not_asked_of_what_comes_later() {
        let mut habits = Habits::default();
        (0..TELLING).for_each(|_| see(&mut habits, 100_000, LOCK));
        (0..1000).for_each(|_| habits.foresee(Sight { span: 100_000, site: PIPE, after: SOON }));
        assert_eq!(locks_lent(&mut habits, 400), 400);
    }

    #[test]
    fn what_takes_ten_times_as_long_is_no_example() {
        let mut habits = Habits::default();
        see(&mut habits, 5_000_000, LOCK);
        assert_eq!(habits.lend(100_000, &anywhere), None);
        assert_eq!(habits.lend(9_000_000, &anywhere), Some(LOCK));
        assert_eq!(Habits::default().lend(5, &anywhere), None);
    }

    #[test]
    fn nothing_is_lent_where_the_wait_cannot_have_been() {
        let mut habits = Habits::default();
        see(&mut habits, 100_000, PIPE);
        let no_pipe = |site| site != PIPE;
        assert_eq!(habits.lend_to(100_000, false, no_pipe), None);
        see(&mut habits, 100_000, LOCK);
        assert!((0..10).all(|_| habits.lend_to(100_000, false, no_pipe) == Some(LOCK)));
    }

    #[test]
    fn what_was_over_is_like_those_met_at_their_beginning() {
        // Ten of each kind began within reach of a look, which met all the long ones later.
        let mut habits = Habits::default();
        let mut look = |site, span, after| look(&mut habits, Sight { span, site, after });
        (0..10).for_each(|_| look(LOCK, 70_000, 30_000));
        (0..10).for_each(|_| look(PIPE, 3_000_000, 30_000));
        (0..200).for_each(|_| look(PIPE, 3_000_000, 1_000_000));
        let mut is_lock = |over| habits.lend_to(3_000_000, over, anywhere) == Some(LOCK);
        assert!((0..100).all(|_| !is_lock(false)));
        let locks = (0..100).filter(|_| is_lock(true)).count();
        assert!((45..=55).contains(&locks), "{locks}");
    }

    #[test]
    fn what_a_thread_did_long_ago_is_forgotten() {
        let mut habits = Habits::default();
        see(&mut habits, 1000, LOCK);
        (0..10 * REMEMBERED).for_each(|_| see(&mut habits, 1000, PIPE));
        assert!((0..1000).all(|_| habits.lend(1000, &anywhere) == Some(PIPE)));
        assert_eq!((habits.known.len(), habits.owed.len()), (1, 1));
    }
}
