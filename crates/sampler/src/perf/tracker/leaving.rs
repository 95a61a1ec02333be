//! A thread leaves its CPU: why, and where it waits.

use whyslow_events::{Cpu, Event, Off, SpaceId, StackId, Tid};

use super::chains::{Known, Taken};
use super::repeats::Repeat;
use super::{Doing, Tracker, off_of};
use crate::arch::Registers;
use crate::perf::interner::halves;

impl Tracker {
    pub(super) fn leave(
        &mut self,
        time: u64,
        cpu: u32,
        tid: Tid,
        state: u64,
        registers: Option<Registers>,
        taken: Option<Taken>,
    ) {
        let (off, stack) = match off_of(state) {
            Off::Blocked { uninterruptible, .. } => {
                self.block(time, tid, uninterruptible, registers, taken)
            }
            off @ Off::Stopped => (off, self.stack_of_wait(time, tid, registers, taken).0),
            Off::Preempted => (Off::Preempted, self.stack_of_preempted(time, tid, registers)),
            Off::Dead => (Off::Dead, None),
        };
        if matches!(off, Off::Blocked { .. }) {
            self.cpus.entry(cpu).or_default().waits += 1;
        }
        self.emit(time, Event::SwitchOut { tid, cpu: Cpu(cpu), off, stack });
        match off {
            Off::Dead => self.dead(tid),
            Off::Preempted => self.set(time, tid, Doing::Runnable),
            Off::Blocked { .. } | Off::Stopped => self.set(time, tid, Doing::Waiting),
        }
    }

    /// What the kernel has counted of a thread that ends: of one that lives for milliseconds
    /// nobody reads it in time. Nothing of other switches.
    pub(super) fn count_at_end(&mut self, time: u64, tid: Tid, state: u64, ran: Option<u64>) {
        let whole = self.threads.get(&tid).is_some_and(|thread| thread.counted_whole);
        if let (Off::Dead, Some(cpu_ns), true) = (off_of(state), ran, whole) {
            self.emit(time, Event::KernelCpu { tid: Some(tid), cpu_ns });
        }
    }

    fn block(
        &mut self,
        time: u64,
        tid: Tid,
        uninterruptible: bool,
        registers: Option<Registers>,
        taken: Option<Taken>,
    ) -> (Off, Option<StackId>) {
        let nowhere = (Off::Blocked { site: None, uninterruptible }, None);
        let repeat = self.repeat(time, tid, registers.as_ref());
        let Some(thread) = self.threads.get_mut(&tid) else { return nowhere };
        thread.wait += 1;
        thread.site = None;
        thread.left = None;
        thread.asleep = time;
        thread.waits_in = None;
        let (pid, wait) = (thread.pid, thread.wait);
        let (Some(registers), Some(process)) = (registers, self.processes.get(&pid)) else {
            return (nowhere.0, self.stack_of_wait(time, tid, registers, taken).0);
        };
        let space = process.space;
        let kernel = taken.as_ref().map(|taken| halves(&taken.chain).0);
        let mut new = vec![];
        let begun = self
            .waits
            .begin(time, (pid, space), &registers, kernel.as_deref(), |event| new.push(event));
        self.define_sites(time, space, new);
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.site = Some(begun.site);
        }
        let off = Off::Blocked { site: Some(begun.site), uninterruptible };
        if let (Repeat::Known(stack), false) = (repeat, begun.wants_look) {
            return (off, Some(stack));
        }
        let (stack, mut known) = self.stack_of_wait(time, tid, Some(registers), taken);
        if self.scripts.may_run_in(space) {
            // Its calls can only be read from outside.
            known = Known::No;
        }
        if begun.wants_look || repeat == Repeat::None {
            self.looks.want(time, tid, wait, begun.wants_look, known);
        }
        (off, stack)
    }

    /// Reports sites of a space that were not met before.
    pub(super) fn define_sites(&mut self, time: u64, space: SpaceId, new: Vec<Event>) {
        if !new.is_empty() {
            self.report_space(time, space);
            new.into_iter().for_each(|event| self.emit(time, event));
        }
    }

    /// What was recorded of the thread that leaves its CPU next.
    pub(super) fn taken(&mut self, cpu: u32, by: Tid, taken: Taken) {
        if self.threads.contains_key(&by) {
            self.cpus.entry(cpu).or_default().taken = Some((by, taken));
        }
    }
}
