//! Where no record tells of causes, threads are looked at now and then, and most waits
//! are over before anybody looks. They are taken to be like those of the same thread, or
//! else of others of its process that wait at the same calls, that were looked at and took
//! about as long, before or after them. Where a look found that a wait was over, and its thread without a CPU, how long it
//! took is not known: it is like those that looks met at their beginning, which meet short
//! ones as often as long ones. How much of the time that is, is said at the end.
//!
//! The rule looks at events alone, and ahead of each by a fixed number of them, so that
//! it is the same however the recording is divided afterwards.

mod habits;
mod kin;
mod waiting;

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use whyslow_events::{
    Event, EventSource, Fallback, Header, Ns, Pid, SiteId, SourceError, Tid, Timed,
};

use crate::timeline::Lent;
use habits::Habits;
use kin::{Kin, Places};
use waiting::{Told, Waiting};

/// Looks ahead by so many events, of some hundred bytes each.
const AHEAD: usize = 1 << 17;

/// The events of a recording, with looks where waits are like those that were looked at.
pub(crate) struct Lending<'a> {
    source: &'a mut dyn EventSource,
    room: usize,
    /// Whether there are waits that nobody tells the cause of.
    needed: bool,
    waiting: Waiting,
    /// Those read, and not given yet.
    ahead: VecDeque<(Timed, Told)>,
    /// What was lent to the wait that ends with the next event.
    lent: Option<Timed>,
    by_thread: FxHashMap<u32, Habits>,
    by_process: FxHashMap<Pid, OfProcess>,
    places: Places,
    sums: Sums,
    /// The time of the last event that was given.
    now: Ns,
    end: Option<Result<(), SourceError>>,
    summed_up: bool,
}

/// Of a process: the habits of all its threads, which of them are alike, and how many
/// there are.
#[derive(Debug, Default)]
struct OfProcess {
    habits: Habits,
    kin: Kin,
    alive: usize,
}

/// Waits, and their time.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    waits: u64,
    ns: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    seen: Sum,
    lent: Sum,
    unknown: Sum,
    /// Those of the first that are examples for others.
    examples: u64,
}

impl Sum {
    fn add(&mut self, ns: u64) {
        self.waits += 1;
        self.ns += ns;
    }
}

impl<'a> Lending<'a> {
    pub(crate) fn new(source: &'a mut dyn EventSource) -> Self {
        Lending::looking_ahead(source, AHEAD)
    }

    fn looking_ahead(source: &'a mut dyn EventSource, room: usize) -> Self {
        let header = source.header();
        let can = &header.capabilities;
        Lending {
            room,
            needed: can.exact_switches && !can.wakeups,
            waiting: Waiting::new(header.start.0),
            ahead: VecDeque::new(),
            lent: None,
            by_thread: FxHashMap::default(),
            by_process: FxHashMap::default(),
            places: Places::default(),
            sums: Sums::default(),
            now: header.start,
            end: None,
            summed_up: false,
            source,
        }
    }

    /// Reads on, as far as there is room; an event that is to be given at once.
    fn read(&mut self) -> Option<Timed> {
        while self.end.is_none() && self.ahead.len() < self.room {
            match self.source.next_event() {
                // A site must be known before those that are lent it.
                Ok(Some(Timed { time, event: event @ Event::Site { .. } })) => {
                    if let Event::Site { id, site } = &event {
                        self.places.learn(*id, site);
                    }
                    let time = self.ahead.front().map_or(time, |(next, _)| next.time);
                    return Some(Timed { time, event });
                }
                Ok(Some(timed)) => {
                    let told = self.waiting.told(&timed);
                    self.foresee(told);
                    self.ahead.push_back((timed, told));
                }
                Ok(None) => self.end = Some(Ok(())),
                Err(error) => self.end = Some(Err(error)),
            }
        }
        None
    }

    fn foresee(&mut self, told: Told) {
        let Told::Seen { thread, pid, sight } = told else { return };
        let own = self.by_thread.entry(thread).or_default();
        own.foresee(sight);
        let place = |site| self.places.of(site);
        let first = own.first().and_then(place);
        let process = self.by_process.entry(pid).or_default();
        process.habits.foresee(sight);
        if let (Some(first), Some(place)) = (first, place(sight.site)) {
            process.kin.join(first, place);
        }
    }

    /// Where a wait of a thread was of which nothing is known but its length.
    fn lend(&mut self, thread: u32, pid: Pid, span: u64, found_over: bool) -> Option<SiteId> {
        let own = self.by_thread.get_mut(&thread);
        if let Some(own) = own.and_then(|own| own.lend_to(span, found_over, |_| true)) {
            return Some(own);
        }
        let place = |site| self.places.of(site);
        let own = self.by_thread.get(&thread).and_then(Habits::first).and_then(place);
        let OfProcess { habits, kin, .. } = self.by_process.get_mut(&pid)?;
        let alike = |site| Some(kin.are_alike(own?, place(site)?));
        habits.lend_to(span, found_over, |site| alike(site).unwrap_or(true))
    }

