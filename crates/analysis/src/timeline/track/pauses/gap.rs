//! A part of a thread's life of which nothing is told, and what the kernel counts of it.

use whyslow_events::StackId;

use super::parts::scaled;
use super::tallies::{Laid, Tallies};
use super::{Counted, Doing, Interval, Pausing};

/// The kernel's count of a running thread may be so far behind, ns: a tick, of the slowest
/// that kernels have.
const LAG: u64 = 10_000_000;

/// A part of a thread's life of which nothing is told.
#[derive(Debug)]
pub(super) struct Gap {
    pub(super) from: u64,
    /// When the pause began; the gap is older where nothing was told since the pause before.
    pub(super) begun: u64,
    /// What the thread did then; `None` where only what follows tells.
    pub(super) before: Option<Doing>,
    /// It was there then.
    pub(super) is_there: bool,
    /// What the thread did before, and for how long, ns.
    pub(super) pattern: Vec<(u64, Interval)>,
    /// Where there is none, the wait that it was in all that time. It may be long over, but so
    /// may be what those did whom a stretch met in a burst: one makes up for the other.
    pub(super) still: Option<(Doing, Option<StackId>)>,
    /// Of how many of its waits it was seen what for.
    pub(super) waits_seen: usize,
    /// When the kernel's count of its CPU time was last read, and it; and its count of the run
    /// queue, ns.
    pub(super) counted: Option<(u64, u64)>,
    pub(super) delayed: Option<u64>,
    /// How long it did what of each kind in the part of this pause that the kernel counted, ns.
    pub(super) so_far: [u64; 3],
    /// It waited most of what nobody tallied of the pause, or was seen to wait behind it: if
    /// nothing is told of it since, nor tallied of the next, it does so all the time.
    pub(super) waits: bool,
    /// What the kernel tallied, when it did.
    pub(super) tallies: Option<Tallies>,
    pub(super) laid: Laid,
    /// How it waits for a CPU as the pause ends, if it is known to.
    pub(super) turn: Option<Doing>,
}

/// What is told apart when a pattern is drawn out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    OnCpu,
    Queued,
    Other,
}

impl Kind {
    pub(super) const ALL: [Kind; 3] = [Kind::OnCpu, Kind::Queued, Kind::Other];

    pub(super) fn of(doing: Doing) -> Kind {
        match doing {
            Doing::OnCpu { .. } => Kind::OnCpu,
            Doing::Runq { .. } => Kind::Queued,
            _ => Kind::Other,
        }
    }
}

impl Gap {
    /// How much of the pattern is of a kind, ns.
    pub(super) fn length(&self, kind: Kind) -> u64 {
        let of_kind = self.pattern.iter().filter(|(_, it)| Kind::of(it.doing) == kind);
        of_kind.map(|(length, _)| length).sum()
    }

    /// There is another pause at `at`, and nothing was told since the last.
    pub(super) fn begin_again(&mut self, at: u64) {
        self.begun = at;
        self.before = self.turn.take();
        self.is_there = true;
        self.tallies = None;
        self.laid = Laid::default();
        self.so_far = [0; 3];
    }

    /// Time of each kind up to `to`, by the pattern and the kernel's counts, of a thread that
    /// did `before`; and the count of its CPU time, if there is one.
    pub(super) fn shares(&mut self, to: u64, before: &Pausing) -> ([u64; 3], Option<Counted>) {
        let Pausing { ran, queued, delay: (delayed_before, queued_before), .. } = *before;
        let span = to - self.from;
        let lengths = match self.so_far.iter().sum::<u64>() < span {
            true => Kind::ALL.map(|kind| self.length(kind)),
            false => self.so_far,
        };
        let [on_cpu, in_queue, other] = lengths;
        let counted = self.counted.take();
        let cpu = match counted {
            Some((_, counted)) => counted.saturating_sub(ran).min(span),
            None => scaled(on_cpu, span, on_cpu + in_queue + other),
        };
        let busy = on_cpu > 0 && in_queue + other == 0 && span - cpu <= LAG;
        let cpu = if busy { span } else { cpu };
        let rest = span - cpu;
        let drawn = scaled(in_queue, rest, in_queue + other);
        let delayed = self.delayed.map(|delayed| {
            let since = delayed.saturating_sub(delayed_before);
            since.saturating_sub(queued - queued_before).min(rest)
        });
        let queue = match delayed {
            Some(delayed) if other == 0 => delayed,
            // What we call the queue begins with the waking, which the kernel does not count:
            // where the pattern tells of waits it tells of those, too, if anybody does.
            Some(delayed) if !before.hears => drawn.min(delayed),
            _ => drawn,
        };
        let shares = [cpu, queue, rest - queue];
        if span > 0 {
            self.waits = rest - queue > span / 2;
        }
        let counted = counted.map(|(_, cpu_ns)| {
            self.so_far.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share);
            // What cannot be is behind.
            Counted { time: to, cpu_ns, running: cpu_ns != ran + cpu }
        });
        (shares, counted)
    }
}
