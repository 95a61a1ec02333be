//! A thread in a pause of the recording, in which no switch is told. It is taken to have
//! done what it did in the stretch before, drawn out to the length of the pause: what
//! several threads did at the same time they did at the same time there, too. Only the
//! kernel's count of CPU time is of the pause itself, and what is laid agrees with it.

use whyslow_events::{SiteId, StackId};

use super::{Counted, Doing, Interval, Occupancy, PREEMPTED, Queue, RUNNING, Track, WAKING, Wait};

/// The kernel's count of a running thread may be so far behind, ns: a tick, of the slowest
/// that kernels have.
const LAG: u64 = 10_000_000;

/// What is carried from pause to pause.
#[derive(Debug, Default)]
pub(super) struct Pausing {
    /// Switches are not told now.
    on: bool,
    /// Since the last pause began nothing was told of the thread.
    gap: Option<Gap>,
    /// Time on the CPU so far, ns.
    ran: u64,
    /// The last wait that was told of.
    waited: Option<(Wait, Option<StackId>)>,
    /// What it was last seen in while nothing was told.
    seen: Option<(SiteId, Option<StackId>)>,
    /// Somebody was heard to wake it.
    pub(super) hears: bool,
}

/// A part of a thread's life of which nothing is told.
#[derive(Debug)]
struct Gap {
    from: u64,
    /// When the pause ended, if it did.
    resumed: u64,
    /// What the thread did before, and for how long, ns.
    pattern: Vec<(u64, Interval)>,
    /// The kernel's count of its CPU time, read since, ns.
    counted: Option<u64>,
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

    /// Whether what the thread does is not told yet.
    pub(super) fn is_untold(&self) -> bool {
        self.gap.is_some()
    }

    /// The thread has done this for so long, ns.
    pub(super) fn see(&mut self, doing: Doing, stack: Option<StackId>, span: u64) {
        match doing {
            Doing::OnCpu { .. } => self.ran += span,
            Doing::Blocked(wait) => self.waited = Some((wait, stack)),
            _ => {}
        }
    }

    /// A wait that nobody recorded: such as the last one.
    fn wait(&self) -> (Doing, Option<StackId>) {
        let Some((wait, stack)) = self.waited else { return (Doing::Unknown, None) };
        self.told(Doing::Blocked(Wait { sketched: true, ..wait }), stack)
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
}

impl Gap {
    fn length(&self) -> u64 {
        self.pattern.iter().map(|(length, _)| length).sum()
    }

    /// Of the pattern, on the CPU.
    fn ran(&self) -> u64 {
        let ran = self.pattern.iter().filter(|(_, it)| matches!(it.doing, Doing::OnCpu { .. }));
        ran.map(|(length, _)| length).sum()
    }

    /// Time on the CPU up to `to`, of a thread that had `ran` before, and the kernel's count
    /// by then, if there is one.
    fn cpu(&mut self, to: u64, ran: u64) -> (u64, Option<Counted>) {
        let span = to - self.from;
        let (in_pattern, whole) = (self.ran(), self.length());
        let counted = self.counted.take();
        let cpu = match counted {
            Some(counted) => counted.saturating_sub(ran).min(span),
            None => scaled(in_pattern, span, whole),
        };
        let busy = in_pattern == whole && whole > 0 && span - cpu <= LAG;
        let cpu = if busy { span } else { cpu };
        let counted = counted.map(|cpu_ns| {
            // What cannot be is behind.
            Counted { time: to, cpu_ns, running: cpu_ns != ran + cpu }
        });
        (cpu, counted)
    }
}

impl Track {
    /// Nothing is told from `time` on. What was told since `since` shows what the thread does.
    pub(in crate::timeline) fn pause(&mut self, time: u64, since: u64, cpus: &mut Occupancy) {
        self.pausing.on = true;
        if self.exited.is_some() || self.pausing.gap.is_some() {
            return;
        }
        let at = self.seen(time);
        let waits = is_wait(self.doing);
        if !waits {
            self.close(at, cpus);
            self.doing = Doing::Unknown;
        }
        let first = self.first_since(since);
        for interval in &mut self.thread.intervals[first..] {
            (interval.doing, interval.stack) = self.pausing.told(interval.doing, interval.stack);
        }
        let pattern = self.pattern(since, at);
        self.cpu = None;
        self.ahead = None;
        self.pausing.gap = Some(Gap { from: at, resumed: at, pattern, counted: None });
    }

    /// All is told again.
    pub(in crate::timeline) fn resume(&mut self, time: u64, cpus: &mut Occupancy) {
        self.pausing.on = false;
        let at = time.max(self.last);
        self.mark = cpus.totals(self.mask, at);
        if let Some(gap) = &mut self.pausing.gap {
            gap.resumed = at;
        }
    }

    /// What it did from `since` to `at`, and how long.
    fn pattern(&self, since: u64, at: u64) -> Vec<(u64, Interval)> {
        let first = self.first_since(since);
        let open = Interval { start: self.since, doing: self.doing, stack: self.stack };
        let open = is_wait(self.doing).then_some(open);
        let told: Vec<Interval> =
            self.thread.intervals[first..].iter().copied().chain(open).collect();
        let ends = told.iter().skip(1).map(|next| next.start).chain([at]);
        let lengths = told.iter().zip(ends).map(|(it, end)| {
            (end.saturating_sub(it.start.max(since)), *it)
        });
        lengths.filter(|(length, _)| *length > 0).collect()
    }

