//! What the whole recording tells, and what each of its segments is made of it:
//! the timeline as the kernel's counts and what came later have it. What one
//! segment leaves to the next is kept here.

use std::collections::VecDeque;

use whyslow_events::{Fallback, Pid};

use super::Timeline;
use super::correct::{Correction, corrections};
use super::counts::Compared;
use super::delays::Delays;
use super::open::Opens;
use super::settle::{Certain, Lender};
use super::survey::Life;
use super::untold::Untold;
use super::wakers::Wakers;
use crate::tables::Tables;

/// What the whole recording tells of its threads.
#[derive(Debug)]
pub(crate) struct Whole {
    /// By number.
    threads: Vec<Told>,
    opens: Opens,
    lender: Lender,
    untold: Untold,
    wakers: Wakers,
    delays: Delays,
    segment: u32,
}

#[derive(Debug, Default)]
struct Told {
    pid: Pid,
    /// On the CPU, before any correction, ns.
    ran: u64,
    /// What it did where only its last count tells.
    certain: Certain,
    is_heartbeat: bool,
    /// Those that are still to come.
    corrections: VecDeque<Correction>,
    compared: Option<Compared>,
    /// On the CPU in that part, in the segments that are settled, ns.
    in_part: u64,
}

impl Whole {
    pub(super) fn new(
        mut lives: Vec<Option<Life>>,
        (lender, untold): (Lender, Untold),
        opens: Opens,
        tables: &Tables,
    ) -> Self {
        for life in lives.iter_mut().flatten() {
            life.determine();
        }
        let tick = tables.tick();
        let corrections = corrections(&mut lives, tables.kernel_cpu_all, tick);
        let threads = lives.into_iter().zip(corrections).map(|(life, corrections)| {
            let Some(life) = life else { return Told::default() };
            Told {
                pid: life.pid,
                ran: life.ours.ran,
                certain: Certain::of(&life),
                is_heartbeat: life.work.is_heartbeat(life.end - life.start),
                corrections,
                compared: life.counts.compared(life.start, life.born, tick),
                in_part: 0,
            }
        });
        Whole {
            threads: threads.collect(),
            opens,
            lender,
            untold,
            wakers: Wakers::default(),
            delays: Delays::default(),
            segment: 0,
        }
    }

    /// Makes of the next segment what is known in the end.
    pub(crate) fn settle(&mut self, timeline: &mut Timeline, tables: &mut Tables) {
        for thread in &mut timeline.threads {
            self.opens.tell(thread, self.segment);
            if let Some(told) = self.threads.get(thread.number as usize) {
                told.certain.determine(thread);
                thread.is_heartbeat = told.is_heartbeat;
            }
            self.lender.settle(thread, tables);
            self.untold.lend(thread, tables);
        }
        timeline.judge_queues();
        for thread in &mut timeline.threads {
            if let Some(told) = self.threads.get_mut(thread.number as usize) {
                thread.correct(&mut told.corrections);
                let part = told.compared.as_ref().map(|compared| &compared.part);
                told.in_part += part.map_or(0, |part| thread.on_cpu(part));
            }
        }
        // After the correction, which takes from the ends of waits what the kernel
        // charged as CPU time.
        let can = &tables.header.capabilities;
        if can.exact_switches && !can.wakeups {
            self.wakers.infer(timeline);
            self.delays.split_waits(timeline);
        }
        self.segment += 1;
    }

    /// What had to be done without, by all segments.
    pub(crate) fn fallback(&self) -> Option<Fallback> {
        self.untold.said()
    }

    /// On-CPU time, ours and the kernel's, of what can be compared of the segments that
    /// are settled. Where the kernel's count may lag, what we have is right as far as it
    /// may, and a process that lives for a few ticks makes no difference by itself.
    pub(crate) fn compared(&self) -> (u64, u64) {
        self.threads.iter().fold((0, 0), |(ours, kernel), told| {
            let Some(Compared { counted, .. }) = &told.compared else { return (ours, kernel) };
            let count = told.in_part.clamp(*counted.start(), *counted.end());
            (ours + told.in_part, kernel.saturating_add(count))
        })
    }

    /// Time on the CPU of the threads of these processes.
    pub(crate) fn ran(&self, of: impl Fn(Pid) -> bool) -> u64 {
        self.threads.iter().filter(|told| of(told.pid)).map(|told| told.ran).sum()
    }

    pub(crate) fn pids(&self) -> impl Iterator<Item = Pid> {
        self.threads.iter().map(|told| told.pid)
    }
}
