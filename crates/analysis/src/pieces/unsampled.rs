//! CPU time of threads that no sample hit. A thread of each request, or the commands of a
//! shell script, live for less than the time between two samples: most have none, and
//! those that have one did not run for the whole time that it stands for. What is missing
//! there, the others of the same program ran.

use std::collections::{BTreeMap, VecDeque};

use rustc_hash::FxHashMap;

use super::{Amount, Key, Place};
use crate::{Group, State};

/// So many samples would have been expected where there are none: with fewer it may be
/// chance, and a thread of another kind.
const MANY: f64 = 10.0;
/// A thread that ran for less than this share of the time its samples stand for is one of
/// those that are too short.
const SHORT: f64 = 0.75;

/// How many samples each thread had.
pub(super) type Samples = FxHashMap<usize, u64>;

/// Places in the code, and the time they lack, ns.
#[derive(Debug, Default)]
struct Pool {
    donors: BTreeMap<(State, Place), f64>,
    unsampled: Vec<(usize, Amount)>,
}

/// Gives the time of `unsampled` threads the places of short ones of the same program,
/// and returns those that have no such. The time of each pool passes along its places once,
/// so that there are hardly more pieces than places and threads.
pub(super) fn lend<'a>(
    pieces: &mut FxHashMap<Key, Amount>,
    unsampled: Vec<(usize, Amount)>,
    samples: &Samples,
    program: impl Fn(usize) -> &'a str,
) -> Vec<(usize, Amount)> {
    let ran = ran(pieces);
    let period = period(&ran, &unsampled, samples);
    let mut pools: BTreeMap<&str, Pool> = BTreeMap::new();
    for (thread, amount) in unsampled {
        pools.entry(program(thread)).or_default().unsampled.push((thread, amount));
    }
    for (key, amount) in pieces.iter().filter(|(key, _)| is_cpu(key)) {
        let (Some(pool), Some(count)) =
            (pools.get_mut(program(key.thread)), samples.get(&key.thread))
        else {
            continue;
        };
        let (stood_for, ran) = (*count as f64 * period, ran[&key.thread] as f64);
        if ran > 0.0 && ran < SHORT * stood_for {
            let lacks = (stood_for - ran) * amount.thread_ns as f64 / ran;
            *pool.donors.entry((key.state, key.place)).or_default() += lacks;
        }
    }
    let mut left = vec![];
    for pool in pools.into_values() {
        if pool.time() < MANY * period || pool.donors.is_empty() {
            left.extend(pool.unsampled);
        } else {
            pool.share_out(|key, amount| *pieces.entry(key).or_default() += amount);
        }
    }
    left
}

/// The time that a sample stands for, ns.
fn period(ran: &FxHashMap<usize, u64>, unsampled: &[(usize, Amount)], samples: &Samples) -> f64 {
    let sampled: u64 = ran.values().sum();
    let other: u64 = unsampled.iter().map(|(_, amount)| amount.thread_ns).sum();
    (sampled + other) as f64 / samples.values().sum::<u64>().max(1) as f64
}

/// CPU time by thread, ns.
fn ran(pieces: &FxHashMap<Key, Amount>) -> FxHashMap<usize, u64> {
    let mut ran = FxHashMap::default();
    for (key, amount) in pieces.iter().filter(|(key, _)| is_cpu(key)) {
        *ran.entry(key.thread).or_default() += amount.thread_ns;
    }
    ran
}

fn is_cpu(key: &Key) -> bool {
    key.state.group() == Group::Cpu
}

impl Pool {
    fn time(&self) -> f64 {
        self.unsampled.iter().map(|(_, amount)| amount.thread_ns as f64).sum()
    }

