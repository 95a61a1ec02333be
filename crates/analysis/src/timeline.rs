//! What each thread did, as contiguous intervals. `track` follows one thread,
//! `occupancy` the CPUs, `builder` hands each event to whom it concerns.

mod brief;
mod builder;
mod correct;
mod counts;
mod delays;
mod heartbeat;
mod occupancy;
mod open;
mod queues;
mod sampling;
mod settle;
mod survey;
mod track;
mod unseen;
mod untold;
mod wakers;
mod ways;
mod whole;

#[cfg(test)]
mod tests;

use std::ops::Range;

use rustc_hash::FxHashMap;
use whyslow_events::{CpuSet, GilHolder, GilId, LoopTurn, Pid, SiteId, StackId, Tid};

pub(crate) use builder::Builder;
use counts::Counted;
use queues::Spare;
pub(crate) use sampling::{Lent, Sampling};
pub(crate) use survey::Survey;
pub(crate) use whole::Whole;

use crate::scatter::Apart;
use crate::split::Split;

/// All threads over the whole window, `start..end` on the events' clock, or over a
/// segment of it: then of the threads that lived in it.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) threads: Vec<Thread>,
    /// CPUs the threads may use, all together.
    pub(crate) usable_cpus: usize,
    /// Records the kernel dropped.
    pub(crate) lost: u64,
    /// Records that came too late.
    pub(crate) late: u64,
    /// Time so far in which no switches were recorded, ns.
    pub(crate) paused_ns: u64,
    /// From when to when that was.
    pub(crate) pauses: Vec<(u64, u64)>,
    /// Those of which nobody kept a tally: they are drawn.
    pub(crate) drawn: Vec<(u64, u64)>,
    /// Events of threads nobody announced.
    pub(crate) strangers: u64,
    /// Events that cannot follow what came before.
    pub(crate) contradictions: u64,
    /// Idle time of CPUs, where an engine counted it.
    pub(crate) spare: Vec<Spare>,
    /// What those of the whole recording leave open.
    pub(crate) apart: Apart,
    /// Waits of the whole recording that nobody looked at.
    pub(crate) lent: Lent,
}

/// One thread, or what it did in a segment. Its intervals cover `start..end` without
/// a gap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Thread {
    /// Its place among all threads of the recording, by order of appearance.
    pub(crate) number: u32,
    pub(crate) tid: Tid,
    pub(crate) pid: Pid,
    pub(crate) name: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) intervals: Vec<Interval>,
    pub(crate) samples: Vec<Sample>,
    /// What its event loop was seen at.
    pub(crate) turns: Vec<Turn>,
    /// Looks at the GIL of its interpreter.
    pub(crate) gil: Vec<GilSeen>,
    /// Waits of whose time limit something is known.
    pub(crate) limited: Vec<Limited>,
    /// It began at `start`, and was not only found then.
    pub(crate) born: bool,
    /// It only lets timers run out, over all its life.
    pub(crate) is_heartbeat: bool,
    /// It lives on in the next segment.
    pub(crate) goes_on: bool,
    /// Its last interval ends only there.
    pub(crate) open: bool,
    /// Readings of the kernel's count of its CPU time.
    pub(crate) readings: Vec<Counted>,
    /// The kernel's counts of its time in the run queue: when, and so far.
    pub(crate) delays: Vec<(u64, u64)>,
    /// How much of it is sampled.
    pub(crate) sampling: Sampling,
    /// The CPUs it may use.
    pub(crate) cpus: CpuSet,
}

/// What is known of the time limit of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limited {
    pub(crate) site: SiteId,
    pub(crate) stack: Option<StackId>,
    pub(crate) limit: Limit,
}

/// A time limit, and whether the wait ended with it, by all that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// There is none.
    Endless,
    /// Somebody ended the wait before.
    Spared,
    Reached,
    /// It may be either.
    Untold,
}

/// A stretch of one doing, from `start` to the start of the next interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) start: u64,
    pub(crate) doing: Doing,
    /// Where the thread left the CPU.
    pub(crate) stack: Option<StackId>,
}

/// A million events make nearly a million of these.
const _: () = assert!(size_of::<Interval>() <= 48);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    OnCpu {
        /// Time of it that a hypervisor took away.
        stolen: u64,
    },
    Runq {
        preempted: bool,
        queue: Queue,
    },
    Blocked(Wait),
    Stopped,
    Unknown,
    /// Found runnable, and no event told whether it ran.
    Undetermined,
}

/// What the CPUs did while a thread waited for one. The rest of the time one
/// of them was idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    /// The target itself ran on all the thread may use.
    pub(crate) saturated: u64,
    /// None was idle, and others ran on some.
    pub(crate) neighbours: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) site: Option<SiteId>,
    pub(crate) waker: Waker,
    /// The wait began before a gap in the records.
    pub(crate) resumed: bool,
    /// It stands for waits that were not recorded, however many they were.
    pub(crate) sketched: bool,
    /// So many of those, by the kernel's tally, where there is one.
    pub(crate) tallied: u32,
}

