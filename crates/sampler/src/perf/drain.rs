//! Reading the rings, and one order for the records of all CPUs.
//!
//! A record can be in its ring only after its timestamp was taken, so a round
//! that begins at time T and empties every ring leaves nothing older than the
//! *round before* unseen. Each round therefore releases what is older than the
//! start of the previous one.

use super::Capture;
use super::delay::Delay;
use super::prices::Prices;
use super::record::{self, Body, Record};

/// Records taken from one ring in one round at most, so that a busy CPU cannot
/// keep us from the others.
const ROUND_LIMIT: usize = 200_000;
/// Records that wait for their turn at most, some 100 bytes each: more stay in the
/// rings, as long as these have room.
const MOST_WAITING: usize = 500_000;

/// Records of all CPUs, on their way into order.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    waiting: Vec<(u32, Record)>,
    delay: Delay,
    /// Everything before this was read.
    safe: u64,
    /// Everything before this was given out.
    given: u64,
    /// Records that came after their time was given out.
    late: u64,
    /// Records read.
    pub(crate) read: u64,
    prices: Prices,
    /// What it took the kernel to write them where they happened, ns.
    pub(crate) caused_ns: u64,
    /// Of that what it took where threads of the target ran, ns.
    pub(crate) of_target_ns: u64,
    /// What the records of switches alone took the kernel and us, ns, by the same.
    pub(crate) switches_ns: u64,
}

impl Merge {
    /// Nothing yet, with what records cost.
    pub(crate) fn new(prices: Prices) -> Merge {
        Merge { prices, ..Merge::default() }
    }

    /// Empties the rings, in a round that began at `now`, and appends to `out`
    /// the records whose turn has come, with their CPU.
    pub(crate) fn round(&mut self, rings: &Capture, now: u64, out: &mut Vec<(u32, Record)>) {
        let complete = self.empty(rings).map_or(now, |read| read.min(now));
        self.release(self.safe, out);
        self.safe = self.safe.max(complete);
    }

    /// Makes room in the rings between two rounds: what comes first of all that a
    /// recorder has to do, for what finds no room is lost.
    pub(crate) fn make_room(&mut self, rings: &Capture) {
        if self.waiting.len() < MOST_WAITING {
            self.empty(rings);
        }
    }

    /// Takes out what is in the rings; up to when, where that is not all.
    fn empty(&mut self, rings: &Capture) -> Option<u64> {
        let mut complete: Option<u64> = None;
        let (kind_of, ours) = (|id| rings.kind(id), |tid| rings.may_be_ours(tid));
        for (cpu, sampler) in rings.samplers() {
            let Some(iter) = sampler.iter() else { continue };
            let mut iter = iter.into_cow();
            let mut taken = 0;
            while let Some(raw) = iter.lending_next() {
                self.read += 1;
                if let Some(mut record) = record::parse_of(raw.as_raw().as_bytes(), kind_of, ours) {
                    let time = record.time;
                    let cost = self.prices.of(&record.body);
                    self.caused_ns += cost;
                    if record.is_of_switch() && !matches!(record.body, Body::Stack { .. }) {
                        self.switches_ns += cost + TO_READ;
                    }
                    self.delay.correct(cpu, &mut record, self.given);
                    self.take(cpu, record);
                    taken += 1;
                    if taken == ROUND_LIMIT {
                        // The rest of this ring is not older than this one.
                        complete = Some(complete.map_or(time, |complete| complete.min(time)));
                        break;
                    }
                }
            }
        }
        complete
    }

    /// Nobody recorded what happened on a CPU for a while, up to `now`.
    pub(crate) fn note_loss(&mut self, cpu: u32, now: u64) {
        self.take(cpu, Record { time: now, tid: 0, body: Body::Lost { records: 1 } });
    }

    /// Recording pauses at `now`, and the kernel keeps a tally or does not.
    pub(crate) fn note_pause(&mut self, now: u64, tallied: bool) {
        self.take(0, Record { time: now, tid: 0, body: Body::Paused { tallied } });
    }

    /// It goes on at `now`.
    pub(crate) fn note_end_of_pause(&mut self, now: u64) {
        self.take(0, Record { time: now, tid: 0, body: Body::Resumed });
    }

    /// The kernel tallied so many switches of the target.
    pub(crate) fn note_tallied(&mut self, switches: u64) {
        self.caused_ns += switches * TALLIED;
        self.of_target_ns += switches * TALLIED;
    }

    /// This record was written where a thread of the target ran.
    pub(crate) fn note_of_target(&mut self, record: &Record) {
        self.of_target_ns += self.prices.of(&record.body);
    }

    /// The threads that were born in the records that wait for their turn.
    pub(crate) fn born(&self) -> impl Iterator<Item = u32> {
        self.waiting().filter_map(|record| match record.body {
            Body::Fork { tid, .. } => Some(tid),
            _ => None,
        })
    }

    /// The records that wait for their turn.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Record> {
        self.waiting.iter().map(|(_, record)| record)
    }

    /// Gives out everything that is left, in order.
    pub(crate) fn finish(&mut self, out: &mut Vec<(u32, Record)>) {
        self.release(u64::MAX, out);
    }

    /// Everything before this time was given out.
    pub(crate) fn given(&self) -> u64 {
        self.given
    }

    /// Late records since the last call.
    pub(crate) fn take_late(&mut self) -> u64 {
        std::mem::take(&mut self.late)
    }

    fn take(&mut self, cpu: u32, record: Record) {
        if record.time < self.given {
            self.late += 1;
        } else {
            self.waiting.push((cpu, record));
        }
    }

    /// Gives out what is older than `before`. Stable: records of one CPU with
    /// equal times keep their order.
    fn release(&mut self, before: u64, out: &mut Vec<(u32, Record)>) {
        self.waiting.sort_by_key(|(_, record)| record.time);
        let ready = self.waiting.partition_point(|(_, record)| record.time < before);
        out.extend(self.waiting.drain(..ready));
        self.given = self.given.max(before);
    }
}

/// What the tally of a switch takes where it happens, ns.
const TALLIED: u64 = 300;

/// What it takes us to read a record of a switch and to make of it what is recorded, ns.
const TO_READ: u64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: u64) -> Record {
        Record { time, tid: 1, body: Body::Other }
    }

    #[test]
    fn records_come_out_in_order_and_a_late_one_is_counted() {
        let mut merge = Merge::default();
        let mut out = vec![];
        for (cpu, time) in [(0, 10), (1, 5), (1, 12), (0, 11)] {
            merge.take(cpu, at(time));
        }
        merge.release(12, &mut out);
        assert_eq!(out.iter().map(|(_, r)| r.time).collect::<Vec<_>>(), [5, 10, 11]);
        merge.take(0, at(11));
        assert_eq!((merge.take_late(), merge.take_late()), (1, 0));
        merge.finish(&mut out);
        assert_eq!(out.last().unwrap().1.time, 12);
    }
}
