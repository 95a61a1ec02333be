//! Where switches alone cost more than recording may, they are recorded for a part of the
//! time: stretches that are recorded whole, and between them pauses. The stretches come at
//! uneven times, for a program may have a rhythm of its own.

use super::{Session, now, our_cpu_ns};
use crate::Error;
use crate::perf::Tally;
use crate::perf::record::{Body, Record};
use crate::uneven::Uneven;

const MILLION: u64 = 1_000_000;

/// A stretch and the pause behind it on average, ns: at least, and at most where a pause
/// costs much, whatever its length.
const CYCLE: u64 = 400_000_000;
const LONGEST_CYCLE: u64 = 10_000_000_000;
/// That is one part in so many of what recording may cost, if that can be.
const COST_PART: u64 = 8;
/// A tally of a switch costs one part in so many of its records, and all tallies together may
/// cost such a part of what recording may.
const TALLY_PART: u64 = 7;
const TALLIES_PART: u64 = 2;
/// What the kernel counts is read in a pause, too, for one part in so many of what recording
/// may cost: of who ends in it nothing is told later.
const COUNTS_PART: u64 = 16;
/// In a pause there is a round after so long, ns.
const ROUND: u64 = 100_000_000;

/// When the next stretch ends or begins.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    paused: bool,
    /// When that has begun and when it is over, ns; 0 where every switch is recorded.
    since: u64,
    until: u64,
    /// The kernel keeps a tally in this pause.
    tallied: bool,
    /// The records that are given out are of a pause.
    in_pause: bool,
    uneven: Uneven,
    /// What switches had cost when the last turn was, ns.
    switches_ns: u64,
    /// What the last turn cost us, and how long a cycle is for it, ns.
    cost: u64,
    cycle: u64,
    /// When the kernel's counts are read again in a pause, ns.
    counts_due: u64,
}

impl Pauses {
    /// Whether there are any.
    pub(super) fn are_on(&self) -> bool {
        self.until > 0
    }

    pub(super) fn paused(&self) -> bool {
        self.paused
    }

    /// What is left at `now` until a stretch ends or begins, or a round is due, ns.
    pub(super) fn left(&self, now: u64) -> u64 {
        match (self.are_on(), self.paused) {
            (false, _) => u64::MAX,
            (true, false) => self.until.saturating_sub(now),
            (true, true) => self.until.saturating_sub(now).min(ROUND),
        }
    }

    /// Whether a pause or a stretch is over at `now`.
    pub(super) fn is_over(&self, now: u64) -> bool {
        self.are_on() && now >= self.until
    }

    /// Whether the switches of a stretch have cost by now what a whole cycle may.
    fn is_spent(&self, switches_ns: u64, limit: u64) -> bool {
        let spent = switches_ns.saturating_sub(self.switches_ns);
        let cycle = self.cycle.max(CYCLE);
        self.are_on() && !self.paused && spent > limit.saturating_mul(cycle) / MILLION
    }

    /// The next pause or stretch begins at `now`, where the time in which switches are
    /// recorded is halved so often; whether it is a pause.
    fn turn(&mut self, now: u64, halvings: u32) -> bool {
        let cycle = self.cycle.max(CYCLE);
        let stretch = cycle >> halvings;
        self.since = now;
        self.paused = !self.paused && halvings > 0;
        self.until = match (halvings, self.paused) {
            (0, _) => 0,
            (_, false) => now + stretch,
            (_, true) => {
                self.uneven.step();
                now + self.uneven.around(cycle - stretch)
            }
        };
        self.paused
    }

    /// Whether tallies cost little, where switches have cost so much by `now` since the
    /// stretch began, or since the `start`.
    fn may_tally(&self, switches_ns: u64, now: u64, start: u64, limit: u64) -> bool {
        let spent = switches_ns.saturating_sub(self.switches_ns);
        let passed = now.saturating_sub(self.since.max(start)).max(1);
        let cost = spent.saturating_mul(MILLION) / passed / TALLY_PART;
        cost <= limit / TALLIES_PART
    }

