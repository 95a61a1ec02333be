//! From records of the whole machine, in order, to events of the target.
//!
//! Keeps the target's processes and threads (new ones join by fork), who runs
//! on each CPU, and which waits deserve a closer look. Time is passed in: a
//! replayed stream of records gives the same events.

mod alone;
mod budget;
mod chains;
mod gil;
mod glances;
mod hidden;
mod leaving;
mod looks;
mod moments;
mod newborn;
mod pauses;
pub(crate) mod precise;
mod preempted;
mod processes;
mod repeats;
mod scripts;
mod stillness;
mod tallies;
mod ticks;
mod wakeups;

use std::rc::Rc;

use rustc_hash::FxHashMap;
use whyslow_events::{
    Cpu, CpuSet, Event, Ns, Off, Pid, Seen, SiteId, SpaceId, Tid, Timed, UserRegisters,
};

use super::KernelCalls;
use super::interner::{Chain, Stacks};
use super::record::{Body, Record};
use super::spaces::{Mapping, Spaces};
use super::waits::Waits;
use crate::arch::Registers;
use budget::Budget;
use chains::{Beyond, Copies, Places, Reach, Taken, Unwinding};
use gil::Gils;
use glances::{Glances, Looked};
use looks::Looks;
use pauses::Pauses;
use preempted::{Preempted, Stood};
use repeats::Repeats;
use scripts::{Lately, Scripts};
use ticks::{Left, Ticks};

/// State bits of a thread that leaves the CPU (tracefs `sched_switch/format`).
mod state {
    pub(super) const INTERRUPTIBLE: u64 = 0x01;
    pub(super) const UNINTERRUPTIBLE: u64 = 0x02;
    pub(super) const STOPPED: u64 = 0x04 | 0x08;
    pub(super) const DEAD: u64 = 0x10 | 0x20;
}

/// What the state bits of a thread that leaves say, but not where it waits.
fn off_of(state: u64) -> Off {
    let uninterruptible = state & state::UNINTERRUPTIBLE != 0;
    if state & state::DEAD != 0 {
        Off::Dead
    } else if state & state::STOPPED != 0 {
        Off::Stopped
    } else if uninterruptible || state & state::INTERRUPTIBLE != 0 {
        Off::Blocked { site: None, uninterruptible }
    } else {
        Off::Preempted
    }
}

/// A thread that was there before the window began.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    /// When it was looked at, ns: before the start of the window.
    pub(crate) time: u64,
    /// Its process.
    pub(crate) pid: u32,
    /// The thread.
    pub(crate) tid: u32,
    /// Its name.
    pub(crate) name: String,
    /// What it did.
    pub(crate) seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Running,
    Runnable,
    Waiting,
}

#[derive(Debug)]
struct Thread {
    pid: Pid,
    doing: Doing,
    /// Counts the waits, to tell whether a look saw this one.
    wait: u64,
    /// Records before this are older than what we know.
    since: u64,
    cpus: Option<CpuSet>,
    exiting: bool,
    /// Of the wait it is in: where it waits, its registers, the kernel's frames.
    site: Option<SiteId>,
    left: Option<UserRegisters>,
    kernel: Rc<[u64]>,
    places: Places,
    beyond: Beyond,
    stood: Stood,
    reach: Reach,
    /// The kernel has counted none of its CPU time before we followed it.
    counted_whole: bool,
    /// When it last had a CPU, and what it ran then.
    ran: u64,
    /// The stack of the wait it is in, until the calls in it are known.
    waits_in: Option<Chain>,
    /// When it went to wait last.
    asleep: u64,
    /// When it had a CPU first after its last wait.
    awake: u64,
    lately: Lately,
    /// How well somebody looked at the wait it is in.
    looked_at: Looked,
    repeats: Repeats,
    left_on_clock: Left,
}

