//! The places of waiting: how often, how long, and where in the code.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use whyslow_events::{Entry, Object, Site, SiteId, StackId};

use crate::State;
use crate::account::Account;
use crate::cause::is_parked;
use crate::frames::Frames;
use crate::lengths::Lengths;
use crate::report::Wait;
use crate::tables::Tables;
use crate::timeline::{Doing, Timeline};

/// So many lengths of waits are kept as they are; of more, near values are put together.
const EXACT: usize = 2_000_000;

/// The waits of a recording, segment by segment.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    by_site: FxHashMap<(State, Option<SiteId>), Waited>,
    /// How long the waits are so far that a cut fell into, by number of the thread.
    open: FxHashMap<u32, u64>,
    lengths: usize,
}

#[derive(Debug, Default)]
struct Waited {
    total: u64,
    lengths: Lengths,
    /// How many there were beside those whose lengths are known.
    tallied: u64,
    by_stack: BTreeMap<StackId, u64>,
}

impl Waited {
    fn add(&mut self, other: Waited) {
        self.total += other.total;
        self.lengths.add(other.lengths);
        self.tallied += other.tallied;
        for (stack, ns) in other.by_stack {
            *self.by_stack.entry(stack).or_default() += ns;
        }
    }
}

impl Waits {
    /// The next segment.
    pub(crate) fn add(&mut self, timeline: &Timeline, accounts: &[Vec<Account>]) {
        for (thread, accounts) in timeline.threads.iter().zip(accounts) {
            let mut begun = self.open.remove(&thread.number).unwrap_or(0);
            for ((start, end, interval), account) in thread.spans().zip(accounts) {
                let begun = std::mem::take(&mut begun);
                let Doing::Blocked(wait) = interval.doing else { continue };
                let waited = self.by_site.entry((account.state, wait.site)).or_default();
                let span = end - start;
                waited.total += span;
                if let Some(stack) = interval.stack {
                    *waited.by_stack.entry(stack).or_default() += span;
                }
                if thread.open && end == thread.end && end > start {
                    self.open.insert(thread.number, begun + span);
                    continue;
                }
                if wait.sketched {
                    waited.tallied += u64::from(wait.tallied);
                    continue;
                }
                // The rest of a wait that a gap in the records cut in two.
                if !(wait.resumed && waited.lengths.lengthen(span)) {
                    waited.lengths.push(begun + span);
                    self.lengths += 1;
                }
            }
        }
        if self.lengths > EXACT {
            self.by_site.values_mut().for_each(|waited| waited.lengths.round());
        }
    }

    /// Those alike together, the longest in sum first.
    pub(crate) fn rows(self, tables: &Tables, frames: &Frames) -> Vec<Wait> {
        let mut groups: BTreeMap<(State, Option<String>, Option<String>), Waited> = BTreeMap::new();
        for ((state, site), waited) in self.by_site {
            let site = site.and_then(|site| tables.sites.get(&site));
            // Who waits for a lock of a runtime's has a futex of its own, which is not the lock.
            let mut stacks = waited.by_stack.keys();
            let own = state == State::LockUser && stacks.any(|stack| is_parked(tables, *stack));
            let object = site.filter(|_| !own).and_then(object);
            let key = (state, site.and_then(call), object);
            groups.entry(key).or_default().add(waited);
        }
        let rows = groups.into_iter().map(|((state, syscall, object), waited)| {
            let place = longest(&waited.by_stack, frames);
            let lengths = waited.lengths.sorted();
            Wait {
                state: state.key().to_owned(),
                syscall,
                object,
                r#where: place,
                count: lengths.count() + waited.tallied,
                total_ns: waited.total,
                p50_ns: lengths.percentile(50),
                p99_ns: lengths.percentile(99),
                max_ns: lengths.max(),
            }
        });
        let mut waits: Vec<Wait> = rows.collect();
        // Stable: equal totals stay in the order of their keys.
        waits.sort_by_key(|wait| std::cmp::Reverse(wait.total_ns));
        waits
    }
}

/// The place at which the most time was spent.
fn longest(by_stack: &BTreeMap<StackId, u64>, frames: &Frames) -> Option<String> {
    let mut places: BTreeMap<String, u64> = BTreeMap::new();
    for (stack, ns) in by_stack {
        if let Some(place) = frames.place(*stack) {
            *places.entry(place).or_default() += ns;
        }
    }
    places.into_iter().max_by_key(|(_, ns)| *ns).map(|(place, _)| place)
}

fn call(site: &Site) -> Option<String> {
    match &site.entry {
        Entry::Syscall(name) => Some(name.clone()),
        Entry::Fault => Some("page fault".to_owned()),
        Entry::UnknownSyscall | Entry::Unseen | Entry::Stopped => None,
    }
}

fn object(site: &Site) -> Option<String> {
    match &site.object {
        Object::None | Object::Unseen => None,
        object => Some(object.to_string()),
    }
}
