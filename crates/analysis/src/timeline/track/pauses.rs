//! A thread in a pause of the recording, in which no switch is told. It is taken to have
//! done what it did in the stretch before, drawn out to the length of the pause: what
//! several threads did at the same time they did at the same time there, too. The kernel's
//! counts are of the pause itself, and what is laid agrees with them.

mod align;
mod gap;
mod parts;
mod tallies;

use whyslow_events::{SiteId, StackId};

use gap::{Gap, Kind};
use parts::{Parts, scaled};
use tallies::Laid;
pub(in crate::timeline) use tallies::Tally;

use super::{
    Counted, Doing, Interval, Occupancy, PREEMPTED, Queue, RUNNING, Track, WAKING, Wait, Waker,
};

/// Sites of whose last waits something is kept, for each thread.
const SITES: usize = 16;

/// What is carried from pause to pause.
#[derive(Debug, Default)]
pub(super) struct Pausing {
    /// Switches are not told now.
    on: bool,
    /// Since the last pause began nothing was told of the thread.
    gap: Option<Gap>,
    /// Time on the CPU and in the run queue so far, ns.
    ran: u64,
    queued: u64,
    /// The kernel's last count of the latter, and ours by then, ns.
    delay: (u64, u64),
    /// The last waits at different sites, the very last behind, and the last turn in the run
    /// queue that were told of.
    waited: Vec<(Wait, Option<StackId>)>,
    turn: Option<(u64, Interval)>,
    /// What it was seen in since then, in a pause.
    seen: Option<(SiteId, Option<StackId>)>,
    /// The kernel's count of its CPU time was read in a pause.
    is_counted: bool,
    /// Somebody was heard to wake it.
    pub(super) hears: bool,
}

/// The first thing that is told of a thread after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It leaves a CPU, or was seen on one.
    Ran,
    Woken,
    /// It gets a CPU.
    Arrives,
}

impl Pausing {
    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    pub(super) fn was_on(&self) -> bool {
        self.is_counted
    }

    /// Whether what the thread does is not told yet.
    pub(super) fn is_untold(&self) -> bool {
        self.gap.is_some()
    }

    /// The thread has done this for so long, ns.
    pub(super) fn see(&mut self, interval: Interval, span: u64) {
        match interval.doing {
            Doing::OnCpu { .. } => self.ran += span,
            Doing::Runq { .. } => {
                self.queued += span;
                self.turn = Some((span, interval)).filter(|_| span > 0).or(self.turn);
            }
            Doing::Blocked(wait) => {
                self.remember(wait, interval.stack);
                self.seen = self.seen.filter(|_| wait.site.is_none() || wait.sketched);
            }
            _ => {}
        }
    }

    /// Waits at a site are there in the code, by what was tallied of them.
    fn know(&mut self, site: SiteId, stack: StackId) {
        if let Some(known) = self.waited.iter_mut().find(|(wait, _)| wait.site == Some(site)) {
            known.1 = Some(stack);
        } else if self.waited.len() < SITES {
            let (site, waker) = (Some(site), Waker::Unseen);
            let wait = Wait { site, waker, resumed: false, sketched: true, tallied: 0 };
            // It is none that was recorded last.
            self.waited.insert(0, (wait, Some(stack)));
        }
    }

    fn remember(&mut self, wait: Wait, stack: Option<StackId>) {
        let known = self.waited.iter().rposition(|(it, _)| it.site == wait.site);
        let before = known.and_then(|place| self.waited.remove(place).1);
        if self.waited.len() == SITES {
            self.waited.remove(0);
        }
        self.waited.push((wait, stack.or(before)));
    }

    /// A wait that nobody recorded: such as it was seen in, or as the last one.
    fn wait(&self) -> (Doing, Option<StackId>) {
        let blocked = |wait| Doing::Blocked(Wait { sketched: true, tallied: 0, ..wait });
        let (site, waker) = (None, Waker::Unseen);
        let none = Wait { site, waker, resumed: false, sketched: true, tallied: 0 };
        match (self.seen, self.waited.last()) {
            (Some((site, stack)), _) => (blocked(Wait { site: Some(site), ..none }), stack),
            (None, Some((wait, stack))) => (blocked(*wait), *stack),
            (None, None) if self.is_counted => (blocked(none), None),
            // It may have run as well.
            (None, None) => (Doing::Unknown, None),
        }
    }

