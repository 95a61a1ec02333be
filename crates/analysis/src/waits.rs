//! The places of waiting: how often, how long, and where in the code.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use whyslow_events::{Entry, Object, Site, SiteId, StackId};

use crate::State;
use crate::account::Account;
use crate::frames::Frames;
use crate::percentile::percentile;
use crate::report::Wait;
use crate::tables::Tables;
use crate::timeline::{Doing, Timeline};

#[derive(Debug, Default)]
struct Waited {
    total: u64,
    /// Of each wait: exact percentiles for eight bytes each.
    lengths: Vec<u64>,
    by_stack: BTreeMap<StackId, u64>,
}

impl Waited {
    fn add(&mut self, other: Waited) {
        self.total += other.total;
        self.lengths.extend(other.lengths);
        for (stack, ns) in other.by_stack {
            *self.by_stack.entry(stack).or_default() += ns;
        }
    }
}

pub(crate) fn waits(
    tables: &Tables,
    timeline: &Timeline,
    accounts: &[Vec<Account>],
    frames: &mut Frames<'_>,
) -> Vec<Wait> {
    let mut groups: BTreeMap<(State, Option<String>, Option<String>), Waited> = BTreeMap::new();
    for ((state, site), waited) in by_site(timeline, accounts) {
        let site = site.and_then(|site| tables.sites.get(&site));
        let key = (state, site.and_then(call), site.and_then(object));
        groups.entry(key).or_default().add(waited);
    }
    let mut waits: Vec<Wait> = groups
        .into_iter()
        .map(|((state, syscall, object), mut waited)| {
            waited.lengths.sort_unstable();
            let longest = waited.by_stack.iter().max_by_key(|(_, ns)| **ns);
            Wait {
                state: state.key().to_owned(),
                syscall,
                object,
                r#where: longest.and_then(|(stack, _)| frames.place(*stack)),
                count: waited.lengths.len() as u64,
                total_ns: waited.total,
                p50_ns: percentile(&waited.lengths, 50),
                p99_ns: percentile(&waited.lengths, 99),
                max_ns: percentile(&waited.lengths, 100),
            }
        })
        .collect();
    // Stable: equal totals stay in the order of their keys.
    waits.sort_by_key(|wait| std::cmp::Reverse(wait.total_ns));
    waits
}

fn by_site(
    timeline: &Timeline,
    accounts: &[Vec<Account>],
) -> FxHashMap<(State, Option<SiteId>), Waited> {
    let mut sums: FxHashMap<(State, Option<SiteId>), Waited> = FxHashMap::default();
    for (thread, accounts) in timeline.threads.iter().zip(accounts) {
        for ((start, end, interval), account) in thread.spans().zip(accounts) {
            let Doing::Blocked(wait) = interval.doing else { continue };
            let waited = sums.entry((account.state, wait.site)).or_default();
            let span = end - start;
            waited.total += span;
            match waited.lengths.last_mut() {
                // The rest of a wait that a gap in the records cut in two.
                Some(length) if wait.resumed => *length += span,
                _ => waited.lengths.push(span),
            }
            if let Some(stack) = interval.stack {
                *waited.by_stack.entry(stack).or_default() += span;
            }
        }
    }
    sums
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