    fn share_out(self, mut give: impl FnMut(Key, Amount)) {
        let lacking: f64 = self.donors.values().sum();
        let scale = self.time() / lacking;
        let mut donors: VecDeque<((State, Place), f64)> =
            self.donors.into_iter().map(|(place, lacks)| (place, lacks * scale)).collect();
        for (thread, mut amount) in self.unsampled {
            while let Some(((state, place), room)) = donors.front_mut() {
                let fits = amount.thread_ns as f64 <= *room;
                let part = if fits { amount } else { amount.take(*room as u64) };
                *room -= part.thread_ns as f64;
                give(Key { thread, state: *state, place: place.lent() }, part);
                if fits {
                    break;
                }
                // The last takes what rounding leaves.
                match donors.len() {
                    1 => donors[0].1 = f64::INFINITY,
                    _ => drop(donors.pop_front()),
                }
            }
        }
    }
}

impl Amount {
    /// Splits off the first `ns` of it.
    fn take(&mut self, ns: u64) -> Amount {
        let share = self.share * (ns as f64 / self.thread_ns.max(1) as f64);
        self.thread_ns -= ns;
        self.share = self.share - share;
        Amount { thread_ns: ns, share }
    }
}

#[cfg(test)]
mod tests {
    use whyslow_events::StackId;

    use super::*;
    use crate::bottleneck::{Rule, Share};

    const P: u64 = 2000;

    fn at(thread: usize, place: u32) -> Key {
        Key { thread, state: State::CpuUser, place: Place::Stack(StackId(place)) }
    }

    fn ns(thread_ns: u64) -> Amount {
        Amount { thread_ns, share: Share::of(thread_ns as f64, [2, 2]) }
    }

    /// Threads with a sample each, by what they ran and where; others without; what each
    /// place has then, and the time that is left.
    fn lent(sampled: &[(u64, u32)], others: &[u64], long: u64) -> (BTreeMap<u32, u64>, u64) {
        let mut pieces = FxHashMap::default();
        let mut samples = Samples::default();
        for (thread, (ran, place)) in sampled.iter().enumerate() {
            pieces.insert(at(thread, *place), ns(*ran));
            samples.insert(thread, 1);
        }
        // A thread that computes for long.
        pieces.insert(at(900, 9), ns(long * P));
        samples.insert(900, long);
        let unsampled: Vec<_> = (500..).zip(others.iter().map(|ran| ns(*ran))).collect();
        let before: f64 = pieces
            .values()
            .chain(unsampled.iter().map(|(_, it)| it))
            .map(|it| it.share.by(Rule::Number))
            .sum();
        let left = lend(&mut pieces, unsampled, &samples, |_| "server");
        let after: f64 = pieces
            .values()
            .chain(left.iter().map(|(_, it)| it))
            .map(|it| it.share.by(Rule::Number))
            .sum();
        assert!((before - after).abs() < 1e-6, "{before} {after}");
        let mut sums = BTreeMap::new();
        for (key, amount) in &pieces {
            let (Place::Stack(stack) | Place::Lent(stack)) = key.place else { panic!("{key:?}") };
            *sums.entry(stack.0).or_default() += amount.thread_ns;
        }
        (sums, left.iter().map(|(_, amount)| amount.thread_ns).sum())
    }

    #[test]
    fn short_threads_are_like_those_that_were_hit() {
        // Eighty requests of a quarter of a period: fourteen were hit at 1 and six at 2.
        let place = |request| if request < 14 { 1 } else { 2 };
        let hit: Vec<(u64, u32)> = (0..20).map(|request| (P / 4, place(request))).collect();
        let (sums, left) = lent(&hit, &[P / 4; 60], 100);
        assert_eq!(left, 0);
        assert_eq!(sums[&9], 100 * P, "who computes for long lends nothing");
        assert!(sums[&1].abs_diff(14 * P) <= 2 && sums[&2].abs_diff(6 * P) <= 2, "{sums:?}");
        assert_eq!(sums[&1] + sums[&2], 20 * P);
    }

    #[test]
    fn a_thread_that_hardly_ran_is_not_taken_for_another() {
        let (sums, left) = lent(&[], &[P / 2], 100);
        assert_eq!((sums[&9], left), (100 * P, P / 2));
        // Nor are many that have nobody like them.
        let (sums, left) = lent(&[], &[P / 2; 40], 1000);
        assert_eq!((sums[&9], left), (1000 * P, 20 * P));
    }
}
