//! A pause of which the kernel tallied what each thread did: how long it did what is the
//! kernel's, and only when it did so is taken from the stretch before.

use std::collections::VecDeque;

use whyslow_events::{Off, SiteId, StackId};

use super::super::{Doing, Interval, Occupancy, PREEMPTED, RUNNING, Track, WAKING, Wait, Waker};
use super::align::weights;
use super::{Gap, Parts, Pausing, drawn_out, is_wait, queued};

/// The golden ratio, of all 64 bits: it spreads neighbouring numbers.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// For how long a thread was off its CPU for one thing.
#[derive(Clone, Copy, Debug)]
pub(in crate::timeline) struct Tally {
    /// Why; `None` of what it was off for as the pause began.
    pub(in crate::timeline) off: Option<Off>,
    /// How often it got a CPU again.
    pub(in crate::timeline) times: u64,
    /// All of it, and the part in the run queue, ns.
    pub(in crate::timeline) off_ns: u64,
    pub(in crate::timeline) queued_ns: u64,
}

/// What is told of one thread in a pause.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    told: Vec<Tally>,
    /// How long it had a CPU, ns, where that is told.
    cpu_ns: Option<u64>,
    /// The wait it was seen in after them: the one it is in as the pause ends.
    pub(super) last: Option<(SiteId, Option<StackId>)>,
}

/// What was laid since the pause began, before the tallies were told, ns.
#[derive(Debug, Default)]
pub(super) struct Laid(Vec<(Activity, u64)>);

/// What a tally tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    OnCpu,
    Queued { preempted: bool },
    Blocked(Option<SiteId>),
    Stopped,
    Unknown,
}

/// Where in the pause something was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// The thread did it already as the pause began.
    First,
    /// As in the stretch before.
    Between,
    /// It is at it as the pause ends.
    Last,
}

#[derive(Clone, Copy, Debug)]
struct Amount {
    when: When,
    activity: Activity,
    ns: u64,
    /// How many waits that ended it stands for.
    times: u64,
}

impl Activity {
    pub(super) fn of(doing: Doing) -> Activity {
        match doing {
            Doing::OnCpu { .. } => Activity::OnCpu,
            Doing::Runq { preempted, .. } => Activity::Queued { preempted },
            Doing::Blocked(wait) => Activity::Blocked(wait.site),
            Doing::Stopped => Activity::Stopped,
            Doing::Unknown | Doing::Undetermined => Activity::Unknown,
        }
    }

    /// Waits come before the way to a CPU, and that before the CPU.
    fn rank(self) -> u8 {
        match self {
            Activity::Blocked(_) | Activity::Stopped | Activity::Unknown => 0,
            Activity::Queued { .. } => 1,
            Activity::OnCpu => 2,
        }
    }
}

impl Tallies {
    /// It had no CPU, and left none.
    fn tell_nothing(&self) -> bool {
        self.told.is_empty() && self.cpu_ns.is_none()
    }

    /// Nobody gave it a CPU, and it did not want one.
    fn is_one_wait(&self) -> bool {
        self.is_one_stay() && self.told.iter().all(|tally| tally.queued_ns == 0)
    }

    /// It was off its CPU all the time, if it was so as the pause began.
    fn is_one_stay(&self) -> bool {
        self.told.iter().all(|tally| tally.off.is_none() && tally.times == 0)
    }

    fn first(&self) -> Option<&Tally> {
        self.told.iter().find(|tally| tally.off.is_none())
    }

    /// How it waits for a CPU as the pause ends, if it is known to.
    fn turn(&self, first: Activity) -> Option<Doing> {
        let last = self.told.iter().rfind(|tally| tally.times == 0)?;
        match (last.off, first) {
            (Some(Off::Preempted), _) => Some(PREEMPTED),
            (None, Activity::Queued { preempted }) => Some(turn(preempted)),
            (None, _) if last.queued_ns > 0 => Some(WAKING),
            _ => None,
        }
    }

    /// What the tallies say, of a thread that did `first` as the pause began if it was off
    /// its CPU then.
    fn amounts(&self, first: Activity) -> Vec<Amount> {
        let mut amounts = Vec::new();
        for &Tally { off, times, off_ns, queued_ns } in &self.told {
            let activity = match off {
                None => first,
                Some(Off::Preempted) => Activity::Queued { preempted: true },
                Some(Off::Blocked { site, .. }) => Activity::Blocked(site),
                Some(Off::Stopped) => Activity::Stopped,
                Some(Off::Dead) => continue,
            };
            let (when, queue) = match activity {
                _ if off.is_none() => (When::First, When::First),
                Activity::Blocked(_) | Activity::Stopped if times == 0 => {
                    (When::Last, When::Between)
                }
                _ => (When::Between, When::Between),
            };
            let waking = match activity {
                Activity::Queued { .. } => activity,
                _ => Activity::Queued { preempted: false },
            };
            let queued = queued_ns.min(off_ns);
            amounts.push(Amount { when, activity, ns: off_ns - queued, times });
            amounts.push(Amount { when: queue, activity: waking, ns: queued, times: 0 });
        }
        amounts
    }

