//! The calls of a program in waits that were over before anybody looked, as most waits
//! for an interpreter lock are, and of samples whose calls were read at another moment or
//! not at all. Who came the same way through the interpreter and was seen there tells: the
//! same thread at the time next to it or, for a sample, any other or, of waits of threads
//! too short to be looked at each, others that are as short (`brief`).

use rustc_hash::FxHashMap;
use whyslow_events::StackId;

use super::brief::{Brief, Pools, has_calls, is_brief};
use super::ways::{Way, Ways};
use super::{Doing, Interval, Thread};
use crate::tables::Tables;

/// What a thread was seen at says nothing of a wait farther away, ns.
const NEAR: u64 = 1_000_000_000;

/// Lends calls.
#[derive(Debug, Default)]
pub(super) struct Calls {
    ways: Ways,
    pools: Pools,
}

/// When a thread was seen somewhere, and with what stack, by the way it came.
type Sights = FxHashMap<Way, Vec<(u64, StackId)>>;

impl Calls {
    pub(super) fn new(brief: Brief, tables: &Tables) -> Self {
        let mut ways = Ways::default();
        let pools = brief.pools(&mut ways, tables);
        Calls { ways, pools }
    }

    /// Gives the waits of `thread` without calls those of others, the turns in the run
    /// queue after them, and the samples whose own do not fit or are not known.
    pub(super) fn lend(&mut self, thread: &mut Thread, tables: &mut Tables) {
        if tables.codes.is_empty() {
            return;
        }
        let waits = thread.intervals.iter().filter_map(|interval| match interval.doing {
            Doing::Blocked(_) => Some((interval.start, interval.stack?)),
            _ => None,
        });
        let sights = self.sights(waits, false, tables);
        let samples = thread.samples.iter().filter_map(|it| Some((it.time, it.stack?)));
        let running = self.sights(samples, true, tables);
        let brief = is_brief(thread);
        let mut waited = None;
        for index in 0..thread.intervals.len() {
            let end = thread.end_of(index);
            let interval = &mut thread.intervals[index];
            let Some(stack) = interval.stack else { continue };
            let lent = match interval.doing {
                Doing::Blocked(_) => {
                    let lent = self.of_wait(interval, end, &sights, brief, tables);
                    waited = Some((stack, lent));
                    lent
                }
                Doing::Runq { .. } => waited
                    .and_then(|(before, lent)| lent.filter(|_| before == stack))
                    .or_else(|| self.of_other_moment(stack, interval.start, &running, tables)),
                _ => None,
            };
            interval.stack = lent.or(interval.stack);
        }
        for sample in &mut thread.samples {
            let Some(stack) = sample.stack else { continue };
            let lent = match self.of_other_moment(stack, sample.time, &running, tables) {
                None => self.of_sample(stack, sample.time, [&running, &sights], tables),
                lent => lent,
            };
            sample.stack = lent.or(sample.stack);
        }
    }

    /// What a thread was `seen` at, by each part of the way beyond the interpreter and, if
    /// `runs`, by the way there, too.
    fn sights(
        &mut self,
        seen: impl Iterator<Item = (u64, StackId)>,
        runs: bool,
        tables: &Tables,
    ) -> Sights {
        let mut sights = Sights::default();
        for (time, stack) in seen.filter(|(_, stack)| has_calls(*stack, tables)) {
            let Some(came) = self.ways.of(stack, tables) else { continue };
            for way in runs.then_some(&came.runs).into_iter().chain(&came.through) {
                sights.entry(*way).or_default().push((time, stack));
            }
        }
        sights
    }

    /// The stack of a sample with calls that fit, in the place of its own that do not: of
    /// who came the same way farthest in.
    fn of_other_moment(
        &mut self,
        stack: StackId,
        time: u64,
        running: &Sights,
        tables: &mut Tables,
    ) -> Option<StackId> {
        let came = self.ways.of_unfit(stack, tables)?;
        let mut ways = came.through.iter().rev().chain([&came.runs]);
        let donor = ways.find_map(|way| nearest(running.get(way)?, time))?;
        tables.with_calls(stack, donor)
    }

    /// The stack with calls of a wait that ends at `end`.
    fn of_wait(
        &mut self,
        wait: &Interval,
        end: u64,
        sights: &Sights,
        brief: bool,
        tables: &mut Tables,
    ) -> Option<StackId> {
        let stack = wait.stack.filter(|stack| !has_calls(*stack, tables))?;
        let ns = end - wait.start;
        let (stack, of_site) = match wait.doing {
            Doing::Blocked(wait) if brief && tables.is_of_site(stack) => {
                (self.pools.at(wait.site?, ns)?, true)
            }
            _ => (stack, false),
        };
        let whole = self.with_calls(stack, wait.start, ns, sights, brief, tables);
        match of_site {
            true => tables.lent_to_like(whole.unwrap_or(stack)),
            false => whole,
        }
    }

    fn with_calls(
        &mut self,
        stack: StackId,
        time: u64,
        ns: u64,
        sights: &Sights,
        brief: bool,
        tables: &mut Tables,
    ) -> Option<StackId> {
        if has_calls(stack, tables) {
            return None;
        }
        let way = self.ways.of(stack, tables)?.by;
        let own = sights.get(&way).and_then(|sights| nearest(sights, time));
        let donor = own.or_else(|| if brief { self.pools.by(way, ns) } else { None })?;
        tables.with_calls(stack, donor)
    }

    /// The stack of a sample with calls, in the place of none: of a wait to which the same way
    /// led or of a sample that came the same way farthest in, be it only to the interpreter, the
    /// thread's own first.
    fn of_sample(
        &mut self,
        stack: StackId,
        time: u64,
        [running, waiting]: [&Sights; 2],
        tables: &mut Tables,
    ) -> Option<StackId> {
        if has_calls(stack, tables) {
            return None;
        }
        let came = self.ways.of(stack, tables)?;
        let near = |sights: &Sights, way: &Way| nearest(sights.get(way)?, time);
        let at_wait = || near(waiting, &came.by).filter(|_| came.by != came.runs);
        let mut ways = came.through.iter().rev().chain([&came.runs]);
        let in_run = |way: &Way| near(running, way).or_else(|| self.pools.in_run(*way));
        let donor = at_wait().or_else(|| ways.find_map(in_run))?;
        tables.with_calls(stack, donor)
    }
}

/// The stack that was seen next to `time`, unless that is far.
fn nearest(sights: &[(u64, StackId)], time: u64) -> Option<StackId> {
    let next = sights.partition_point(|(seen, _)| *seen < time);
    let around = sights[..next].last().into_iter().chain(sights.get(next));
    let near = around.min_by_key(|(seen, _)| seen.abs_diff(time))?;
    (near.0.abs_diff(time) <= NEAR).then_some(near.1)
}
