//! The GIL of CPython: here, how much of a program's CPU time was with it; `waits`
//! tells who waited for it, `holders` who had it meanwhile, from the facts that
//! `known` collects, `share` how much of the time it was held, `blame` who waited for
//! whom, `lines` where, and `summary` is what the report says.

mod blame;
mod holders;
mod known;
mod lines;
mod share;
mod summary;
mod waits;

use std::collections::BTreeMap;
use std::ops::{AddAssign, Range};

use whyslow_events::{GilHolder, Pid};

use self::holders::{By, within};
use self::share::outside;
use crate::split::Split;
use crate::tables::Tables;
use crate::timeline::{Doing, Thread, Timeline};
use crate::wilson;

pub(crate) use known::Known;
pub(crate) use summary::summary;

/// CPU time of threads of an interpreter.
///
/// While somebody waits for the GIL it is known who has it. For the rest, each look at
/// a running thread says whether it held it, and stands for the CPU time of that
/// thread since the look before; the last one for what follows, too. In a pause,
/// of which only sums are known, it is as in the rest of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct GilTime {
    /// With the GIL, ns.
    pub(crate) with_ns: u64,
    /// Without it, ns: compression, hashes, matrices.
    pub(crate) without_ns: u64,
    /// Of threads that no look hit, ns, and of those no interpreter knows.
    pub(crate) unknown_ns: u64,
    /// The parts of the first two that looks stand for.
    by_looks: [u64; 2],
    /// Sum of the squares of what each look stands for, ns².
    squares: f64,
}

impl GilTime {
    /// `sure` is when the thread is known to have the GIL, or not to.
    fn of(thread: &Thread, sure: &[(Range<u64>, Sure)]) -> GilTime {
        let mut time = GilTime::default();
        let mut paused = 0;
        let mut looks = thread.gil.iter().peekable();
        let mut pending = 0;
        let mut last: Option<(GilHolder, u64)> = None;
        for (start, end, interval) in thread.spans() {
            let (idle, counts) = match interval.doing {
                Doing::OnCpu { stolen } => (stolen, true),
                // It is about to go on from where it was.
                Doing::Runq { preempted: true, .. } => (end - start, true),
                _ => (end - start, false),
            };
            let mut stolen = Split::new(idle, end - start);
            let mut from = start;
            let mut ran = |to: u64| {
                // A look may be told late, too.
                let later = to.max(from);
                let span = later - std::mem::replace(&mut from, later);
                span - stolen.part(span)
            };
            for (span, known) in parts(sure, start..end) {
                while let Some(look) = looks.next_if(|look| look.time <= span.end) {
                    if known.is_some() || look.time < span.start {
                        continue;
                    }
                    pending += ran(look.time);
                    if counts
                        && let Some(before) =
                            last.replace((look.holder, std::mem::take(&mut pending)))
                    {
                        time.add(before);
                    }
                }
                match known {
                    Some(Sure::With) => time.with_ns += ran(span.end),
                    Some(Sure::Without) => time.without_ns += ran(span.end),
                    Some(Sure::Paused) => paused += ran(span.end),
                    None => pending += ran(span.end),
                }
            }
        }
        match last {
            Some((holder, ns)) => time.add((holder, ns + pending)),
            None => time.unknown_ns += pending,
        }
        time.drawn_out(paused)
    }

    /// The same with so much more of the same, ns.
    fn drawn_out(self, more: u64) -> GilTime {
        let told = self.with_ns + self.without_ns + self.unknown_ns;
        if more == 0 || told == 0 {
            return GilTime { unknown_ns: self.unknown_ns + more, ..self };
        }
        let mut parts = Split::new(told + more, told);
        let factor = (told + more) as f64 / told as f64;
        GilTime {
            with_ns: parts.part(self.with_ns),
            without_ns: parts.part(self.without_ns),
            unknown_ns: parts.part(self.unknown_ns),
            by_looks: self.by_looks.map(|ns| (ns as f64 * factor) as u64),
            squares: self.squares * factor * factor,
        }
    }

    /// What a look stands for.
    fn add(&mut self, (holder, ns): (GilHolder, u64)) {
        let [with, without] = &mut self.by_looks;
        match holder {
            GilHolder::Itself => (self.with_ns, *with) = (self.with_ns + ns, *with + ns),
            GilHolder::Nobody | GilHolder::Other(_) => {
                (self.without_ns, *without) = (self.without_ns + ns, *without + ns);
            }
        }
        self.squares += (ns as f64).powi(2);
    }