/// Who ended a wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Waker {
    /// Nobody that we know of.
    #[default]
    Unseen,
    Foreign,
    Interrupt,
    /// A [`Thread::number`]: an index into [`Timeline::threads`] of the whole window.
    Thread(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) time: u64,
    pub(crate) stack: Option<StackId>,
    pub(crate) kernel: bool,
}

/// An event loop, looked at from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// When.
    pub(crate) time: u64,
    pub(crate) saw: LoopTurn,
}

/// Who held the GIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GilSeen {
    pub(crate) time: u64,
    pub(crate) gil: GilId,
    pub(crate) holder: GilHolder,
}

impl Thread {
    /// A thread that has done nothing.
    pub(crate) fn of(tid: Tid, pid: Pid) -> Thread {
        Thread { tid, pid, ..Thread::default() }
    }

    pub(crate) fn lifetime(&self) -> u64 {
        self.end - self.start
    }

    /// On-CPU time in `part`, without what was stolen.
    pub(crate) fn on_cpu(&self, part: &Range<u64>) -> u64 {
        let ran = self.within(part).filter_map(|(start, end, interval)| {
            let Doing::OnCpu { stolen } = interval.doing else { return None };
            let inside = end.min(part.end).saturating_sub(start.max(part.start));
            Some(inside - Split::new(stolen, end - start).part(inside))
        });
        ran.sum()
    }

    /// The intervals that `part` touches, with start and end.
    fn within(&self, part: &Range<u64>) -> impl Iterator<Item = (u64, u64, &Interval)> {
        self.indices(part)
            .map(|index| (self.intervals[index].start, self.end_of(index), &self.intervals[index]))
    }

    /// The indices of the intervals that `part` touches.
    pub(crate) fn indices(&self, part: &Range<u64>) -> Range<usize> {
        let first = self.intervals.partition_point(|interval| interval.start <= part.start);
        let last = self.intervals.partition_point(|interval| interval.start < part.end);
        first.saturating_sub(1)..last
    }

    /// When an interval ends.
    pub(crate) fn end_of(&self, index: usize) -> u64 {
        self.intervals.get(index + 1).map_or(self.end, |next| next.start)
    }

    /// Start, end and interval, in order.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (u64, u64, &Interval)> {
        let ends = self.intervals.iter().skip(1).map(|next| next.start).chain([self.end]);
        self.intervals.iter().zip(ends).map(|(interval, end)| (interval.start, end, interval))
    }
}

impl Timeline {
    pub(crate) fn duration(&self) -> u64 {
        self.end - self.start
    }

    /// Numbers the threads by their places here, and wakers, too.
    pub(crate) fn renumber(&mut self) {
        let numbers: FxHashMap<u32, u32> =
            self.threads.iter().zip(0..).map(|(thread, place)| (thread.number, place)).collect();
        for (thread, place) in self.threads.iter_mut().zip(0..) {
            thread.number = place;
            for interval in &mut thread.intervals {
                let Doing::Blocked(wait) = &mut interval.doing else { continue };
                if let Waker::Thread(by) = wait.waker {
                    let here = numbers.get(&by).copied();
                    wait.waker = here.map_or(Waker::Unseen, Waker::Thread);
                }
            }
        }
    }

    /// How much of all threads' time is sampled.
    pub(crate) fn sampling(&self) -> Sampling {
        let mut all = Sampling::default();
        self.threads.iter().for_each(|thread| all.add(thread.sampling));
        all.apart(self.apart.drawn);
        all.lend(self.lent);
        all
    }

    /// The same of the wall-clock time, of `thread_ns` of thread time.
    pub(crate) fn sampling_of_shares(&self, thread_ns: u64) -> Sampling {
        let mut all = self.sampling();
        if self.threads.len() > 1 {
            let Apart { told, tallied_ns, .. } = self.apart;
            let part = tallied_ns as f64 / self.duration().max(1) as f64;
            all.stand_for((part * thread_ns as f64) as u64, told);
        }
        all
    }

    /// Time that a hypervisor took from running threads.
    pub(crate) fn stolen(&self) -> u64 {
        let intervals = self.threads.iter().flat_map(|thread| &thread.intervals);
        let stolen = intervals.map(|interval| match interval.doing {
            Doing::OnCpu { stolen } => stolen,
            _ => 0,
        });
        stolen.sum()
    }
}

impl Queue {
    /// Saturated, neighbours and idle parts of `span`; they sum to it.
    pub(crate) fn parts(self, span: u64) -> [u64; 3] {
        let saturated = self.saturated.min(span);
        let neighbours = self.neighbours.min(span - saturated);
        [saturated, neighbours, span - saturated - neighbours]
    }
}
