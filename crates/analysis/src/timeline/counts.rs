//! The kernel's count of one thread's CPU time, read now and then. The kernel
//! leaves out what a hypervisor took, and nobody else can tell.

use std::ops::{AddAssign, Range, RangeInclusive, Sub};

/// Readings kept of one thread. More than that are thinned out, so that a long
/// recording is corrected in longer stretches.
const MOST: usize = 1024;

/// The kernel's count of a thread's CPU time from its start to `time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) time: u64,
    pub(crate) cpu_ns: u64,
    /// Counted while the thread ran, when the kernel's count may lag by a tick.
    pub(crate) running: bool,
}

/// What the timeline has of a thread, from its beginning to some time, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ours {
    /// On the CPU.
    pub(crate) ran: u64,
    /// Of the ways to the CPU, what is likely to be time on it where time on it is missing.
    pub(crate) ways: u64,
    /// Of longer ways, the rest of what may be.
    pub(crate) queued: u64,
    pub(crate) unknown: u64,
    /// Of what only the last count tells whether the thread ran.
    pub(crate) undetermined: u64,
}

impl Counted {
    /// How far it may be behind, ns, where any may be by `most`.
    fn lag(self, most: u64) -> u64 {
        if self.running { most } else { 0 }
    }
}

/// What the kernel counted in a part of a thread's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) part: Range<u64>,
    /// The least and the most it may be, ns.
    pub(super) counted: RangeInclusive<u64>,
}

impl AddAssign for Ours {
    fn add_assign(&mut self, later: Ours) {
        self.ran += later.ran;
        self.ways += later.ways;
        self.queued += later.queued;
        self.unknown += later.unknown;
        self.undetermined += later.undetermined;
    }
}

impl Sub for Ours {
    type Output = Ours;

    fn sub(self, earlier: Ours) -> Ours {
        Ours {
            ran: self.ran - earlier.ran,
            ways: self.ways - earlier.ways,
            queued: self.queued - earlier.queued,
            unknown: self.unknown - earlier.unknown,
            undetermined: self.undetermined - earlier.undetermined,
        }
    }
}

/// Time between two readings, the least and the most CPU time the kernel has
/// counted in it, and what we have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) ours: Ours,
    pub(super) least: u64,
    pub(super) most: u64,
}

/// Readings in order. All are exact, but for the first and the last at most.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    readings: Vec<(Counted, Ours)>,
}

