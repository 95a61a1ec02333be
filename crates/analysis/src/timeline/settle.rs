//! What only the whole recording can tell: whether a thread that no event
//! named was running, and where in the code waits without a call chain are.

use rustc_hash::FxHashMap;
use whyslow_events::{SiteId, StackId};

use super::counts::Counted;
use super::{Doing, Queue, Thread, Timeline};

/// Of the time a thread is found runnable, on the CPU for this many percent is
/// all of it, and for the rest of them none.
const ALMOST_ALL: u64 = 90;

impl Timeline {
    /// `reaches_out` tells which call chains have a user half.
    pub(crate) fn settle(&mut self, reaches_out: impl Fn(StackId) -> bool) {
        for thread in &mut self.threads {
            determine(thread);
        }
        let by_site = first_stacks(&self.threads, &reaches_out);
        for thread in &mut self.threads {
            lend_stacks(thread, &by_site, &reaches_out);
        }
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

fn first_stacks(
    threads: &[Thread],
    reaches_out: &impl Fn(StackId) -> bool,
) -> FxHashMap<SiteId, StackId> {
    let mut found = FxHashMap::default();
    for interval in threads.iter().flat_map(|thread| &thread.intervals) {
        if let (Doing::Blocked(wait), Some(stack)) = (interval.doing, interval.stack)
            && let Some(site) = wait.site
        {
            let known = found.entry(site).or_insert(stack);
            if !reaches_out(*known) {
                *known = stack;
            }
        }
    }
    found
}

/// A wait without a call chain, or without its user half, has that of the
/// thread's last wait at the same site, or of any; a turn in the run queue that
/// of what came before it.
fn lend_stacks(
    thread: &mut Thread,
    by_site: &FxHashMap<SiteId, StackId>,
    reaches_out: &impl Fn(StackId) -> bool,
) {
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
                let lent = || site.and_then(|site| recent.get(&site).or(by_site.get(&site)));
                let own = interval.stack.filter(|stack| reaches_out(*stack));
                let stack = own.or_else(|| lent().copied()).or(interval.stack);
                if let (Some(site), Some(stack)) = (site, stack) {
                    recent.insert(site, stack);
                }
                interval.stack = stack;
                before = stack;
            }
            Doing::Runq { .. } => {
                let own = interval.stack.filter(|stack| reaches_out(*stack));
                interval.stack = own.or(before).or(interval.stack);
                before = interval.stack;
            }
            _ => {}
        }
    }
}
