//! Who kept a loop away from its poll: long rounds broken down by the callbacks
//! in them, and by what these did.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use whyslow_events::{CodeId, Entry, Object, SiteId, StackId};

use super::calls::{Calls, Kind, Part};
use super::rounds::Round;
use crate::account::Account;
use crate::frames::Frames;
use crate::report::Stall;
use crate::split::Split;
use crate::timeline::{Doing, Thread};
use crate::{Group, State};

/// Places that are reported for one loop.
const SHOWN: usize = 20;
/// What takes less of a long round is no reason of it, ns.
const SHORT: u64 = 1_000_000;
/// The call that blocks is named when it takes this part of the time, or more.
const BLOCKS: u64 = 10;

/// What a thread did for some time, and where.
#[derive(Clone, Copy, Debug)]
struct Bit {
    ns: u64,
    state: State,
    site: Option<SiteId>,
    stack: Option<StackId>,
}

/// Time by what it was.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    cpu: u64,
    blocking: u64,
    gil: u64,
    runq: u64,
    unknown: u64,
}

impl Times {
    fn add(&mut self, state: State, ns: u64) {
        let part = match (state, state.group()) {
            (State::LockGil, _) => &mut self.gil,
            (_, Group::Cpu) => &mut self.cpu,
            (_, Group::Starved) => &mut self.runq,
            (_, Group::Unknown) => &mut self.unknown,
            _ => &mut self.blocking,
        };
        *part += ns;
    }

    fn sum(&self) -> u64 {
        self.cpu + self.blocking + self.gil + self.runq + self.unknown
    }
}

/// One callback after another, by their outermost call; the loop itself has none.
#[derive(Debug, Default)]
struct Stretch {
    outermost: Option<CodeId>,
    times: Times,
    places: BTreeMap<Option<CodeId>, BTreeMap<String, u64>>,
    calls: BTreeMap<String, u64>,
}

/// The largest stalls of a loop, by their place in the code.
pub(super) fn stalls(
    calls: &Calls<'_>,
    thread: &Thread,
    accounts: &[Account],
    long: &[&Round],
    frames: &Frames,
) -> Vec<Stall> {
    let mut sums: BTreeMap<(Option<String>, Option<String>), Sum> = BTreeMap::new();
    for round in long {
        for stretch in stretches(calls, &bits(thread, accounts, &round.span), frames) {
            if stretch.times.sum() < SHORT {
                continue;
            }
            let key = (stretch.place(), stretch.function(calls));
            sums.entry(key).or_default().add(&stretch, round);
        }
    }
    let mut stalls: Vec<Stall> = sums.into_iter().map(|(key, sum)| sum.report(key)).collect();
    stalls.sort_by_key(|stall| Reverse(stall.total_ns));
    stalls.truncate(SHOWN);
    stalls
}

/// All stalls at one place.
#[derive(Debug, Default)]
struct Sum {
    count: u64,
    max: u64,
    times: Times,
    calls: BTreeMap<String, u64>,
    /// The longest, and the task it was in.
    task: Option<(u64, String)>,
}

impl Sum {
    fn add(&mut self, stretch: &Stretch, round: &Round) {
        let ns = stretch.times.sum();
        self.count += 1;
        self.max = self.max.max(ns);
        let Times { cpu, blocking, gil, runq, unknown } = stretch.times;
        self.times.cpu += cpu;
        self.times.blocking += blocking;
        self.times.gil += gil;
        self.times.runq += runq;
        self.times.unknown += unknown;
        for (call, ns) in &stretch.calls {
            *self.calls.entry(call.clone()).or_default() += ns;
        }
        if let Some((_, name)) = round.tasks.first()
            && self.task.as_ref().is_none_or(|(longest, _)| *longest < ns)
        {
            self.task = Some((ns, name.clone()));
        }
    }

    fn report(self, (place, callback): (Option<String>, Option<String>)) -> Stall {
        let blocks = self.times.blocking * BLOCKS >= self.times.sum();
        let longest = self.calls.into_iter().max_by_key(|(_, ns)| *ns).filter(|_| blocks);
        Stall {
            r#where: place,
            callback,
            task: self.task.map(|(_, name)| name),
            count: self.count,
            total_ns: self.times.sum(),
            max_ns: self.max,
            cpu_ns: self.times.cpu,
            blocking_ns: self.times.blocking,
            gil_ns: self.times.gil,
            runq_ns: self.times.runq,
            unknown_ns: self.times.unknown,
            call: longest.map(|(call, _)| call),
        }
    }
}

impl Stretch {
    /// The line with most of the time in the function with most of it.
    fn place(&self) -> Option<String> {
        let (_, lines) = self.places.iter().max_by_key(|(_, lines)| lines.values().sum::<u64>())?;
        lines.iter().max_by_key(|(_, ns)| **ns).map(|(line, _)| line.clone())
    }

    fn function(&self, calls: &Calls<'_>) -> Option<String> {
        let code = calls.tables().codes.get(&self.outermost?)?;
        Some(code.function.clone())
    }
}

