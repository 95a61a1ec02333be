//! What only the whole recording can tell: whether a thread that no event
//! named was running, and where in the code waits without a call chain are.

use rustc_hash::FxHashMap;
use whyslow_events::{SiteId, StackId};

use super::counts::Counted;
use super::{Doing, Queue, Thread, Timeline};
use crate::tables::Tables;

/// Of the time a thread is found runnable, on the CPU for this many percent is
/// all of it, and for the rest of them none.
const ALMOST_ALL: u64 = 90;

impl Timeline {
    /// The call chains are in `tables`; those that are lent, and those whose names
    /// changed, are added.
    pub(crate) fn settle(&mut self, tables: &mut Tables) {
        for thread in &mut self.threads {
            determine(thread);
            name_in_time(thread, tables);
        }
        let by_site = first_stacks(&self.threads, tables);
        for thread in &mut self.threads {
            lend_stacks(thread, &by_site, tables);
            place_newborn(thread, tables);
        }
    }
}

/// Gives each stack the names of its time.
fn name_in_time(thread: &mut Thread, tables: &mut Tables) {
    let intervals = thread.intervals.iter_mut().map(|it| (it.start, &mut it.stack));
    let samples = thread.samples.iter_mut().map(|it| (it.time, &mut it.stack));
    for (time, stack) in intervals.chain(samples) {
        *stack = stack.map(|stack| tables.named_at(stack, time));
    }
}

fn determine(thread: &mut Thread) {
    let counted = thread.counts.last();
    let begin = thread.start;
    let ends: Vec<(u64, u64)> = thread.spans().map(|(start, end, _)| (start, end)).collect();
    for (interval, (start, end)) in thread.intervals.iter_mut().zip(ends) {
        if interval.doing != Doing::Undetermined {
            continue;
        }
        let percent = counted.and_then(|Counted { time, cpu_ns, .. }| {
            let lifetime = u128::from(time.saturating_sub(begin).max(1));
            u64::try_from(u128::from(cpu_ns) * 100 / lifetime).ok()
        });
        interval.doing = match percent {
            Some(ALMOST_ALL..) => Doing::OnCpu { stolen: 0 },
            Some(percent) if percent <= 100 - ALMOST_ALL => Doing::Runq {
                preempted: true,
                queue: Queue { saturated: 0, neighbours: end - start },
            },
            _ => Doing::Unknown,
        };
    }
}

fn first_stacks(threads: &[Thread], tables: &Tables) -> FxHashMap<SiteId, StackId> {
    let mut found = FxHashMap::default();
    for interval in threads.iter().flat_map(|thread| &thread.intervals) {
        if let (Doing::Blocked(wait), Some(stack)) = (interval.doing, interval.stack)
            && let Some(site) = wait.site
        {
            let known = found.entry(site).or_insert(stack);
            if !tables.reaches_out(*known) {
                *known = stack;
            }
        }
    }
    found
}

/// A wait without a call chain, or without its user half, has that of the
/// thread's last wait at the same site, or of any, and does not count as whole:
/// another caller may have come there. A turn in the run queue has that of what
/// came before it.
fn lend_stacks(thread: &mut Thread, by_site: &FxHashMap<SiteId, StackId>, tables: &mut Tables) {
    let mut recent: FxHashMap<SiteId, StackId> = FxHashMap::default();
    let mut samples = thread.samples.iter().peekable();
    let mut before = None;
    for interval in &mut thread.intervals {
        while let Some(sample) = samples.next_if(|sample| sample.time <= interval.start) {
            before = sample.stack.or(before);
        }
        match interval.doing {
            Doing::Blocked(wait) => {
                let site = wait.site;
                let known = || site.and_then(|site| recent.get(&site).or(by_site.get(&site)));
                let own = interval.stack.filter(|stack| tables.reaches_out(*stack));
                let lent = if own.is_none() { known().copied() } else { None };
                if let (Some(site), Some(stack)) = (site, own.or(lent).or(interval.stack)) {
                    recent.insert(site, stack);
                }
                let stack = own.or_else(|| tables.lent(lent?)).or(interval.stack);
                interval.stack = stack;
                before = stack;
            }
            Doing::Runq { .. } => {
                let own = interval.stack.filter(|stack| tables.reaches_out(*stack));
                interval.stack = own.or(before).or(interval.stack);
                before = interval.stack;
            }
            _ => {}
        }
    }
}

/// A thread that has not run yet is where it begins, as all of its stacks do.
fn place_newborn(thread: &mut Thread, tables: &mut Tables) {
    let waits = thread.intervals.iter().filter_map(|interval| interval.stack);
    let mut stacks = waits.chain(thread.samples.iter().filter_map(|sample| sample.stack));
    let beginning = stacks.find_map(|stack| tables.beginning(stack));
    if let Some(first) = thread.intervals.first_mut()
        && matches!(first.doing, Doing::Runq { preempted: false, .. })
    {
        first.stack = first.stack.or(beginning);
    }
}