    /// The same, without what was laid before, of `span` in all. Where no tally tells the time
    /// on the CPU it is what is left.
    fn shares(&self, first: Activity, laid: &mut Laid, span: u64) -> Vec<Amount> {
        let mut amounts = self.amounts(first);
        for amount in &mut amounts {
            amount.ns -= laid.take(amount.activity, amount.ns);
        }
        let on_cpu =
            |ns: u64| Amount { when: When::Between, activity: Activity::OnCpu, ns, times: 0 };
        if let Some(cpu_ns) = self.cpu_ns {
            amounts.push(on_cpu(cpu_ns - laid.take(Activity::OnCpu, cpu_ns)));
        }
        let sum = amounts.iter().fold(0_u64, |sum, amount| sum.saturating_add(amount.ns));
        // The tally does not begin and end with the pause to the nanosecond.
        if sum > span || (self.cpu_ns.is_some() && sum > 0) {
            let mut parts = Parts::new(span, sum);
            amounts.iter_mut().for_each(|amount| amount.ns = parts.next(amount.ns));
            return amounts;
        }
        let rest = span - sum;
        match amounts.first_mut() {
            // The clocks differ a little, and it had no CPU.
            Some(stay) if self.is_one_stay() => stay.ns += rest,
            _ => amounts.push(on_cpu(rest)),
        }
        amounts
    }
}

impl Laid {
    pub(super) fn add(&mut self, doing: Doing, length: u64) {
        let activity = Activity::of(doing);
        match self.0.iter_mut().find(|(it, _)| *it == activity) {
            Some((_, ns)) => *ns += length,
            None => self.0.push((activity, length)),
        }
    }

    /// The part of `ns` that is laid; it is no longer owed.
    fn take(&mut self, activity: Activity, ns: u64) -> u64 {
        let laid = self.0.iter_mut().find(|(it, _)| *it == activity);
        laid.map_or(0, |(_, left)| {
            let part = ns.min(*left);
            *left -= part;
            part
        })
    }
}

impl Pausing {
    /// Such an activity that nobody recorded, of `ns`, that stands for so many waits.
    fn like_before(&self, Amount { activity, ns, times, .. }: Amount) -> (Doing, Option<StackId>) {
        match activity {
            Activity::OnCpu => (RUNNING, None),
            Activity::Queued { preempted } => (self.turn_of(ns, preempted), None),
            Activity::Blocked(site) => {
                let (waker, stack) = self.known_at(site);
                let wait = Wait { site, waker, resumed: false, sketched: true, tallied: 0 };
                (counting(Doing::Blocked(wait), times), stack)
            }
            Activity::Stopped => (Doing::Stopped, None),
            Activity::Unknown => (Doing::Unknown, None),
        }
    }

    /// The wait that a pause begins in, whatever the thread was seen in since.
    fn first_wait(&self, gap: &Gap) -> (Doing, Option<StackId>) {
        gap.still.unwrap_or_else(|| self.wait())
    }

    /// Who ended the last wait at a site, and where in the code it was.
    fn known_at(&self, site: Option<SiteId>) -> (Waker, Option<StackId>) {
        let known = self.waited.iter().rfind(|(wait, _)| wait.site == site);
        let (waker, stack) =
            known.map_or((Waker::Unseen, None), |(wait, stack)| (wait.waker, *stack));
        let seen = self.seen.filter(|(seen, _)| Some(*seen) == site);
        (waker, seen.and_then(|(_, stack)| stack).or(stack))
    }

    fn stack_of(&self, doing: Doing) -> Option<StackId> {
        let Doing::Blocked(wait) = doing else { return None };
        self.known_at(wait.site).1
    }

    fn turn_of(&self, ns: u64, preempted: bool) -> Doing {
        match self.queue(ns, preempted) {
            Doing::Runq { queue, .. } => Doing::Runq { preempted, queue },
            other => other,
        }
    }
}

impl Track {
    pub(in crate::timeline) fn tally(&mut self, tally: Tally) {
        if let Some(gap) = self.pausing.gap.as_mut().filter(|_| self.pausing.on) {
            let tallies = gap.tallies.get_or_insert_default();
            tallies.told.push(tally);
            tallies.last = None;
        }
    }

