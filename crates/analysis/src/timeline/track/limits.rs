//! Whether a wait ended with its time limit, or before: somebody ended it then. Looks
//! tell within which two of them it ended.

use super::super::{Limit, Limited};
use super::{Doing, Track};

/// Two looks tell of a limit that was this many times their distance ahead when the wait was
/// first seen: a wait that somebody ends seldom ends just between them.
const TELLING: u64 = 2;
/// From the end of a wait to a CPU it takes no longer, ns. Who gets one later than that after
/// the limit may have waited for it since before.
const WAY: u64 = 1_000_000;

/// The limit of the present wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    /// When the wait was first seen.
    seen: u64,
    until: u64,
}

impl Track {
    /// The wait that was just seen ends at `until` at the latest, or has no limit.
    pub(in crate::timeline) fn limited(&mut self, time: u64, until: Option<u64>) {
        match until {
            Some(until) => self.limit = Some(Pending { seen: time, until }),
            None => self.note_limit(Limit::Endless),
        }
    }

    /// The wait that was last seen ended between two looks.
    pub(super) fn ended_between(&mut self, before: u64, after: u64) {
        let Some(Pending { seen, until }) = self.limit.take() else { return };
        let ahead = until.saturating_sub(seen);
        let telling = before < until && ahead >= TELLING * after.saturating_sub(before);
        self.note_limit(match telling {
            _ if after < until => Limit::Spared,
            true => Limit::Reached,
            false => Limit::Untold,
        });
    }

    /// The thread, which waited, got a CPU.
    pub(super) fn ended_before(&mut self, at: u64) {
        let Some(Pending { until, .. }) = self.limit.take() else { return };
        self.note_limit(match at.checked_sub(until) {
            None => Limit::Spared,
            Some(late) if late <= WAY => Limit::Reached,
            Some(_) => Limit::Untold,
        });
    }

    fn note_limit(&mut self, limit: Limit) {
        let Doing::Blocked(wait) = self.doing else { return };
        if let Some(site) = wait.site {
            self.thread.limited.push(Limited { site, stack: self.stack, limit });
        }
    }
}
