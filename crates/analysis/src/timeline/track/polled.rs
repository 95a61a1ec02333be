//! A thread that was only looked at now and then. The kernel's counts say how
//! much of the time between two looks it ran, was queued and waited; where the
//! parts lie between is not known, and they are laid so that each look finds
//! what it found. A thread that got no CPU in between was where it is.

use whyslow_events::{Off, Polled, Seen, StackId};

use super::super::sampling::Sampling;
use super::{Doing, Interval, PREEMPTED, RUNNING, Track, WAKING, Wait, doing_after};
use crate::split::Split;
use crate::timeline::Sample;

/// The kernel's count of a running thread may be so far behind, ns: a tick, of
/// the slowest that kernels have.
const LAG: u64 = 10_000_000;

/// What is carried from look to look.
#[derive(Debug, Default)]
pub(super) struct Polling {
    pub(super) sampling: Sampling,
    /// Counted and not yet laid; below zero, laid and not yet counted; ns.
    cpu_due: i64,
    runq_due: i64,
    /// On the CPU since the last sample: all of it, and in the kernel; ns.
    ran: u64,
    in_kernel: u64,
    /// The last wait that was seen.
    waited: Option<(Wait, Option<StackId>)>,
}

impl Polling {
    /// Parts of `span` on the CPU and in the run queue. A thread that was
    /// runnable all the time, `throughout`, did nothing else.
    fn book(&mut self, polled: &Polled, span: u64, throughout: bool) -> (u64, u64) {
        let lay = |due: i64, room: u64| u64::try_from(due).unwrap_or(0).min(room);
        let add = |due: i64, counted: u64| due.saturating_add_unsigned(counted);
        self.cpu_due = add(self.cpu_due, polled.cpu_ns);
        self.runq_due = add(self.runq_due, polled.runq_ns);
        let mut cpu = lay(self.cpu_due, span);
        let mut runq = lay(self.runq_due, span - cpu);
        let rest = span - cpu - runq;
        if throughout && (polled.switches == 0 || rest <= LAG) {
            if polled.cpu_ns > 0 || rest <= LAG {
                cpu += rest;
            } else {
                runq += rest;
            }
        }
        self.cpu_due = self.cpu_due.saturating_sub_unsigned(cpu);
        self.runq_due = self.runq_due.saturating_sub_unsigned(runq);
        (cpu, runq)
    }
}

impl Track {
    pub(in crate::timeline) fn polled(&mut self, time: u64, polled: &Polled) {
        let at = self.seen(time);
        let from = polled.since.0.clamp(self.since, at);
        let next = match polled.seen {
            Seen::Runnable => RUNNING,
            Seen::Off(off) => doing_after(off),
        };
        let (was_off, is_off) = (is_off(self.doing), is_off(next));
        let unmoved = was_off && is_off && polled.switches == 0 && polled.cpu_ns == 0;
        if !unmoved {
            self.ended_between(polled.since.0, at);
        }
        self.polling.sampling.look(!unmoved, at - from);
        if unmoved {
            self.look_again(next, polled.stack);
        } else {
            self.lay(from, at, next, polled, (was_off, is_off));
        }
        if let Doing::Blocked(wait) = self.doing
            && wait.site.is_some()
        {
            self.polling.waited = Some((wait, self.stack));
        }
        if polled.seen == Seen::Off(Off::Dead) {
            self.exited = Some(at);
        }
    }

    /// What it waits in could not be read before, perhaps.
    fn look_again(&mut self, next: Doing, stack: Option<StackId>) {
        if let (Doing::Blocked(wait), Doing::Blocked(now)) = (&mut self.doing, next) {
            wait.site = now.site.or(wait.site);
            self.stack = stack.or(self.stack);
        }
    }

    fn lay(
        &mut self,
        from: u64,
        at: u64,
        next: Doing,
        polled: &Polled,
        (was_off, is_off): (bool, bool),
    ) {
        let span = at - from;
        let (cpu, runq) = self.polling.book(polled, span, !was_off && !is_off);
        let wait = span - cpu - runq;
        // Of a wait that one look saw and the other did not, all; else a part.
        let before = match (was_off, is_off) {
            (true, false) => wait,
            (false, _) => 0,
            (true, true) => part(wait, at ^ u64::from(polled.tid.0)),
        };
        let (queued, queue) = if was_off { (runq, WAKING) } else { (runq, PREEMPTED) };
        self.advance(from + before, self.doing, self.stack);
        self.advance(from + before + queued, queue, self.stack);
        if was_off || is_off {
            self.advance(from + before + runq + cpu, RUNNING, None);
        } else {
            let first = part(cpu, at ^ u64::from(polled.tid.0));
            self.advance(from + runq + first, RUNNING, None);
            let (unseen, stack) = self.polling.waited.unwrap_or_default();
            self.advance(from + runq + first + wait, Doing::Blocked(unseen), stack);
            self.advance(at, RUNNING, None);
        }
        self.sampled(from + before + runq + cpu, cpu, polled);
        self.doing = next;
        self.cpu = None;
        self.stack = if is_off { polled.stack } else { None };
    }