    /// Where in the code its waits at a site are.
    pub(in crate::timeline) fn tallied_in(&mut self, site: SiteId, stack: StackId) {
        self.pausing.know(site, stack);
    }

    pub(in crate::timeline) fn tally_cpu(&mut self, cpu_ns: u64) {
        if let Some(gap) = self.pausing.gap.as_mut().filter(|_| self.pausing.on) {
            gap.tallies.get_or_insert_default().cpu_ns = Some(cpu_ns);
        }
    }

    /// There is no tally to come of the pause.
    pub(in crate::timeline) fn tallied(&mut self) {
        if let Some(gap) = self.pausing.gap.as_mut().filter(|gap| gap.is_there) {
            gap.tallies.get_or_insert_default();
        }
    }

    /// Lays what it did in the gap up to `to`, as it was tallied; false when it waits then.
    pub(super) fn lay_tallied(
        &mut self,
        gap: &mut Gap,
        tallies: &Tallies,
        to: u64,
        cpus: &mut Occupancy,
    ) -> bool {
        let from = std::mem::replace(&mut gap.from, to);
        gap.waits &= tallies.tell_nothing();
        if gap.waits && gap.before.is_none() && !is_wait(self.doing) {
            (self.doing, self.stack) = self.pausing.first_wait(gap);
        }
        if is_wait(self.doing) && tallies.is_one_wait() {
            gap.pattern.clear();
            return false;
        }
        let first = self.first_activity(gap, tallies);
        gap.turn = tallies.turn(first);
        let begun = gap.begun.clamp(from, to);
        if is_wait(self.doing) {
            gap.laid.add(self.doing, begun.saturating_sub(gap.begun));
        } else {
            // Nothing was told of it since the pause before.
            self.lay_unmoved(gap, tallies.first().map(|_| first), begun - from);
            if tallies.told.is_empty() {
                gap.turn = gap.before.filter(|it| matches!(it, Doing::Runq { .. }));
                self.lay_unmoved(gap, None, to - begun);
                return true;
            }
        }
        let amounts = tallies.shares(first, &mut gap.laid, to - begun);
        self.lay_first(&amounts, begun, cpus);
        self.lay_between(gap, &amounts);
        self.lay_last(&amounts, tallies);
        if is_wait(self.doing) {
            gap.pattern.clear();
            return false;
        }
        true
    }

    /// What it did as the pause began, if it was off its CPU.
    fn first_activity(&self, gap: &Gap, tallies: &Tallies) -> Activity {
        let queues = |tally: &Tally| tally.queued_ns >= tally.off_ns / 2;
        match gap.before {
            _ if is_wait(self.doing) => Activity::of(self.doing),
            Some(turn @ Doing::Runq { .. }) => Activity::of(turn),
            None if tallies.first().is_some_and(queues) => Activity::of(queued(&gap.pattern)),
            _ => match self.pausing.first_wait(gap).0 {
                wait @ Doing::Blocked(_) => Activity::of(wait),
                _ => Activity::Blocked(None),
            },
        }
    }

    /// For `length` it did `activity` or, where that is not known, what it did before.
    fn lay_unmoved(&mut self, gap: &Gap, activity: Option<Activity>, length: u64) {
        let before = gap.before.unwrap_or(RUNNING);
        let activity = activity.unwrap_or(Activity::of(before));
        let amount = Amount { when: When::First, activity, ns: length, times: 0 };
        match before {
            Doing::Undetermined if activity == Activity::Unknown => {
                self.sketch(length, before, None);
            }
            _ => self.lay_like_before(amount),
        }
    }

    /// Ends the wait that the pause began in, if any, and the way from it to a CPU.
    fn lay_first(&mut self, amounts: &[Amount], begun: u64, cpus: &mut Occupancy) {
        let mut first = amounts.iter().filter(|amount| amount.when == When::First);
        if is_wait(self.doing) {
            let waited = first.next().map_or(0, |wait| wait.ns);
            if let Doing::Blocked(wait) = &mut self.doing
                && wait.waker == Waker::Unseen
            {
                wait.waker = self.pausing.known_at(wait.site).0;
            }
            let seen = self.pausing.seen;
            self.close(begun + waited, cpus);
            self.doing = Doing::Unknown;
            // It was seen after that wait.
            self.pausing.seen = seen;
        }
        first.for_each(|amount| self.lay_like_before(*amount));
    }

