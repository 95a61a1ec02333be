//! How much of the target's stacks may be read from outside: reading costs the
//! recorder time, whatever lies in the frames.

/// Bytes a second: less than one percent of a CPU. What is not used in one second
/// is not kept for the next.
const PER_SECOND: u64 = 32 << 20;
const SECOND: u64 = 1_000_000_000;

/// Bytes that may be read, in the time of the records.
#[derive(Debug)]
pub(super) struct Budget {
    left: u64,
    /// Read beyond what there was: the next time pays for it.
    owed: u64,
    /// Time up to which it was filled, ns.
    filled: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { left: PER_SECOND, owed: 0, filled: 0 }
    }
}

impl Budget {
    /// Whether at `time` anything may be read.
    pub(super) fn allows(&mut self, time: u64) -> bool {
        let passed = time.saturating_sub(self.filled).min(SECOND);
        let more = passed * PER_SECOND / SECOND;
        if more > 0 {
            self.filled = time;
            let paid = more.min(self.owed);
            self.owed -= paid;
            self.left = (self.left + more - paid).min(PER_SECOND);
        }
        self.left > 0
    }

    /// So many bytes were read.
    pub(super) fn spend(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.owed += bytes.saturating_sub(self.left);
        self.left = self.left.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: usize = 1 << 20;

    #[test]
    fn no_more_is_read_than_the_time_pays_for() {
        const SECONDS: u64 = 10;
        let mut budget = Budget::default();
        let mut read = 0;
        for time in (0..SECONDS * 1_000_000_000).step_by(1_000_000) {
            if budget.allows(time) {
                budget.spend(PIECE);
                read += PIECE as u64;
            }
        }
        let expected = PER_SECOND * SECONDS;
        assert!((expected..=expected + PER_SECOND + PIECE as u64).contains(&read), "{read}");
    }

    #[test]
    fn what_was_saved_is_spent_at_once_but_not_for_ever() {
        let mut budget = Budget::default();
        let hour = 3_600 * 1_000_000_000;
        let read = (0..1_000).take_while(|_| {
            let allowed = budget.allows(hour);
            budget.spend(PIECE);
            allowed
        });
        let read = read.count() as u64;
        assert!((PER_SECOND >> 20..=(PER_SECOND >> 20) + 1).contains(&read), "{read}");
    }
}