#[derive(Debug)]
struct Process {
    space: SpaceId,
    name: String,
    alive: usize,
    /// It has executed a program of which nothing is mapped yet.
    bare: bool,
    /// When it began a thread last.
    bore: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Occupant {
    #[default]
    Unknown,
    Own,
    Busy,
    Idle,
}

#[derive(Debug, Default)]
struct OnCpu {
    /// Who runs, once a switch told; 0 is the idle task.
    current: Option<Tid>,
    occupant: Occupant,
    reported: Occupant,
    /// The thread that is about to leave, and what was recorded of it.
    taken: Option<(Tid, Taken)>,
    /// Waits of the target that began here, since they were asked for.
    waits: u64,
    last: u64,
}

/// Follows the target through the records.
#[derive(Debug)]
pub(crate) struct Tracker {
    inherit: bool,
    start: u64,
    /// Threads that enter with the start of the window, as they are by then.
    found: FxHashMap<Tid, Found>,
    processes: FxHashMap<Pid, Process>,
    seen_processes: usize,
    threads: FxHashMap<Tid, Thread>,
    runnable: usize,
    cpus: FxHashMap<u32, OnCpu>,
    /// CPUs whose occupant changed and was not reported.
    stale: Vec<u32>,
    spaces: Spaces,
    stacks: Stacks,
    unwinding: Unwinding,
    copies: Copies,
    reads: Budget,
    /// For a stack that is read beyond its copy.
    room: Vec<u8>,
    scripts: Scripts,
    gils: Gils,
    waits: Waits,
    looks: Looks,
    preempted: Preempted,
    /// Where no record tells of waits, and of time in the kernel.
    glances: Option<Glances>,
    /// So many threads in a row had an idle CPU without having been woken before.
    unheard: u32,
    awaited: Option<Tid>,
    ticks: Option<Ticks>,
    pauses: Pauses,
    events: Vec<Timed>,
    now: u64,
}

impl Tracker {
    /// A tracker of nothing yet, for a window that begins at `start`.
    pub(crate) fn new(kernel: KernelCalls, inherit: bool, start: u64) -> Self {
        Tracker {
            inherit,
            start,
            found: FxHashMap::default(),
            processes: FxHashMap::default(),
            seen_processes: 0,
            threads: FxHashMap::default(),
            runnable: 0,
            cpus: FxHashMap::default(),
            stale: vec![],
            spaces: Spaces::default(),
            stacks: Stacks::default(),
            unwinding: Unwinding::default(),
            copies: Copies::default(),
            reads: Budget::default(),
            room: vec![],
            scripts: Scripts::default(),
            gils: Gils::default(),
            waits: Waits::new(kernel),
            looks: Looks::default(),
            preempted: Preempted::default(),
            glances: None,
            unheard: 0,
            awaited: None,
            ticks: None,
            pauses: Pauses::default(),
            events: vec![],
            now: start,
        }
    }

    /// Asks the host half as often, so many times over, what threads wait on.
    pub(crate) fn save(&mut self, step: u32) {
        self.waits.save(step);
    }

    /// The events since the last call, in order.
    pub(crate) fn take_events(&mut self) -> std::vec::Drain<'_, Timed> {
        self.events.drain(..)
    }

    /// The threads that live now.
    pub(crate) fn threads(&self) -> impl ExactSizeIterator<Item = (Tid, Pid)> {
        self.threads.iter().map(|(tid, thread)| (*tid, thread.pid))
    }

    /// The same, and those that enter with the start of the window.
    pub(crate) fn tids(&self) -> impl Iterator<Item = u32> {
        self.threads.keys().chain(self.found.keys()).map(|tid| tid.0)
    }

    /// Whether a thread is of the target.
    pub(crate) fn has(&self, tid: u32) -> bool {
        self.threads.contains_key(&Tid(tid))
    }

    /// The processes that live now.
    pub(crate) fn processes(&self) -> impl Iterator<Item = Pid> {
        self.processes.keys().copied()
    }

    /// How many processes there have been.
    pub(crate) fn processes_seen(&self) -> usize {
        self.seen_processes
    }

    /// How many waits began on each CPU since the last call.
    pub(crate) fn take_waits(&mut self) -> impl Iterator<Item = u64> {
        self.cpus.values_mut().map(|on_cpu| std::mem::take(&mut on_cpu.waits))
    }

    /// Whether the target has no thread left.
    pub(crate) fn is_over(&self) -> bool {
        self.threads.is_empty() && self.found.is_empty()
    }

    /// Time of the last thing that happened to the target.
    pub(crate) fn last_event(&self) -> u64 {
        self.now
    }

    /// Takes in a record of `cpu`. Records must come in order.
    pub(crate) fn record(&mut self, cpu: u32, record: Record) {
        let time = record.time;
        self.settle(time);
        let since = std::mem::replace(&mut self.cpus.entry(cpu).or_default().last, time);
        let by = Tid(record.tid);
        match record.body {
            Body::Fork { pid, tid, parent } => self.fork(time, Pid(pid), Tid(tid), Pid(parent)),
            Body::Comm { pid, tid, exec, name } => self.comm(time, Pid(pid), Tid(tid), exec, name),
            Body::Mmap { pid, start, length, file_offset, path } => {
                let end = start.saturating_add(length);
                self.mapped(time, Pid(pid), Mapping { start, end, file_offset, path });
            }
            Body::Lost { records } => {
                self.emit(time, Event::Lost { cpu: Cpu(cpu), since: Ns(since), records });
            }
            Body::Throttled => self.emit(time, Event::Throttled { cpu: Cpu(cpu) }),
            Body::Paused { tallied } => self.pause(time, tallied),
            Body::Resumed => self.resume_recording(time),
            Body::Other => {}
            // What follows is about time, and time begins with the window.
            body if time < self.start => self.before_window(time, cpu, by, &body),
            Body::Clock { kernel, chain, user } => {
                self.ticked(time, cpu, by);
                if self.knows(by, time) {
                    self.note_sample(time, cpu);
                    let stack = self.stack_of_sample(time, by, &chain, user);
                    self.emit(time, Event::Sample { tid: by, cpu: Cpu(cpu), kernel, stack });
                }
            }
            Body::Stack { chain, user } => self.taken(cpu, by, Taken { chain, user }),
            Body::Switch { previous, state, next, registers, ran } => {
                self.count_at_end(time, Tid(previous), state, ran);
                self.switch(time, cpu, (Tid(previous), state, registers), Tid(next));
            }
            Body::SwitchedIn => self.switched_in(time, cpu, by),
            Body::SwitchedOut { preempted } => self.switched_out(time, cpu, by, preempted),
            Body::Waking { woken, interrupt } => self.waking(time, Tid(woken), by, interrupt),
            Body::Exit { tid } => {
                self.ended(time, Tid(tid));
                self.end_in_pause(Tid(tid));
            }
        }
    }