    /// Lays amounts along the pattern, and then what is not in it.
    fn lay_between(&mut self, gap: &Gap, amounts: &[Amount]) {
        let mut deals: Vec<(Amount, Parts, Parts)> = Vec::new();
        for amount in amounts.iter().filter(|amount| amount.when == When::Between) {
            match deals.iter_mut().find(|(it, ..)| it.activity == amount.activity) {
                Some((it, ..)) => {
                    it.ns += amount.ns;
                    it.times = it.times.saturating_add(amount.times);
                }
                None => deals.push((*amount, Parts::new(0, 0), Parts::new(0, 0))),
            }
        }
        let of_pattern = |(length, it): &(u64, Interval)| {
            let activity = Activity::of(it.doing);
            let kind = deals.iter().position(|(it, ..)| it.activity == activity)?;
            Some((kind, *length, *it))
        };
        let pattern: Vec<_> = gap.pattern.iter().filter_map(of_pattern).collect();
        let lengths: Vec<(u64, usize)> = pattern.iter().map(|it| (it.1, it.0)).collect();
        let there = |kind: usize| lengths.iter().any(|(length, it)| *it == kind && *length > 0);
        let amounts =
            deals.iter().enumerate().map(|(kind, deal)| if there(kind) { deal.0.ns } else { 0 });
        let weights = weights(&lengths, &amounts.collect::<Vec<u64>>());
        for (kind, (amount, time, times)) in deals.iter_mut().enumerate() {
            let alike = lengths.iter().zip(&weights).filter(|((_, it), _)| *it == kind);
            let whole = alike.map(|(_, weight)| weight).sum();
            (*time, *times) = (Parts::new(amount.ns, whole), Parts::new(amount.times, whole));
        }
        for ((kind, length, interval), weight) in pattern.into_iter().zip(weights) {
            let (_, time, times) = &mut deals[kind];
            let drawn = time.next(weight);
            let doing = drawn_out(interval.doing, drawn, length);
            let stack = interval.stack.or_else(|| self.pausing.stack_of(doing));
            self.sketch(drawn, counting(doing, times.next(weight)), stack);
        }
        let left = deals.into_iter().map(|(amount, time, times)| Amount {
            ns: time.left(),
            times: times.left(),
            ..amount
        });
        let mut left: Vec<Amount> = left.collect();
        left.sort_by_key(|amount| amount.activity.rank());
        for amount in rotated(left, self.thread.number) {
            self.lay_like_before(amount);
        }
    }

    /// What it does as the pause ends, where that is known, goes on.
    fn lay_last(&mut self, amounts: &[Amount], tallies: &Tallies) {
        let mut last = amounts.iter().filter(|amount| amount.when == When::Last).peekable();
        while let Some(amount) = last.next() {
            let (doing, stack) = self.pausing.like_before(*amount);
            if last.peek().is_some() {
                self.sketch(amount.ns, doing, stack);
                continue;
            }
            (self.doing, self.stack) = match doing {
                // Its length is known.
                Doing::Blocked(wait) => {
                    let wait = Wait { waker: Waker::Unseen, sketched: false, ..wait };
                    (Doing::Blocked(wait), stack)
                }
                other => (other, stack),
            };
            return;
        }
        if let Some((site, _)) = tallies.last {
            let (activity, when) = (Activity::Blocked(Some(site)), When::Last);
            let wait = Amount { when, activity, ns: 0, times: 1 };
            (self.doing, self.stack) = self.pausing.like_before(wait);
        }
    }

    fn lay_like_before(&mut self, amount: Amount) {
        let (doing, stack) = self.pausing.like_before(amount);
        self.sketch(amount.ns, doing, stack);
    }
}

/// Begun elsewhere for each thread: else all of them would compute at the same moment.
fn rotated(parts: Vec<Amount>, number: u32) -> VecDeque<Amount> {
    let whole: u64 = parts.iter().map(|part| part.ns).sum();
    let place = u64::from(number).wrapping_mul(GOLDEN);
    let mut skipped = ((u128::from(place) * u128::from(whole)) >> 64) as u64;
    let mut parts = VecDeque::from(parts);
    while skipped > 0
        && let Some(part) = parts.pop_front()
    {
        let moved = part.ns.min(skipped);
        skipped -= moved;
        let times = if moved < part.ns { 0 } else { part.times };
        parts.push_back(Amount { ns: moved, times, ..part });
        if moved < part.ns {
            parts.push_front(Amount { ns: part.ns - moved, ..part });
        }
    }
    parts
}

/// The same; a wait stands for so many.
fn counting(doing: Doing, times: u64) -> Doing {
    match doing {
        Doing::Blocked(wait) => {
            let tallied = u32::try_from(times).unwrap_or(u32::MAX);
            Doing::Blocked(Wait { tallied, ..wait })
        }
        other => other,
    }
}

fn turn(preempted: bool) -> Doing {
    if preempted { PREEMPTED } else { WAKING }
}
