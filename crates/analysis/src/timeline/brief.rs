//! Threads that live for so short a time that few of them are looked at: one of each
//! request, or of each piece of work. What was seen of some, the others did as well, each
//! in its share. So did threads of any age where they were sampled and their calls not read.

use std::cmp::Reverse;
use std::hash::Hash;

use rustc_hash::FxHashMap;
use whyslow_events::{SiteId, StackId};

use super::ways::{Way, Ways};
use super::{Doing, Thread};
use crate::tables::Tables;

/// Threads that live for less may end before anybody looks at them, ns.
const BRIEF: u64 = 100_000_000;
/// Stacks that are lent at one place: those that were seen most.
const DONORS: usize = 64;
/// Fewer samples do not tell what all the others hit.
const SAMPLES: u64 = 10;

/// Whether a thread began and ended within the window, soon.
pub(super) fn is_brief(thread: &Thread) -> bool {
    thread.born && !thread.goes_on && thread.lifetime() < BRIEF
}

pub(super) fn has_calls(stack: StackId, tables: &Tables) -> bool {
    tables.stacks.get(&stack).is_some_and(|stack| !stack.script.is_empty())
}

/// The stacks of brief threads in waits, for how long, and of all in samples, how often.
#[derive(Debug, Default)]
pub(super) struct Brief {
    waits: FxHashMap<(SiteId, StackId), u64>,
    samples: FxHashMap<StackId, u64>,
}

impl Brief {
    pub(super) fn add(&mut self, thread: &Thread) {
        for stack in thread.samples.iter().filter_map(|sample| sample.stack) {
            *self.samples.entry(stack).or_default() += 1;
        }
        if !is_brief(thread) {
            return;
        }
        for (start, end, interval) in thread.spans() {
            if let (Doing::Blocked(wait), Some(stack)) = (interval.doing, interval.stack)
                && let Some(site) = wait.site
            {
                *self.waits.entry((site, stack)).or_default() += end - start;
            }
        }
    }

    pub(super) fn pools(self, ways: &mut Ways, tables: &Tables) -> Pools {
        let mut pools = Pools::default();
        let called = |stack: StackId| has_calls(stack, tables);
        for ((site, stack), ns) in in_order(self.waits) {
            if tables.stacks.get(&stack).is_some_and(|stack| stack.end.is_whole()) {
                put(&mut pools.sites, site, stack, ns);
            }
            if let Some(came) = ways.of(stack, tables).filter(|_| called(stack)) {
                came.through.iter().for_each(|way| put(&mut pools.waits, *way, stack, ns));
            }
        }
        for (stack, count) in in_order(self.samples) {
            if let Some(came) = ways.of(stack, tables).filter(|_| called(stack)) {
                let ways = came.through.iter().chain([&came.runs]);
                ways.for_each(|way| put(&mut pools.samples, *way, stack, count));
            }
        }
        let many = |donors: &Vec<Donor>| donors.iter().map(|it| it.seen).sum::<u64>() >= SAMPLES;
        pools.samples.retain(|_, donors| many(donors));
        pools
    }
}

/// The most first.
fn in_order<K: Ord + Copy>(seen: FxHashMap<K, u64>) -> Vec<(K, u64)> {
    let mut seen: Vec<(K, u64)> = seen.into_iter().collect();
    seen.sort_unstable_by_key(|(stack, times)| (Reverse(*times), *stack));
    seen
}

fn put<K: Eq + Hash>(pools: &mut FxHashMap<K, Vec<Donor>>, key: K, stack: StackId, seen: u64) {
    let donors = pools.entry(key).or_default();
    if donors.len() < DONORS {
        donors.push(Donor { stack, seen, lent: 0 });
    }
}

/// A stack, how much of it was seen, and how much was lent.
#[derive(Clone, Copy, Debug)]
struct Donor {
    stack: StackId,
    seen: u64,
    lent: u64,
}

/// Stacks to be lent.
#[derive(Debug, Default)]
pub(super) struct Pools {
    /// With calls, by the way to where they wait.
    waits: FxHashMap<Way, Vec<Donor>>,
    /// Whole ones, by what is waited for.
    sites: FxHashMap<SiteId, Vec<Donor>>,
    /// With calls, by the way to the interpreter that runs them and each beyond.
    samples: FxHashMap<Way, Vec<Donor>>,
}

impl Pools {
    /// A stack with calls for a wait of so many ns to which this way led.
    pub(super) fn by(&mut self, way: Way, ns: u64) -> Option<StackId> {
        next(self.waits.get_mut(&way)?, ns)
    }

    /// A whole stack for a wait of so many ns at this site.
    pub(super) fn at(&mut self, site: SiteId, ns: u64) -> Option<StackId> {
        next(self.sites.get_mut(&site)?, ns)
    }

    /// A stack with calls for a sample of a thread that came this way.
    pub(super) fn in_run(&mut self, way: Way) -> Option<StackId> {
        next(self.samples.get_mut(&way)?, 1)
    }
}

/// Lends that stack of which least was lent so far, for as much as was seen of it.
fn next(donors: &mut [Donor], amount: u64) -> Option<StackId> {
    let after = |donor: &Donor| (donor.lent + amount) as f64 / donor.seen.max(1) as f64;
    let least = donors.iter_mut().min_by(|one, other| after(one).total_cmp(&after(other)))?;
    least.lent += amount;
    Some(least.stack)
}