    /// A wait in a gap of one that waited all the time before.
    fn still(&self, gap: &Gap) -> (Doing, Option<StackId>) {
        let of_gap = gap.still.filter(|_| gap.pattern.is_empty());
        let of_gap = of_gap.map(|(doing, stack)| self.told(drawn_out(doing, 0, 0), stack));
        let is_known =
            |(doing, _): &(Doing, _)| !matches!(doing, Doing::Blocked(Wait { site: None, .. }));
        of_gap.filter(is_known).unwrap_or_else(|| self.wait())
    }

    /// A wait that nobody looked at is one such as was seen last.
    fn told(&self, doing: Doing, stack: Option<StackId>) -> (Doing, Option<StackId>) {
        match (doing, self.seen) {
            (Doing::Blocked(wait @ Wait { site: None, .. }), Some((site, seen))) => {
                (Doing::Blocked(Wait { site: Some(site), ..wait }), stack.or(seen))
            }
            _ => (doing, stack),
        }
    }

    /// A turn in the run queue that nobody recorded: such as the last one.
    fn queue(&self, length: u64, ran: bool) -> Doing {
        let unknown = if ran { PREEMPTED } else { WAKING };
        self.turn.map_or(unknown, |(span, turn)| drawn_out(turn.doing, length, span))
    }
}

impl Track {
    /// Nothing is told from `time` on. What was told since `since` shows what the thread does;
    /// without, it is born in the pause.
    pub(in crate::timeline) fn pause(
        &mut self,
        time: u64,
        since: Option<u64>,
        cpus: &mut Occupancy,
    ) {
        self.pausing.on = true;
        let at = self.last.max(time);
        let open = is_wait(self.doing).then_some((self.doing, self.stack));
        let wait = self.pausing.wait();
        if let Some(gap) = &mut self.pausing.gap {
            // It has done one thing all the time since the last: hardly what it did before.
            if gap.length(Kind::Other) > 0 {
                gap.pattern.clear();
            }
            gap.still = open.or(Some(wait));
            gap.begin_again(at);
        }
        if self.exited.is_some() || self.pausing.gap.is_some() {
            return;
        }
        self.seen(time);
        let is_there = since.is_some();
        let since = since.unwrap_or(at);
        let first = self.first_since(since);
        let told = &self.thread.intervals[first..];
        let waits_seen = told.iter().filter(|it| is_seen(it.doing)).count();
        for interval in &mut self.thread.intervals[first..] {
            (interval.doing, interval.stack) = self.pausing.told(interval.doing, interval.stack);
        }
        let before = Some(self.doing);
        if !is_wait(self.doing) {
            self.close(at, cpus);
            self.doing = Doing::Unknown;
        }
        let pattern = self.pattern(since, at);
        self.cpu = None;
        self.ahead = None;
        self.pausing.gap = Some(Gap {
            from: at,
            begun: at,
            before,
            is_there,
            pattern,
            still: open,
            waits_seen,
            counted: None,
            delayed: None,
            so_far: [0; 3],
            waits: false,
            tallies: None,
            laid: Laid::default(),
            turn: None,
        });
    }

    /// All is told again.
    pub(in crate::timeline) fn resume(&mut self, time: u64, cpus: &mut Occupancy) {
        self.pausing.on = false;
        if self.exited.is_some() {
            return;
        }
        let at = self.seen(time);
        self.cut_pause(at, cpus);
        self.mark = cpus.totals(self.mask, at);
    }

