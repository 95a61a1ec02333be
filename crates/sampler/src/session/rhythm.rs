//! When the next round is due: soon while the target does something, seldom
//! while it does nothing at all.

use std::os::fd::AsFd;
use std::time::Duration;

use super::{Rein, Session, Stop, now};
use crate::Error;
use crate::target::Child;

/// Of a second, ns.
const SECOND: u64 = 1_000_000_000;

/// Time between two rounds when no ring fills up: short enough to look at
/// waits of a few milliseconds, long enough to cost nothing.
const ROUND: Duration = Duration::from_millis(10);

/// The same while much of what is to be seen from outside is over by then.
const SHORT_ROUND: Duration = Duration::from_millis(2);

/// The same at most, when nothing has happened for long.
const LONG_ROUND: Duration = Duration::from_millis(100);

/// A round takes this part of the time in which nothing has happened: whatever
/// happens next is met after that part of the silence before it.
const OF_SILENCE: u64 = 8;

/// The length of a round after so many ns without an event of the target.
fn after_silence(silence: u64) -> Duration {
    Duration::from_nanos(silence / OF_SILENCE).clamp(ROUND, LONG_ROUND)
}

impl Session {
    /// Until a ring has filled up, the child has ended, `stop` asks, or a round
    /// is over.
    pub(super) fn wait_for_records(&self, stop: &Stop, left_ns: u64) -> Result<(), Error> {
        let rings = self.rings.files().map(AsFd::as_fd);
        let ends = self.child.iter().filter_map(Child::end);
        let round = match self.pauses.left(now()?) {
            u64::MAX => self.round()?,
            left if self.pauses.paused() => Duration::from_nanos(left),
            left => self.round()?.min(Duration::from_nanos(left)),
        };
        let timeout = round.min(Duration::from_nanos(left_ns));
        stop.wait(rings.chain(ends), timeout, "wait for records")
    }

    fn round(&self) -> Result<Duration, Error> {
        let step = self.rein.as_ref().map_or(0, Rein::step);
        if step == 0
            && let Some(round) = self.tracker.looks_again_after()
        {
            return Ok(Duration::from_nanos(round).min(SHORT_ROUND));
        }
        let now = now()?;
        let period = SECOND / u64::from(self.options.frequency.max(1));
        if step == 0
            && let Some(round) = self.tracker.reads_again_after(now, period)
        {
            return Ok(Duration::from_nanos(round).min(ROUND));
        }
        let round = after_silence(now.saturating_sub(self.tracker.last_event()));
        let least = ROUND * (1 << self.rein.as_ref().map_or(0, Rein::longer));
        // What was read is given out in the next round.
        let stirs = || self.merge.waiting().any(|record| self.tracker.concerns(record));
        let busy = round > least && (!self.tracker.is_still() || stirs());
        Ok(if busy { least } else { round.max(least) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_grow_with_the_silence_and_not_without_end() {
        let after = |ms: u64| after_silence(ms * 1_000_000).as_millis();
        assert_eq!([0, 1, 80, 160, 400, 800, 60_000].map(after), [10, 10, 10, 20, 50, 100, 100]);
    }
}