    /// The last turn took so many ns of CPU time, where recording may take `limit` millionths.
    fn pay(&mut self, cost: u64, limit: u64) {
        let both = std::mem::replace(&mut self.cost, cost) + cost;
        let wanted = both.saturating_mul(COST_PART * MILLION) / limit.max(1);
        self.cycle = wanted.clamp(CYCLE, LONGEST_CYCLE);
    }

    /// Counts that were read at `now` took so many ns of CPU time.
    fn pay_counts(&mut self, now: u64, cost: u64, limit: u64) {
        let wanted = cost.saturating_mul(COUNTS_PART * MILLION) / limit.max(1);
        self.counts_due = now + wanted.max(ROUND);
    }

    /// Whether a record, given out in its turn, is of a switch in a pause: the events of one
    /// CPU after the other begin to pause, and end it.
    pub(super) fn leave_out(&mut self, record: &Record) -> bool {
        match record.body {
            Body::Paused { .. } => self.in_pause = true,
            Body::Resumed => self.in_pause = false,
            _ => {}
        }
        self.in_pause && record.is_of_switch()
    }
}

impl Session {
    /// Records no more switches or records them again, when it is time to in a round that
    /// began at `round`.
    pub(super) fn pause_or_resume(&mut self, round: u64) -> Result<(), Error> {
        let Some((halvings, limit)) = self.rein.as_ref().map(|it| (it.halvings(), it.limit()))
        else {
            return Ok(());
        };
        let begins = halvings > 0 && !self.pauses.are_on();
        let switches_ns = self.merge.switches_ns;
        let over = self.pauses.is_over(round) || self.pauses.is_spent(switches_ns, limit);
        if !(begins || over) || (begins && !self.rings.can_pause()) {
            return self.count_in_pause(round, limit);
        }
        let paused = self.pauses.paused();
        if !paused && halvings > 0 {
            // Once for each place: no reason for longer pauses.
            self.tracker.look_at_new_waits(now()?, || now().unwrap_or(u64::MAX));
        }
        let began = our_cpu_ns();
        let untold = paused && !self.pauses.tallied;
        if untold {
            self.upkeep.read(&self.proc, &mut self.tracker, now()?)?;
        }
        let time = now()?;
        let start = self.header.start.0;
        let may_tally = self.pauses.may_tally(switches_ns, time, start, limit);
        let pauses = self.pauses.turn(time, halvings);
        self.pauses.switches_ns = switches_ns;
        match (paused, pauses) {
            (false, true) => self.pause(time, may_tally)?,
            (true, false) => self.resume()?,
            _ => {}
        }
        if untold {
            // From here on, records tell what is over that was seen.
            let moved = self.upkeep.take_moved();
            self.tracker.look_after_pause(round, moved, || now().unwrap_or(u64::MAX));
        }
        self.pauses.pay(our_cpu_ns().saturating_sub(began), limit);
        Ok(())
    }

    /// Reads the kernel's counts in a pause that nobody tallies, where it is time to.
    fn count_in_pause(&mut self, round: u64, limit: u64) -> Result<(), Error> {
        let counts = self.pauses.paused() && !self.pauses.tallied;
        if counts && round >= self.pauses.counts_due {
            let began = our_cpu_ns();
            self.upkeep.read(&self.proc, &mut self.tracker, now()?)?;
            self.pauses.pay_counts(round, our_cpu_ns().saturating_sub(began), limit);
        }
        Ok(())
    }

    /// A pause begins before the first event pauses, and behind the beginning of a tally.
    fn pause(&mut self, time: u64, may_tally: bool) -> Result<(), Error> {
        let tallied = may_tally && self.rings.begin_tally(time, self.tracker.tids());
        self.pauses.tallied = tallied;
        self.tracker.look_before_pause(time, || now().unwrap_or(u64::MAX));
        if !tallied {
            // The way to a CPU is a part of its time by the kernel, and not by the records: how
            // much of the stretch that is only a count of it alone tells.
            self.upkeep.read(&self.proc, &mut self.tracker, now()?)?;
        }
        let begins = now()?;
        self.rings.pause(true)?;
        self.merge.note_pause(begins, tallied);
        Ok(())
    }