    /// The part of the known time that ran with the GIL.
    pub(crate) fn with_share(&self) -> Option<f64> {
        let known = self.with_ns + self.without_ns;
        (known > 0).then(|| self.with_ns as f64 / known as f64)
    }

    /// Where that part lies, at 95 %.
    pub(crate) fn with_interval(&self) -> Option<[f64; 2]> {
        let known = (self.with_ns + self.without_ns) as f64;
        let share = self.with_share()?;
        let [with, without] = self.by_looks.map(|ns| ns as f64);
        if with + without == 0.0 {
            return Some([share; 2]);
        }
        let sure = self.with_ns as f64 - with;
        let looks = with + without;
        let sampled = wilson::interval(with / looks, looks * looks / self.squares);
        Some(sampled.map(|bound| (sure + bound * looks) / known))
    }
}

/// What is sure of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sure {
    With,
    Without,
    /// Only sums are.
    Paused,
}

/// `span` cut into what `sure` tells of, and the rest.
fn parts(sure: &[(Range<u64>, Sure)], span: Range<u64>) -> Vec<(Range<u64>, Option<Sure>)> {
    let first = sure.partition_point(|(known, _)| known.end <= span.start);
    let mut parts = Vec::new();
    let mut from = span.start;
    for (known, with) in sure[first..].iter().take_while(|(known, _)| known.start < span.end) {
        let (start, end) = (known.start.max(span.start), known.end.min(span.end));
        parts.extend([(from..start, None), (start..end, Some(*with))]);
        from = end;
    }
    parts.push((from..span.end, None));
    parts.retain(|(part, _)| !part.is_empty());
    parts
}

impl AddAssign for GilTime {
    fn add_assign(&mut self, other: GilTime) {
        self.with_ns += other.with_ns;
        self.without_ns += other.without_ns;
        self.unknown_ns += other.unknown_ns;
        for (sum, ns) in self.by_looks.iter_mut().zip(other.by_looks) {
            *sum += ns;
        }
        self.squares += other.squares;
    }
}

/// When a thread surely had a GIL, or had not, in order. With more than one in the
/// process, that it has not one says nothing of the others.
fn sure(
    known: &Known,
    index: u32,
    thread: &Thread,
    pauses: &[Range<u64>],
) -> Vec<(Range<u64>, Sure)> {
    let only = known.of_process(thread.pid).nth(1).is_none();
    let mut sure: Vec<(Range<u64>, Sure)> = Vec::new();
    for lock in known.of_process(thread.pid) {
        for held in within(&lock.held, thread.start, thread.end) {
            let with = match held.by {
                By::Thread(holder) if holder == index => Sure::With,
                By::Thread(_) | By::Nobody if only => Sure::Without,
                _ => continue,
            };
            if !held.looked {
                let span = held.start..held.end;
                let told = outside(std::slice::from_ref(&span), pauses);
                sure.extend(told.into_iter().map(|span| (span, with)));
            }
        }
    }
    sure.extend(pauses.iter().map(|pause| (pause.clone(), Sure::Paused)));
    sure.sort_unstable_by_key(|(span, _)| span.start);
    // It holds one at a time.
    sure.dedup_by(|next, before| next.0.start < before.0.end);
    sure
}

/// The CPU time of each thread of a Python program with a GIL; `None` for others.
pub(crate) fn by_thread(
    tables: &Tables,
    timeline: &Timeline,
    known: &Known,
) -> Vec<Option<GilTime>> {
    let pauses: Vec<Range<u64>> = timeline.pauses.iter().map(|(from, to)| *from..*to).collect();
    let time = |(index, thread): (u32, &Thread)| {
        let of = || GilTime::of(thread, &sure(known, index, thread, &pauses));
        tables.has_gil(thread.pid).then(of)
    };
    (0..).zip(&timeline.threads).map(time).collect()
}

/// The CPU time of each Python process.
pub(crate) fn by_process(
    timeline: &Timeline,
    threads: &[Option<GilTime>],
) -> BTreeMap<Pid, GilTime> {
    let mut sums: BTreeMap<Pid, GilTime> = BTreeMap::new();
    for (thread, time) in timeline.threads.iter().zip(threads) {
        if let Some(time) = time {
            *sums.entry(thread.pid).or_default() += *time;
        }
    }
    sums
}

#[cfg(test)]
mod tests;
