//! The GIL of CPython: here, how much of a program's CPU time was with it; `waits`
//! tells who waited for it, `holders` who had it when, `blame` puts both together,
//! and `summary` is what the report says.

mod blame;
mod holders;
mod summary;
mod waits;

use std::collections::BTreeMap;
use std::ops::AddAssign;

use whyslow_events::{GilHolder, Pid};

use crate::split::Split;
use crate::tables::Tables;
use crate::timeline::{Doing, Thread, Timeline};
use crate::wilson;

pub(crate) use summary::summary;

/// CPU time of threads of an interpreter.
///
/// Each look at a running thread says whether it held the GIL, and stands for the
/// CPU time of that thread since the look before; the last one for the rest, too.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct GilTime {
    /// With the GIL, ns.
    pub(crate) with_ns: u64,
    /// Without it, ns: compression, hashes, matrices.
    pub(crate) without_ns: u64,
    /// Of threads that no look hit, ns, and of those no interpreter knows.
    pub(crate) unknown_ns: u64,
    /// Sum of the squares of what each look stands for, ns².
    squares: f64,
}

impl GilTime {
    fn of(thread: &Thread) -> GilTime {
        let mut time = GilTime::default();
        let mut looks = thread.gil.iter().peekable();
        let mut pending = 0;
        let mut last: Option<(GilHolder, u64)> = None;
        for (start, end, interval) in thread.spans() {
            let (ran, counts) = match interval.doing {
                Doing::OnCpu { stolen } => (stolen, true),
                // It is about to go on from where it was.
                Doing::Runq { preempted: true, .. } => (end - start, true),
                _ => (end - start, false),
            };
            let mut stolen = Split::new(ran, end - start);
            let mut from = start;
            while let Some(look) = looks.next_if(|look| look.time <= end) {
                let to = look.time.max(from);
                pending += (to - from) - stolen.part(to - from);
                from = to;
                if counts
                    && let Some(before) = last.replace((look.holder, std::mem::take(&mut pending)))
                {
                    time.add(before);
                }
            }
            pending += (end - from) - stolen.part(end - from);
        }
        match last {
            Some((holder, ns)) => time.add((holder, ns + pending)),
            None => time.unknown_ns += pending,
        }
        time
    }

    /// What a look stands for.
    fn add(&mut self, (holder, ns): (GilHolder, u64)) {
        match holder {
            GilHolder::Itself => self.with_ns += ns,
            GilHolder::Nobody | GilHolder::Other(_) => self.without_ns += ns,
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
        Some(wilson::interval(self.with_share()?, known * known / self.squares))
    }
}

impl AddAssign for GilTime {
    fn add_assign(&mut self, other: GilTime) {
        self.with_ns += other.with_ns;
        self.without_ns += other.without_ns;
        self.unknown_ns += other.unknown_ns;
        self.squares += other.squares;
    }
}

/// The CPU time of each thread of a Python program; `None` for others.
pub(crate) fn by_thread(tables: &Tables, timeline: &Timeline) -> Vec<Option<GilTime>> {
    let time = |thread: &Thread| tables.is_python(thread.pid).then(|| GilTime::of(thread));
    timeline.threads.iter().map(time).collect()
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