    /// What it did from `since` to `at`, and how long. Nothing, if it only waited or has
    /// hardly begun.
    fn pattern(&self, since: u64, at: u64) -> Vec<(u64, Interval)> {
        let open = Interval { start: self.since, doing: self.doing, stack: self.stack };
        let open = is_wait(self.doing).then_some(open);
        let told = self.thread.intervals[self.first_since(since)..].iter().copied().chain(open);
        let told: Vec<Interval> = told.collect();
        let ends = told.iter().skip(1).map(|next| next.start).chain([at]);
        let lengths = told.iter().zip(ends);
        let lengths = lengths.map(|(it, end)| (end.saturating_sub(it.start.max(since)), *it));
        let pattern: Vec<(u64, Interval)> = lengths.filter(|(length, _)| *length > 0).collect();
        let whole: u64 = pattern.iter().map(|(length, _)| length).sum();
        let young = whole < at.saturating_sub(since) / 2;
        let waits = pattern.iter().all(|(_, it)| Kind::of(it.doing) == Kind::Other);
        if young || waits { vec![] } else { pattern }
    }

    /// The first interval that reaches beyond `since`.
    fn first_since(&self, since: u64) -> usize {
        let behind = self.thread.intervals.partition_point(|interval| interval.start <= since);
        behind.saturating_sub(1)
    }

    /// It was seen in a wait that was not told of, or in the one that was the last.
    pub(super) fn look_in_pause(&mut self, site: SiteId, stack: Option<StackId>) {
        self.pausing.seen = Some((site, stack));
        if let Some(gap) = &mut self.pausing.gap {
            gap.waits |= !self.pausing.on;
            if let Some(tallies) = &mut gap.tallies {
                tallies.last = Some((site, stack));
            }
        }
        (self.doing, self.stack) = self.pausing.told(self.doing, self.stack);
    }

    /// The kernel's count of CPU time; false when it is of no pause.
    pub(super) fn count_in_pause(&mut self, time: u64, cpu_ns: u64) -> bool {
        let Some(gap) = &mut self.pausing.gap else { return false };
        gap.counted = Some((time, cpu_ns));
        self.pausing.is_counted = true;
        true
    }

    /// The kernel's count of time in the run queue.
    pub(in crate::timeline) fn delayed_in_pause(&mut self, delay_ns: u64) {
        if let Some(gap) = &mut self.pausing.gap {
            gap.delayed = Some(delay_ns);
        }
    }

    /// At `at` something is told of the thread again.
    pub(super) fn end_pause(&mut self, at: u64, next: Next, cpus: &mut Occupancy) {
        let Some(mut gap) = self.pausing.gap.take() else { return };
        let until = if self.pausing.on { at } else { gap.from };
        let moved = self.draw_out(&mut gap, until, cpus);
        if next == Next::Ran {
            if !moved {
                self.close(until, cpus);
            }
            (self.doing, self.stack) = (RUNNING, None);
        } else if moved {
            (self.doing, self.stack) = match (next, gap.turn) {
                (Next::Arrives, Some(turn)) => (turn, None),
                (Next::Arrives, None) if self.pausing.hears => (queued(&gap.pattern), None),
                _ => self.pausing.wait(),
            };
        }
    }

    /// Lays what is known by `at`; nothing is told of the thread yet.
    pub(super) fn cut_pause(&mut self, at: u64, cpus: &mut Occupancy) {
        let Some(mut gap) = self.pausing.gap.take() else { return };
        let to = at.max(gap.from);
        self.draw_out(&mut gap, to, cpus);
        self.pausing.gap = Some(gap);
    }

    /// Lays what it did in the gap up to `to`; false when it waited on.
    fn draw_out(&mut self, gap: &mut Gap, to: u64, cpus: &mut Occupancy) -> bool {
        if let Some(tallies) = gap.tallies.take() {
            // The tally tells more, and of all the pause.
            gap.counted = None;
            let moved = self.lay_tallied(gap, &tallies, to, cpus);
            if let Some(delayed) = gap.delayed.take() {
                self.pausing.delay = (delayed, self.pausing.queued);
            }
            return moved;
        }
        // What followed on the last count was not counted.
        let counted =
            gap.counted.map(|(time, _)| time).filter(|time| (gap.from..to).contains(time));
        let moved = counted.is_some_and(|time| self.draw_out_part(gap, time, cpus));
        self.draw_out_part(gap, to, cpus) || moved
    }

