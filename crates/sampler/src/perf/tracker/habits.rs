//! What a thread usually waits for, by how long it takes: waits that are over
//! before anybody looked are taken to be like those that were looked at. A look
//! falls into a wait in proportion to its length, so that among waits of about
//! the same length every kind is seen as often as it happens.

use whyslow_events::SiteId;

/// Looks that are remembered of one length; then older ones count half.
const REMEMBERED: u32 = 64;

#[derive(Clone, Copy, Debug)]
struct Habit {
    /// Binary digits of the length.
    length: u32,
    site: SiteId,
    looks: u32,
    lent_ns: u64,
}

/// The waits of a thread, or of a process.
#[derive(Debug, Default)]
pub(super) struct Habits(Vec<Habit>);

impl Habits {
    /// A wait of `span` ns at `site` was looked at.
    pub(super) fn see(&mut self, span: u64, site: SiteId) {
        let length = length(span);
        match self.0.iter_mut().find(|habit| habit.length == length && habit.site == site) {
            Some(habit) => habit.looks += 1,
            None => self.0.push(Habit { length, site, looks: 1, lent_ns: 0 }),
        }
        let like = || self.0.iter().filter(|habit| habit.length == length);
        if like().map(|habit| habit.looks).sum::<u32>() > REMEMBERED {
            for habit in self.0.iter_mut().filter(|habit| habit.length == length) {
                habit.looks /= 2;
                habit.lent_ns /= 2;
            }
            self.0.retain(|habit| habit.looks > 0);
        }
    }

    /// Where a wait of `span` ns that nobody looked at most likely was; `None`
    /// when none of about its length was looked at. Many such waits are spread
    /// over the sites as those that were seen.
    pub(super) fn lend(&mut self, span: u64) -> Option<SiteId> {
        let length = length(span);
        let nearest = self.0.iter().map(|habit| habit.length.abs_diff(length)).min()?;
        if nearest > 1 {
            return None;
        }
        let like = self.0.iter_mut().filter(|habit| habit.length.abs_diff(length) == nearest);
        let habit = like.max_by(|a, b| owed(a, span).total_cmp(&owed(b, span)))?;
        habit.lent_ns = habit.lent_ns.saturating_add(span);
        Some(habit.site)
    }
}

fn length(span: u64) -> u32 {
    u64::BITS - span.leading_zeros()
}

/// The larger, the more a site lags behind its part of what was lent.
fn owed(habit: &Habit, span: u64) -> f64 {
    f64::from(habit.looks) / (habit.lent_ns.saturating_add(span).max(1)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: SiteId = SiteId(1);
    const PIPE: SiteId = SiteId(2);

    #[test]
    fn unseen_waits_are_spread_as_the_seen_ones() {
        let mut habits = Habits::default();
        (0..30).for_each(|_| habits.see(100_000, LOCK));
        (0..10).for_each(|_| habits.see(100_000, PIPE));
        let lent = (0..400).filter(|_| habits.lend(110_000) == Some(LOCK)).count();
        assert!((295..=305).contains(&lent), "{lent}");
    }

    #[test]
    fn what_takes_ten_times_as_long_is_no_example() {
        let mut habits = Habits::default();
        habits.see(5_000_000, LOCK);
        assert_eq!(habits.lend(100_000), None);
        assert_eq!(habits.lend(9_000_000), Some(LOCK));
        assert_eq!(Habits::default().lend(5), None);
    }

    #[test]
    fn what_a_thread_did_long_ago_is_forgotten() {
        let mut habits = Habits::default();
        habits.see(1000, LOCK);
        (0..10 * REMEMBERED).for_each(|_| habits.see(1000, PIPE));
        assert!((0..1000).all(|_| habits.lend(1000) == Some(PIPE)));
        assert_eq!(habits.0.len(), 1);
    }
}