    /// It ends after the last event pauses, and with the tally.
    fn resume(&mut self) -> Result<(), Error> {
        if self.pauses.tallied {
            // Who is born in the pause has no tally.
            self.upkeep.read_newcomers(&self.proc, &mut self.tracker)?;
        }
        self.rings.pause(false)?;
        let ends = now()?;
        self.merge.note_end_of_pause(ends);
        if self.pauses.tallied {
            self.end_tally(ends);
            self.upkeep.round(&self.proc, &mut self.tracker)?;
        }
        Ok(())
    }

    /// Takes what was tallied in the pause that ends at `time`, if it is.
    pub(super) fn end_tally(&mut self, time: u64) {
        if std::mem::take(&mut self.pauses.tallied)
            && let Some(tally) = self.rings.end_tally(time)
        {
            self.merge.note_tallied(tally.switches());
            self.tracker.note_tally(time.saturating_sub(1), tally);
        }
    }

    /// Before a thread ends in a pause that is tallied, what was tallied of it is told. The
    /// tally is `read` once for all that end in a round.
    pub(super) fn tell_tally_before(&mut self, record: &Record, read: &mut Option<Tally>) {
        let Record { time, body: Body::Exit { tid }, .. } = *record else { return };
        if !self.tracker.is_tallied(tid) || self.tracker.tell_pending_tally(time, tid) {
            return;
        }
        if read.is_none() && self.pauses.tallied {
            *read = self.rings.read_tally(time);
        }
        if let Some(tally) = read {
            self.tracker.tell_tally(time, tid, tally.of(tid));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_time_is_recorded_at_uneven_distances() {
        let mut pauses = Pauses::default();
        let (mut now, mut recorded, mut lengths) = (1, 0, vec![]);
        assert!(!pauses.is_over(u64::MAX) && pauses.left(now) == u64::MAX);
        for _ in 0..1000 {
            let paused = pauses.turn(now, 4);
            let length = pauses.until - now;
            if paused {
                lengths.push(length)
            } else {
                recorded += length
            }
            now = pauses.until;
            assert!(pauses.is_over(now) && !pauses.is_over(now - 1));
        }
        let part = recorded as f64 / now as f64;
        assert!((part - 1.0 / 16.0).abs() < 0.001, "{part}");
        lengths.sort_unstable();
        lengths.dedup();
        assert_eq!(lengths.len(), 500, "none twice");
        assert!(lengths[499] > 2 * lengths[0]);
    }

    #[test]
    fn a_tally_is_kept_where_it_costs_little() {
        let mut pauses = Pauses::default();
        // Of 100 ns records of switches cost 20, their tallies 3.
        let may = |pauses: &Pauses, percent: u64| {
            pauses.may_tally(pauses.switches_ns + 20, 1100, 1000, percent * MILLION / 100)
        };
        assert!(may(&pauses, 6) && !may(&pauses, 4));
        pauses.turn(1050, 1);
        pauses.switches_ns = 70;
        assert!(may(&pauses, 12) && !may(&pauses, 10));
    }

    #[test]
    fn counts_are_read_the_less_often_the_more_they_cost() {
        let mut pauses = Pauses::default();
        let mut due = |cost: u64| {
            pauses.pay_counts(1000, cost, MILLION / 100);
            pauses.counts_due - 1000
        };
        assert_eq!((due(0), due(ROUND / 16)), (ROUND, 100 * ROUND));
    }

    #[test]
    fn with_the_last_halving_taken_back_the_pause_is_the_last() {
        let mut pauses = Pauses::default();
        assert!(pauses.turn(1, 1) && pauses.are_on());
        assert!(!pauses.turn(2, 0) && !pauses.are_on());
    }

    #[test]
    fn of_a_pause_all_is_left_out_that_is_of_switches() {
        let mut pauses = Pauses::default();
        let bodies = [
            Body::SwitchedIn,
            Body::Paused { tallied: true },
            Body::SwitchedIn,
            Body::Exit { tid: 1 },
            Body::Resumed,
            Body::SwitchedIn,
        ];
        let left_out = bodies.map(|body| pauses.leave_out(&Record { time: 0, tid: 1, body }));
        assert_eq!(left_out, [false, false, true, false, false, false]);
    }
}