    fn draw_out_part(&mut self, gap: &mut Gap, to: u64, cpus: &mut Occupancy) -> bool {
        let ([cpu, queue, rest], counted) = gap.shares(to, &self.pausing);
        self.thread.readings.extend(counted);
        let from = std::mem::replace(&mut gap.from, to);
        if is_wait(self.doing) {
            if cpu == 0 {
                return false;
            }
            let seen = self.pausing.seen;
            self.close(from, cpus);
            self.doing = Doing::Unknown;
            // It was seen after that wait.
            self.pausing.seen = seen;
        }
        let mut parts = [(cpu, Kind::OnCpu), (queue, Kind::Queued), (rest, Kind::Other)]
            .map(|(amount, kind)| Parts::new(amount, gap.length(kind)));
        for (length, interval) in &gap.pattern {
            let drawn = parts[Kind::of(interval.doing) as usize].next(*length);
            let doing = drawn_out(interval.doing, drawn, *length);
            let (doing, stack) = self.pausing.told(doing, interval.stack);
            gap.laid.add(doing, drawn);
            self.sketch(drawn, doing, stack);
        }
        // The kernel counts the CPU and the queue.
        self.polling.sampling.draw(rest, gap.waits_seen);
        let [cpu, queue, rest] = parts.map(Parts::left);
        let (wait, stack) = self.pausing.still(gap);
        let queued = self.pausing.queue(queue, rest == 0);
        for (length, doing, stack) in
            [(rest, wait, stack), (queue, queued, None), (cpu, RUNNING, None)]
        {
            gap.laid.add(doing, length);
            self.sketch(length, doing, stack);
        }
        if let Some(delayed) = gap.delayed.take() {
            self.pausing.delay = (delayed, self.pausing.queued);
        }
        true
    }

    fn sketch(&mut self, length: u64, doing: Doing, stack: Option<StackId>) {
        let counts = matches!(doing, Doing::Blocked(wait) if wait.tallied > 0);
        if length == 0 && !counts {
            return;
        }
        let before = self.thread.intervals.last().map(|last| last.doing);
        if !(doing == Doing::Unknown && before == Some(Doing::Unknown)) {
            self.thread.intervals.push(Interval { start: self.since, doing, stack });
        }
        match Kind::of(doing) {
            Kind::OnCpu => self.pausing.ran += length,
            Kind::Queued => self.pausing.queued += length,
            Kind::Other => {}
        }
        self.since += length;
    }
}

/// A turn in the run queue is drawn out with what the CPUs did meanwhile.
fn drawn_out(doing: Doing, length: u64, before: u64) -> Doing {
    match doing {
        Doing::Runq { preempted, queue: Queue { saturated, neighbours } } => {
            let part = |ns: u64| scaled(ns, length, before);
            let queue = Queue { saturated: part(saturated), neighbours: part(neighbours) };
            Doing::Runq { preempted, queue }
        }
        Doing::Blocked(wait) => Doing::Blocked(Wait { sketched: true, tallied: 0, ..wait }),
        Doing::OnCpu { .. } => RUNNING,
        other => other,
    }
}

/// How a thread waits for a CPU that was not heard to be woken.
fn queued(pattern: &[(u64, Interval)]) -> Doing {
    let preempted = |it: &Interval| matches!(it.doing, Doing::Runq { preempted: true, .. });
    if pattern.iter().any(|(_, it)| preempted(it)) { PREEMPTED } else { WAKING }
}

/// Whether it is known what for.
fn is_seen(doing: Doing) -> bool {
    matches!(doing, Doing::Blocked(Wait { site: Some(_), sketched: false, .. }))
}

fn is_wait(doing: Doing) -> bool {
    matches!(doing, Doing::Blocked(_) | Doing::Stopped)
}
