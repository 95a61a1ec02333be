//! The ends of waits, where the engine hears of no wakeup: a wait then seems to
//! last until its thread has a CPU. The kernel counts how long each thread was
//! in the run queue; what of it no preemption explains lies at the ends of the
//! waits. The sum is exact, and divided equally among them.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::{Doing, Interval, Queue, Thread, Timeline};
use crate::split::Split;

/// To wake an idle CPU takes no longer, ns. Whoever waited longer for a CPU did
/// so because others had it.
const LONGEST_WAY: u64 = 200_000;

/// Of the time of all CPUs, so much is all of it.
const NEARLY_ALL: f64 = 0.9;

/// What the cuts between segments left of the kernel's counts.
#[derive(Debug, Default)]
pub(super) struct Delays {
    /// By number of those threads that go on.
    open: FxHashMap<u32, Open>,
}

/// Since a reading.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// When, and the kernel's count.
    reading: (u64, u64),
    /// In earlier segments the thread was in the run queue so long, as far as is told, or by
    /// then for so much longer than the kernel counted: what is drawn of a pause may be.
    told: u64,
}

impl Delays {
    /// Moves the kernel's time in the run queue out of the waits of the next segment.
    pub(super) fn split_waits(&mut self, timeline: &mut Timeline) {
        let held = timeline.holds_all();
        for thread in &mut timeline.threads {
            let birth = thread.born.then_some(Open { reading: (thread.start, 0), told: 0 });
            let mut open = self.open.remove(&thread.number).or(birth);
            let mut moved = vec![0; thread.intervals.len()];
            for reading in std::mem::take(&mut thread.delays) {
                let told = open.map_or(0, |Open { reading: (from, before), told }| {
                    let part = from..reading.0;
                    let delay = reading.1.saturating_sub(before);
                    let told = told + queued(thread, &part);
                    spread(thread, &part, delay.saturating_sub(told), &mut moved);
                    told.saturating_sub(delay)
                });
                open = Some(Open { reading, told });
            }
            if let Some(open) = open.filter(|_| thread.goes_on) {
                let told = open.told + queued(thread, &(open.reading.0..thread.end));
                self.open.insert(thread.number, Open { told, ..open });
            }
            judge_told(thread);
            insert(thread, &moved, held);
        }
    }
}

impl Timeline {
    /// Whether the target had nearly all there is of the CPUs it may use.
    fn holds_all(&self) -> bool {
        let whole = self.start..self.end;
        let ran: u64 = self.threads.iter().map(|thread| thread.on_cpu(&whole)).sum();
        let all = self.duration().saturating_mul(self.usable_cpus as u64);
        ran as f64 >= all as f64 * NEARLY_ALL
    }
}

/// The time in the run queue in `part` that is told.
fn queued(thread: &Thread, part: &Range<u64>) -> u64 {
    let queued = thread.within(part).filter(|(.., it)| matches!(it.doing, Doing::Runq { .. }));
    queued.map(|(start, end, _)| end.min(part.end).saturating_sub(start.max(part.start))).sum()
}

/// Divides what is `owed` in `part` among the waits that end in it. Those that are drawn stand
/// for many, and have their part by their time.
fn spread(thread: &Thread, part: &Range<u64>, owed: u64, moved: &mut [u64]) {
    let waits = thread
        .indices(part)
        .filter(|index| part.contains(&thread.end_of(*index)) && ends_on_cpu(thread, *index))
        .map(|index| (thread.end_of(index) - thread.intervals[index].start, index));
    let (drawn, told): (Vec<_>, Vec<_>) =
        waits.partition(|(_, index)| is_drawn(thread.intervals[*index].doing));
    let time = |waits: &[(u64, usize)]| waits.iter().map(|(span, _)| span).sum::<u64>();
    let mut parts = Split::new(owed, time(&drawn) + time(&told));
    for waits in [drawn, told] {
        divide(parts.part(time(&waits)), waits, moved);
    }
}

/// Divides an amount equally among waits of these lengths.
fn divide(mut owed: u64, mut waits: Vec<(u64, usize)>, moved: &mut [u64]) {
    // The shortest first: what they cannot take goes to the others.
    waits.sort_unstable();
    let count = waits.len() as u64;
    for ((span, index), left) in waits.into_iter().zip((1..=count).rev()) {
        let taken = (owed / left).min(span);
        moved[index] = taken;
        owed -= taken;
    }
}

fn is_drawn(doing: Doing) -> bool {
    matches!(doing, Doing::Blocked(wait) if wait.sketched)
}

fn ends_on_cpu(thread: &Thread, index: usize) -> bool {
    let mut next = thread.intervals[index + 1..].iter().map(|next| next.doing);
    // A look may have found it ready to run, some time after it was.
    let next = next.find(|next| !matches!(next, Doing::Runq { preempted: false, .. }));
    matches!(thread.intervals[index].doing, Doing::Blocked(_))
        && matches!(next, Some(Doing::OnCpu { .. }))
}

/// Who was found ready to run long before it did so waited for others to leave a CPU.
fn judge_told(thread: &mut Thread) {
    let ends: Vec<u64> = thread.spans().map(|(_, end, _)| end).collect();
    for (interval, end) in thread.intervals.iter_mut().zip(ends) {
        let span = end - interval.start;
        if let Doing::Runq { preempted: false, queue } = &mut interval.doing
            && span > LONGEST_WAY
        {
            queue.neighbours = span.saturating_sub(queue.saturated);
        }
    }
}

/// Ends each wait by what was moved out of it, and the run queue follows. What stands for
/// many waits tells nothing of their lengths; the target itself had the CPUs if it `held` all.
fn insert(thread: &mut Thread, moved: &[u64], held: bool) {
    if moved.iter().all(|moved| *moved == 0) {
        return;
    }
    let mut intervals = Vec::with_capacity(thread.intervals.len());
    for (index, interval) in thread.intervals.iter().enumerate() {
        let end = thread.end_of(index);
        let start = end - moved[index];
        if start > interval.start || moved[index] == 0 {
            intervals.push(*interval);
        }
        if moved[index] > 0 {
            let sketched = is_drawn(interval.doing);
            let long = moved[index] > LONGEST_WAY && !sketched;
            let part = |of: bool| if of { moved[index] } else { 0 };
            let queue = Queue { saturated: part(sketched && held), neighbours: part(long) };
            let doing = Doing::Runq { preempted: false, queue };
            intervals.push(Interval { start, doing, stack: interval.stack });
        }
    }
    thread.intervals = intervals;
}
