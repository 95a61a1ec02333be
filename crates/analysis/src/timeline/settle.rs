//! What only the whole recording can tell: whether a thread that no event
//! named was running, and where in the code waits without a call chain are.

use rustc_hash::FxHashMap;
use whyslow_events::{SiteId, StackId};

use super::counts::Counted;
use super::survey::Life;
use super::unseen::Calls;
use super::{Doing, Queue, Thread};
use crate::tables::Tables;

/// Of the time a thread is found runnable, on the CPU for this many percent is
/// all of it, and for the rest of them none.
const ALMOST_ALL: u64 = 90;

/// What a thread did that was found runnable, and no event told whether it ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Certain {
    Ran,
    Waited,
    #[default]
    Nothing,
}

impl Certain {
    pub(super) fn of(life: &Life) -> Self {
        let percent = life.counts.last().and_then(|Counted { time, cpu_ns, .. }| {
            let lifetime = u128::from(time.saturating_sub(life.start).max(1));
            u64::try_from(u128::from(cpu_ns) * 100 / lifetime).ok()
        });
        match percent {
            Some(ALMOST_ALL..) => Certain::Ran,
            Some(percent) if percent <= 100 - ALMOST_ALL => Certain::Waited,
            _ => Certain::Nothing,
        }
    }

    pub(super) fn determine(self, thread: &mut Thread) {
        for index in 0..thread.intervals.len() {
            let length = thread.end_of(index) - thread.intervals[index].start;
            let doing = &mut thread.intervals[index].doing;
            if *doing == Doing::Undetermined {
                *doing = self.doing(length);
            }
        }
    }

    fn doing(self, length: u64) -> Doing {
        match self {
            Certain::Ran => Doing::OnCpu { stolen: 0 },
            Certain::Waited => {
                Doing::Runq { preempted: true, queue: Queue { saturated: 0, neighbours: length } }
            }
            Certain::Nothing => Doing::Unknown,
        }
    }
}

/// Gives waits without a call chain that of another at the same site, and those without
/// calls of the program those of another.
#[derive(Debug)]
pub(super) struct Lender {
    by_site: FxHashMap<SiteId, StackId>,
    calls: Calls,
    /// By number of those threads that go on.
    recent: FxHashMap<u32, Recent>,
}

/// Where a thread was.
#[derive(Debug, Default)]
struct Recent {
    by_site: FxHashMap<SiteId, StackId>,
    last: Option<StackId>,
}

impl Lender {
    pub(super) fn new(by_site: FxHashMap<SiteId, StackId>, calls: Calls) -> Self {
        Lender { by_site, calls, recent: FxHashMap::default() }
    }

    /// The call chains are in `tables`; those that are lent, and those whose names
    /// changed, are added.
    pub(super) fn settle(&mut self, thread: &mut Thread, tables: &mut Tables) {
        name_in_time(thread, tables);
        let mut recent = self.recent.remove(&thread.number).unwrap_or_default();
        lend_stacks(thread, &self.by_site, &mut recent, tables);
        self.calls.lend(thread, tables);
        if thread.goes_on {
            self.recent.insert(thread.number, recent);
        }
        if thread.born {
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

/// A wait without a call chain, or without its user half, has that of the
/// thread's last wait at the same site, or of any, and does not count as whole:
/// another caller may have come there. A turn in the run queue has that of what
/// came before it, which is lent where the thread has run meanwhile.
fn lend_stacks(
    thread: &mut Thread,
    by_site: &FxHashMap<SiteId, StackId>,
    Recent { by_site: recent, last: before }: &mut Recent,
    tables: &mut Tables,
) {
    let mut samples = thread.samples.iter().peekable();
    for interval in &mut thread.intervals {
        while let Some(sample) = samples.next_if(|sample| sample.time <= interval.start) {
            *before = sample.stack.or(*before);
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
                *before = stack;
            }
            Doing::Runq { preempted, .. } => {
                let own = interval.stack.filter(|stack| tables.reaches_out(*stack));
                let lent = match *before {
                    Some(stack) if preempted && own.is_none() => tables.lent_to_next(stack),
                    before => before,
                };
                interval.stack = own.or(lent).or(interval.stack);
                *before = interval.stack;
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