impl Counts {
    /// The next reading, and what we have by then.
    pub(super) fn add(&mut self, reading: Counted, ours: Ours) {
        if let Some((last, _)) = self.readings.last()
            && (reading.time < last.time || reading.cpu_ns < last.cpu_ns)
        {
            // No count goes back.
            return;
        }
        if self.readings.len() > 1 {
            self.readings.pop_if(|(last, _)| last.running);
        }
        if self.readings.len() == MOST {
            let mut index = 0;
            self.readings.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        self.readings.push((reading, ours));
    }

    /// Drops a last reading that may lag.
    pub(super) fn forget_lagging(&mut self) {
        self.readings.pop_if(|(last, _)| last.running);
    }

    /// What we have at each reading.
    pub(super) fn ours_mut(&mut self) -> impl Iterator<Item = &mut Ours> {
        self.readings.iter_mut().map(|(_, ours)| ours)
    }

    pub(crate) fn last(&self) -> Option<Counted> {
        self.readings.last().map(|(last, _)| *last)
    }

    /// The part of the thread's life that is best to compare, and what the
    /// kernel counted in it: between exact readings, where there are two that leave
    /// no more than half of it out. `lag` is how far, in ns, any other may be behind.
    pub(super) fn compared(&self, start: u64, born: bool, lag: u64) -> Option<Compared> {
        let birth = Counted { time: start, cpu_ns: 0, running: false };
        let last = self.last()?;
        let exact = self.last_exact().map(|(exact, _)| exact);
        let last = exact
            .filter(|exact| exact.time.saturating_sub(start) >= last.time - exact.time)
            .unwrap_or(last);
        let mut counted = self.readings.iter().map(|(counted, _)| *counted);
        let first = counted.find(|counted| !counted.running);
        let first = first.filter(|first| !born && first.time < last.time).unwrap_or(birth);
        let counted = last.cpu_ns - first.cpu_ns;
        let most = counted.saturating_add(last.lag(lag));
        Some(Compared { part: first.time..last.time, counted: counted..=most })
    }

    pub(super) fn last_exact(&self) -> Option<(Counted, Ours)> {
        self.readings.iter().rfind(|(counted, _)| !counted.running).copied()
    }

    /// From each reading to the next. `born` is when a thread that was not
    /// there before began to count, and `lag` how far, in ns, a count may be
    /// behind while the thread runs.
    pub(super) fn stretches(&self, born: Option<u64>, lag: u64) -> Vec<Stretch> {
        let birth = born.map(|time| (Counted { time, cpu_ns: 0, running: false }, Ours::default()));
        // Between two exact ones, a reading that may lag would only let both sides
        // of it be wrong.
        let lags = |reading: &&(Counted, Ours)| reading.0.running && self.readings.len() > 1;
        let first = usize::from(born.is_some() && self.readings.first().filter(lags).is_some());
        let readings: Vec<(Counted, Ours)> =
            birth.into_iter().chain(self.readings[first..].iter().copied()).collect();
        let pairs = readings.windows(2).filter_map(|pair| match pair {
            [before, after] => Some(stretch(*before, *after, lag)),
            _ => None,
        });
        pairs.collect()
    }
}

fn stretch(
    (before, ours_before): (Counted, Ours),
    (after, ours): (Counted, Ours),
    lag: u64,
) -> Stretch {
    let counted = after.cpu_ns.saturating_sub(before.cpu_ns);
    Stretch {
        from: before.time,
        to: after.time,
        ours: ours - ours_before,
        least: counted.saturating_sub(before.lag(lag)),
        most: counted.saturating_add(after.lag(lag)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(time: u64, running: bool) -> Counted {
        Counted { time, cpu_ns: time / 2, running }
    }

    #[test]
    fn a_long_series_is_thinned_out_and_keeps_its_ends() {
        let mut counts = Counts::default();
        (0..5 * MOST as u64).for_each(|time| counts.add(reading(time, false), Ours::default()));
        assert!(counts.readings.len() <= MOST, "{}", counts.readings.len());
        let stretches = counts.stretches(None, 0);
        let counted: u64 = stretches.iter().map(|stretch| stretch.least).sum();
        assert_eq!((stretches[0].from, counted), (0, (5 * MOST as u64 - 1) / 2));
    }

    #[test]
    fn a_count_that_may_lag_is_kept_at_the_ends_only() {
        let mut counts = Counts::default();
        for (time, running) in [(1, true), (2, true), (3, false), (4, true), (5, true)] {
            counts.add(reading(time, running), Ours::default());
        }
        let times: Vec<u64> = counts.readings.iter().map(|(reading, _)| reading.time).collect();
        assert_eq!(times, [1, 3, 5]);
    }

    #[test]
    fn a_birth_is_exact_and_needs_no_reading_that_may_lag() {
        let mut counts = Counts::default();
        counts.add(reading(10, true), Ours::default());
        counts.add(reading(20, false), Ours::default());
        let exact = Stretch { from: 0, to: 20, ours: Ours::default(), least: 10, most: 10 };
        assert_eq!(counts.stretches(Some(0), 4), [exact]);
        let found = Stretch { from: 10, to: 20, ours: Ours::default(), least: 1, most: 5 };
        assert_eq!(counts.stretches(None, 4), [found]);
    }

    #[test]
    fn what_is_compared_is_most_of_a_life() {
        let mut counts = Counts::default();
        counts.add(reading(2, false), Ours::default());
        counts.add(reading(10, true), Ours::default());
        let compared = |counts: &Counts| counts.compared(0, false, 3).unwrap();
        assert_eq!(compared(&counts), Compared { part: 2..10, counted: 4..=7 });
        counts.add(reading(20, false), Ours::default());
        counts.add(reading(30, true), Ours::default());
        assert_eq!(compared(&counts), Compared { part: 2..20, counted: 9..=9 });
    }

    #[test]
    fn no_count_goes_back() {
        let mut counts = Counts::default();
        counts.add(reading(10, false), Ours::default());
        counts.add(Counted { time: 11, cpu_ns: 4, running: false }, Ours::default());
        counts.add(Counted { time: 9, cpu_ns: 6, running: false }, Ours::default());
        assert_eq!(counts.last(), Some(reading(10, false)));
    }
}