    /// From the end of what was laid to `to` the thread did this.
    fn advance(&mut self, to: u64, doing: Doing, stack: Option<StackId>) {
        if to <= self.since {
            return;
        }
        let stack = if matches!(doing, Doing::OnCpu { .. }) { None } else { stack };
        let goes_on = self
            .thread
            .intervals
            .last()
            .is_some_and(|last| last.doing == doing && last.stack == stack && !is_off(doing));
        if !goes_on {
            self.thread.intervals.push(Interval { start: self.since, doing, stack });
        }
        self.since = to;
    }

    /// A look that finds it running is a sample of what it computes.
    fn sampled(&mut self, time: u64, cpu: u64, polled: &Polled) {
        let polling = &mut self.polling;
        polling.ran += cpu;
        polling.in_kernel += polled.kernel_ns;
        if polled.seen != Seen::Runnable || polling.ran == 0 {
            return;
        }
        // The ticks are coarse: what they said too much or too little is made up for.
        let kernel = polling.in_kernel >= polling.ran.div_ceil(2);
        if kernel {
            polling.in_kernel -= polling.in_kernel.min(polling.ran);
        }
        polling.ran = 0;
        self.thread.samples.push(Sample { time, stack: polled.stack, kernel });
    }

    /// After the last look a thread goes on as it was seen, to `end`. Of a running
    /// one nobody counted that.
    pub(super) fn go_on_unseen(&mut self, end: u64) {
        if self.polling.sampling.looks > 0 && matches!(self.doing, Doing::OnCpu { .. }) {
            self.polling.cpu_due = self.polling.cpu_due.saturating_sub_unsigned(end - self.since);
        }
    }

    /// The thread ends, or the window: what was laid as time on a CPU and never
    /// counted was time in the queue, and what was counted and not laid was it.
    pub(super) fn even_out(&mut self) {
        let due = self.polling.cpu_due;
        let wrong = |doing: Doing| match doing {
            Doing::OnCpu { .. } => due < 0,
            Doing::Runq { .. } | Doing::Blocked(_) => due > 0,
            Doing::Stopped | Doing::Unknown | Doing::Undetermined => false,
        };
        let right = if due < 0 { PREEMPTED } else { RUNNING };
        let mut left = due.unsigned_abs();
        let mut end = self.since;
        let mut index = self.thread.intervals.len();
        while left > 0 && index > 0 {
            index -= 1;
            let interval = self.thread.intervals[index];
            let length = end - interval.start;
            if wrong(interval.doing) && length > 0 {
                let part = length.min(left);
                left -= part;
                let moved = Interval { start: end - part, doing: right, stack: None };
                if part == length {
                    self.thread.intervals[index] = moved;
                } else {
                    self.thread.intervals.insert(index + 1, moved);
                }
            }
            end = interval.start;
        }
    }

    /// A wait between two looks that both found the thread runnable, before any
    /// was seen, was at the first place where one is seen later.
    pub(super) fn lend_back(&mut self) {
        let mut later = None;
        for interval in self.thread.intervals.iter_mut().rev() {
            match &mut interval.doing {
                Doing::Blocked(wait) if wait.site.is_some() => {
                    later = Some((*wait, interval.stack));
                }
                Doing::Blocked(wait) if interval.stack.is_none() => {
                    if let Some((seen, stack)) = later {
                        let Wait { sketched, tallied, .. } = *wait;
                        *wait = Wait { sketched, tallied, ..seen };
                        interval.stack = stack;
                    }
                }
                _ => {}
            }
        }
    }
}

fn is_off(doing: Doing) -> bool {
    matches!(doing, Doing::Blocked(_) | Doing::Stopped | Doing::Unknown)
}

/// Any part of `whole`, the same for the same `seed`: half on average.
fn part(whole: u64, seed: u64) -> u64 {
    // Fibonacci hashing: the golden ratio spreads neighbouring numbers.
    let spread = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    Split::new(whole, 1 << 32).part(spread)
}
