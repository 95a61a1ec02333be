//! What is gathered of a recording segment by segment before any of it is judged:
//! only the whole of it tells.

use rustc_hash::FxHashMap;
use whyslow_events::{Pid, SiteId, StackId};

use super::brief::Brief;
use super::counts::{Counts, Ours};
use super::heartbeat::Work;
use super::open::Opens;
use super::settle::Lender;
use super::unseen::Calls;
use super::untold::{Untold, Waited};
use super::whole::Whole;
use super::{Doing, Thread, Timeline};
use crate::tables::Tables;

/// Gathered so far.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// By number.
    lives: Vec<Option<Life>>,
    first_stacks: FxHashMap<SiteId, First>,
    opens: Opens,
    brief: Brief,
    waited: Waited,
    segments: u32,
}

/// One thread over all its life so far.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) pid: Pid,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) born: bool,
    /// The kernel's counts of its CPU time.
    pub(super) counts: Counts,
    pub(super) ours: Ours,
    pub(super) work: Work,
}

/// The stack that is lent to waits at a site that have none.
#[derive(Clone, Copy, Debug)]
struct First {
    stack: StackId,
    /// Thread and time.
    at: (u32, u64),
    whole: bool,
}

impl Survey {
    /// The next segment, of which nothing is judged yet.
    pub(crate) fn add(&mut self, tables: &Tables, timeline: &Timeline) {
        for thread in &timeline.threads {
            let number = thread.number as usize;
            if self.lives.len() <= number {
                self.lives.resize_with(number + 1, || None);
            }
            self.lives[number].get_or_insert_with(|| Life::of(thread)).go_on(tables, thread);
            self.first_stacks(tables, thread);
            self.brief.add(thread);
            self.waited.add(thread, tables);
            self.opens.see(thread, self.segments);
        }
        self.segments += 1;
    }

    /// Of all segments. `tables` are complete.
    pub(crate) fn finish(self, tables: &mut Tables) -> Whole {
        let first_stacks = self.first_stacks.into_iter();
        let named = first_stacks.map(|(site, it)| (site, tables.named_at(it.stack, it.at.1)));
        let named = named.collect();
        let lender = Lender::new(named, Calls::new(self.brief, tables));
        let untold = Untold::new(self.waited, tables);
        Whole::new(self.lives, (lender, untold), self.opens, tables)
    }

    /// The first stack of a site that has a user half, else the last without.
    fn first_stacks(&mut self, tables: &Tables, thread: &Thread) {
        for interval in &thread.intervals {
            let (Doing::Blocked(wait), Some(stack)) = (interval.doing, interval.stack) else {
                continue;
            };
            let Some(site) = wait.site else { continue };
            let new = || First {
                stack,
                at: (thread.number, interval.start),
                whole: tables.reaches_out(stack),
            };
            let known = self.first_stacks.entry(site).or_insert_with(new);
            if known.whole && known.at <= (thread.number, interval.start) {
                continue;
            }
            let new = new();
            let better = match (known.whole, new.whole) {
                (true, false) => false,
                (false, true) | (true, true) => true,
                (false, false) => new.at > known.at,
            };
            if better {
                *known = new;
            }
        }
    }
}

impl Life {
    fn of(thread: &Thread) -> Self {
        Life {
            pid: thread.pid,
            start: thread.start,
            end: thread.start,
            born: thread.born,
            counts: Counts::default(),
            ours: Ours::default(),
            work: Work::default(),
        }
    }

    fn go_on(&mut self, tables: &Tables, thread: &Thread) {
        let mut from = thread.start;
        for reading in &thread.readings {
            let to = reading.time.clamp(from, thread.end.max(from));
            self.ours += thread.ours(&(from..to));
            from = to;
            self.counts.add(*reading, self.ours);
        }
        self.ours += thread.ours(&(from..thread.end));
        self.work.add(tables, thread);
        self.end = thread.end;
    }
}