/// Bits with the same callback, one after the other, together. What has no known
/// calls goes to the callback before, or else to what comes next.
fn stretches(calls: &Calls<'_>, bits: &[Bit], frames: &Frames) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut undecided: Vec<Bit> = Vec::new();
    for bit in bits {
        let part = match (calls.part(bit.stack), bit.state.group()) {
            // A poll computes nothing: these calls are of another moment.
            (Part::Poll(_), Group::Cpu) => Part::Unknown,
            (part, _) => part,
        };
        let (code, place) = match part {
            Part::Callback { outermost, innermost } => {
                (Some(outermost.code), Some((innermost.code, calls.place(innermost))))
            }
            Part::Poll(Some(call)) | Part::Loop(call) => {
                (None, Some((call.code, calls.place(call))))
            }
            Part::Poll(None) => (None, None),
            Part::Unknown if calls.kind() == Kind::Native => (None, None),
            Part::Unknown => {
                match stretches.last_mut().filter(|last| last.outermost.is_some()) {
                    Some(last) => last.add(calls, bit, None),
                    None => undecided.push(*bit),
                }
                continue;
            }
        };
        let place = match place {
            Some((code, place)) => place.map(|place| (Some(code), place)),
            None => bit.stack.and_then(|stack| frames.place(stack)).map(|place| (None, place)),
        };
        if stretches.last().is_none_or(|last| last.outermost != code) {
            stretches.push(Stretch { outermost: code, ..Stretch::default() });
        }
        if let Some(last) = stretches.last_mut() {
            undecided.drain(..).for_each(|bit| last.add(calls, &bit, None));
            last.add(calls, bit, place);
        }
    }
    if !undecided.is_empty() {
        let mut only = Stretch::default();
        undecided.iter().for_each(|bit| only.add(calls, bit, None));
        stretches.push(only);
    }
    stretches
}

impl Stretch {
    fn add(&mut self, calls: &Calls<'_>, bit: &Bit, place: Option<(Option<CodeId>, String)>) {
        self.times.add(bit.state, bit.ns);
        if let Some((code, place)) = place {
            *self.places.entry(code).or_default().entry(place).or_default() += bit.ns;
        }
        if let Some(call) = bit.site.and_then(|site| call(calls, site, bit.state)) {
            *self.calls.entry(call).or_default() += bit.ns;
        }
    }
}

/// What a wait called, and on what; a wait for the interpreter lock called nothing.
fn call(calls: &Calls<'_>, site: SiteId, state: State) -> Option<String> {
    let site = calls.tables().sites.get(&site)?;
    match (state, &site.entry, &site.object) {
        (State::LockGil, ..) => None,
        (State::Sleep, ..) if calls.kind() != Kind::Native => Some("time.sleep".to_owned()),
        (_, Entry::Fault, _) => Some("page fault".to_owned()),
        (
            _,
            Entry::Syscall(name),
            Object::None | Object::Unseen | Object::Futex { .. } | Object::SharedFutex { .. },
        ) => Some(name.clone()),
        (_, Entry::Syscall(name), object) => Some(format!("{name} {object}")),
        (_, Entry::UnknownSyscall | Entry::Unseen | Entry::Stopped, _) => None,
    }
}

/// What the thread did in `span`, in order. Time on the CPU goes to the sample
/// at its end, the tail to the last one.
fn bits(thread: &Thread, accounts: &[Account], span: &Range<u64>) -> Vec<Bit> {
    let mut bits = Vec::new();
    let first = thread.intervals.partition_point(|interval| interval.start <= span.start);
    let known = thread.spans().zip(accounts).skip(first.saturating_sub(1));
    for ((_, end, interval), account) in known {
        let whole = end - interval.start;
        let (start, end) = (interval.start.max(span.start), end.min(span.end));
        if interval.start >= span.end {
            break;
        }
        if start >= end {
            continue;
        }
        match interval.doing {
            Doing::OnCpu { stolen } => {
                let mut stolen = Split::new(stolen, whole);
                stolen.part(start - interval.start);
                on_cpu(thread, start..end, &mut stolen, &mut bits);
            }
            doing => bits.push(Bit {
                ns: end - start,
                state: account.state,
                site: match doing {
                    Doing::Blocked(wait) => wait.site,
                    _ => None,
                },
                stack: interval.stack,
            }),
        }
    }
    bits
}

fn on_cpu(thread: &Thread, span: Range<u64>, stolen: &mut Split, bits: &mut Vec<Bit>) {
    let first = thread.samples.partition_point(|sample| sample.time <= span.start);
    let samples = thread.samples[first..].iter().take_while(|sample| sample.time <= span.end);
    let mut from = span.start;
    let mut stack = None;
    let mut push = |to: u64, stack| {
        let taken = stolen.part(to - from);
        let ran = Bit { ns: to - from - taken, state: State::CpuUser, site: None, stack };
        let stolen = Bit { ns: taken, state: State::RunqPreempted, ..ran };
        bits.extend([ran, stolen].into_iter().filter(|bit| bit.ns > 0));
        from = to;
    };
    for sample in samples {
        stack = sample.stack;
        push(sample.time, stack);
    }
    push(span.end, stack);
}