    /// The first interval that reaches beyond `since`.
    fn first_since(&self, since: u64) -> usize {
        let behind = self.thread.intervals.partition_point(|interval| interval.start <= since);
        behind.saturating_sub(1)
    }

    /// It was seen in a wait that was not told of, or in the one that was the last.
    pub(super) fn look_in_pause(&mut self, site: SiteId, stack: Option<StackId>) {
        self.pausing.seen = Some((site, stack));
        (self.doing, self.stack) = self.pausing.told(self.doing, self.stack);
    }

    /// The kernel's count of CPU time; false when it is of no pause.
    pub(super) fn count_in_pause(&mut self, cpu_ns: u64) -> bool {
        let Some(gap) = &mut self.pausing.gap else { return false };
        gap.counted = Some(cpu_ns);
        true
    }

    /// At `at` something is told of the thread again.
    pub(super) fn end_pause(&mut self, at: u64, next: Next, cpus: &mut Occupancy) {
        let Some(mut gap) = self.pausing.gap.take() else { return };
        let until = if self.pausing.on { at } else { gap.resumed.clamp(gap.from, at) };
        let moved = self.draw_out(&mut gap, until, cpus);
        if next == Next::Ran {
            if !moved {
                self.close(until, cpus);
            }
            (self.doing, self.stack) = (RUNNING, None);
        } else if moved {
            (self.doing, self.stack) = match next {
                Next::Arrives if self.pausing.hears => (queued(&gap.pattern), None),
                _ => self.pausing.wait(),
            };
        }
    }

    /// Lays what is known by `at`; the pause goes on, or nothing is told yet.
    pub(super) fn cut_pause(&mut self, at: u64, cpus: &mut Occupancy) {
        let Some(mut gap) = self.pausing.gap.take() else { return };
        let to = at.max(gap.from);
        self.draw_out(&mut gap, to, cpus);
        self.pausing.gap = Some(gap);
    }

    /// Lays what it did in the gap up to `to`; false when it waited on.
    fn draw_out(&mut self, gap: &mut Gap, to: u64, cpus: &mut Occupancy) -> bool {
        let span = to - gap.from;
                let (cpu, counted) = gap.cpu(to, self.pausing.ran);
        self.thread.readings.extend(counted);
        let from = std::mem::replace(&mut gap.from, to);
        if is_wait(self.doing) {
            if cpu == 0 {
                return false;
            }
            self.close(from, cpus);
            self.doing = Doing::Unknown;
        }
        let (ran, whole) = (gap.ran(), gap.length());
        let mut parts = [Parts::new(cpu, ran), Parts::new(span - cpu, whole - ran)];
        for (length, interval) in &gap.pattern {
            let is_cpu = matches!(interval.doing, Doing::OnCpu { .. });
            let drawn = parts[usize::from(!is_cpu)].next(*length);
            let doing = drawn_out(interval.doing, drawn, *length);
            let (doing, stack) = self.pausing.told(doing, interval.stack);
            self.sketch(drawn, doing, stack);
        }
        let (wait, stack) = self.pausing.wait();
        let [cpu_left, rest] = parts.map(Parts::left);
        self.sketch(rest, wait, stack);
        self.sketch(cpu_left, RUNNING, None);
        true
    }

    fn sketch(&mut self, length: u64, doing: Doing, stack: Option<StackId>) {
        if length == 0 {
            return;
        }
        let before = self.thread.intervals.last().map(|last| last.doing);
        if !(doing == Doing::Unknown && before == Some(Doing::Unknown)) {
            self.thread.intervals.push(Interval { start: self.since, doing, stack });
        }
        if matches!(doing, Doing::OnCpu { .. }) {
            self.pausing.ran += length;
        }
        self.since += length;
    }
}

/// Deals out an amount in proportion to lengths that sum to a whole.
#[derive(Clone, Copy, Debug)]
struct Parts {
    amount: u64,
    whole: u64,
    seen: u64,
    given: u64,
}

impl Parts {
    fn new(amount: u64, whole: u64) -> Parts {
        Parts { amount, whole, seen: 0, given: 0 }
    }

    fn next(&mut self, length: u64) -> u64 {
        self.seen += length;
        let due = scaled(self.amount, self.seen, self.whole);
        due - std::mem::replace(&mut self.given, due)
    }

    /// What no length was there for.
    fn left(self) -> u64 {
        self.amount - self.given
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
        Doing::Blocked(wait) => Doing::Blocked(Wait { sketched: true, ..wait }),
        Doing::OnCpu { .. } => RUNNING,
        other => other,
    }
}

/// `amount` times `part` of `whole`; nothing of nothing.
fn scaled(amount: u64, part: u64, whole: u64) -> u64 {
    let due = u128::from(amount) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(due).unwrap_or(u64::MAX)
}

/// How a thread waits for a CPU that was not heard to be woken.
fn queued(pattern: &[(u64, Interval)]) -> Doing {
    let preempted = |it: &Interval| matches!(it.doing, Doing::Runq { preempted: true, .. });
    if pattern.iter().any(|(_, it)| preempted(it)) { PREEMPTED } else { WAKING }
}

fn is_wait(doing: Doing) -> bool {
    matches!(doing, Doing::Blocked(_) | Doing::Stopped)
}