    /// What is lent where this is told.
    fn settle(&mut self, told: Told) -> Option<(Tid, SiteId)> {
        match told {
            Told::Nothing => {}
            Told::Begins { pid, instead } => {
                self.forget(instead);
                self.by_process.entry(pid).or_default().alive += 1;
            }
            Told::Ends { thread, pid } => self.forget(Some((thread, pid))),
            Told::Known { span } => self.sums.seen.add(span),
            Told::Seen { thread, pid, sight } => {
                self.sums.seen.add(sight.span);
                self.sums.examples += 1;
                self.by_thread.entry(thread).or_default().see(sight);
                self.by_process.entry(pid).or_default().habits.see(sight);
            }
            Told::Unseen { thread, tid, pid, span, found_over } => {
                let lent = self.lend(thread, pid, span, found_over);
                let sum = if lent.is_some() { &mut self.sums.lent } else { &mut self.sums.unknown };
                sum.add(span);
                return lent.map(|site| (tid, site));
            }
        }
        None
    }

    fn forget(&mut self, gone: Option<(u32, Pid)>) {
        let Some((thread, pid)) = gone else { return };
        self.by_thread.remove(&thread);
        if let Some(process) = self.by_process.get_mut(&pid) {
            process.alive = process.alive.saturating_sub(1);
            if process.alive == 0 {
                self.by_process.remove(&pid);
            }
        }
    }

    /// How much was lent by now.
    pub(crate) fn lent(&self) -> Lent {
        let Sums { seen, lent, unknown, examples } = self.sums;
        let told_ns = seen.ns + lent.ns + unknown.ns;
        Lent { waits: lent.waits, ns: lent.ns, told_ns, examples }
    }

    /// The next event that was held, or what is lent before it.
    fn give(&mut self) -> Option<Timed> {
        if let Some(timed) = self.lent.take() {
            return Some(timed);
        }
        let (timed, told) = self.ahead.pop_front()?;
        self.now = timed.time;
        let Some((tid, site)) = self.settle(told) else { return Some(timed) };
        let look = Timed { time: timed.time, event: Event::Look { tid, site, stack: None } };
        self.lent = Some(timed);
        Some(look)
    }

    /// How many causes were seen, where not all were.
    fn sum_up(&mut self) -> Option<Timed> {
        let Sums { seen, lent, unknown, .. } = self.sums;
        if std::mem::replace(&mut self.summed_up, true) || lent.waits + unknown.waits == 0 {
            return None;
        }
        let all = (seen.ns + lent.ns + unknown.ns).max(1) as f64;
        let percent = |sum: Sum| 100.0 * sum.ns as f64 / all;
        let got = format!(
            "{} looked at ({:.1} % of the time), {} taken to be like those of the same length \
             ({:.1} %), {} unknown ({:.1} %)",
            seen.waits,
            percent(seen),
            lent.waits,
            percent(lent),
            unknown.waits,
            percent(unknown),
        );
        let fallback = Fallback {
            wanted: "the cause of each wait".to_owned(),
            got,
            errno: Fallback::NO_ERROR.to_owned(),
            remedy: "short waits are over before a look; with privilege each is recorded"
                .to_owned(),
        };
        Some(Timed { time: self.now, event: Event::Fallback(fallback) })
    }
}

impl EventSource for Lending<'_> {
    fn header(&self) -> &Header {
        self.source.header()
    }

    fn next_event(&mut self) -> Result<Option<Timed>, SourceError> {
        if !self.needed {
            return self.source.next_event();
        }
        if let Some(timed) = self.lent.take().or_else(|| self.read()) {
            return Ok(Some(timed));
        }
        if let Some(timed) = self.give().or_else(|| self.sum_up()) {
            return Ok(Some(timed));
        }
        match self.end.replace(Ok(())) {
            Some(Err(error)) => Err(error),
            _ => Ok(None),
        }
    }

    fn is_repeatable(&self) -> bool {
        self.source.is_repeatable()
    }

    fn repeat(&mut self) -> Result<(), SourceError> {
        self.source.repeat()?;
        let header = self.source.header();
        self.now = header.start;
        self.waiting = Waiting::new(header.start.0);
        self.ahead.clear();
        self.lent = None;
        self.by_thread.clear();
        self.by_process.clear();
        self.sums = Sums::default();
        self.end = None;
        self.summed_up = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