    /// Lets in what was found before the window, once `time` is in it, and what
    /// was read before `time`.
    pub(crate) fn settle(&mut self, time: u64) {
        if time >= self.start && !self.found.is_empty() {
            self.enter_found();
        }
        self.place_readings(time);
        self.miss_ticks(time);
    }

    fn emit(&mut self, time: u64, event: Event) {
        self.now = self.now.max(time);
        self.events.push(Timed { time: Ns(time), event });
    }

    fn switch(
        &mut self,
        time: u64,
        cpu: u32,
        (previous, state, registers): (Tid, u64, Option<Registers>),
        next: Tid,
    ) {
        let taken = self.cpus.entry(cpu).or_default().taken.take();
        let taken = taken.filter(|(of, _)| *of == previous).map(|(_, taken)| taken);
        let ours_left = self.knows(previous, time);
        if ours_left {
            self.leave(time, cpu, previous, state, registers, taken);
        }
        if previous.0 == 0 {
            self.woken_from_idleness(time, next);
        }
        self.arrive(time, cpu, next, ours_left);
    }

    /// The same from a switch record, where the tracepoint said nothing of it.
    fn switched_in(&mut self, time: u64, cpu: u32, tid: Tid) {
        self.start_clock(time, cpu, tid);
        let current = self.cpus.entry(cpu).or_default().current;
        if current != Some(tid) {
            if current == Some(Tid(0)) {
                self.woken_unseen(time, tid);
            }
            self.arrive(time, cpu, tid, false);
        }
    }

    /// `tid` has the CPU now.
    fn arrive(&mut self, time: u64, cpu: u32, tid: Tid, ours_left: bool) {
        let occupant = if self.knows(tid, time) {
            self.resume(time, cpu, tid);
            Occupant::Own
        } else if tid.0 == 0 {
            Occupant::Idle
        } else {
            Occupant::Busy
        };
        let on_cpu = self.cpus.entry(cpu).or_default();
        on_cpu.current = Some(tid);
        on_cpu.occupant = occupant;
        if occupant == Occupant::Own {
            on_cpu.reported = occupant;
        } else if ours_left || self.runnable > 0 {
            self.report_occupant(time, cpu);
        } else if !self.stale.contains(&cpu) {
            self.stale.push(cpu);
        }
    }

    /// Whether a thread is the target's, and what we know of it no newer than `time`.
    fn knows(&self, tid: Tid, time: u64) -> bool {
        self.threads.get(&tid).is_some_and(|thread| thread.since <= time)
    }

    fn resume(&mut self, time: u64, cpu: u32, tid: Tid) {
        self.end_wait(time, tid);
        self.settle_wait(time, tid);
        self.set(time, tid, Doing::Running);
        if let Some(thread) = self.threads.get_mut(&tid) {
            // No CPU since it went to wait?
            if thread.ran <= thread.asleep {
                thread.awake = time;
            }
            thread.ran = time;
        }
        self.emit(time, Event::SwitchIn { tid, cpu: Cpu(cpu) });
    }

    fn report_space(&mut self, time: u64, space: SpaceId) {
        for event in self.spaces.report(space) {
            self.define(time, event);
        }
    }

    /// Reports a definition, or the end of one, that the unwinder needs, too.
    fn define(&mut self, time: u64, event: Event) {
        if let Some(unwinder) = &mut self.unwinding.0 {
            unwinder.observe(&event);
        }
        self.scripts.observe(&event);
        self.emit(time, event);
    }

    fn set(&mut self, time: u64, tid: Tid, doing: Doing) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        let before = std::mem::replace(&mut thread.doing, doing);
        if before == Doing::Runnable {
            self.runnable -= 1;
        }
        if doing == Doing::Runnable {
            self.runnable += 1;
            // From now on it matters who has the CPUs.
            while let Some(cpu) = self.stale.pop() {
                self.report_occupant(time, cpu);
            }
        }
    }

    fn report_occupant(&mut self, time: u64, cpu: u32) {
        let on_cpu = self.cpus.entry(cpu).or_default();
        if std::mem::replace(&mut on_cpu.reported, on_cpu.occupant) == on_cpu.occupant {
            return;
        }
        let busy = match on_cpu.occupant {
            Occupant::Busy => true,
            Occupant::Idle => false,
            Occupant::Own | Occupant::Unknown => return,
        };
        self.emit(time, Event::Occupant { cpu: Cpu(cpu), busy });
    }
}

#[cfg(test)]
mod tests;
