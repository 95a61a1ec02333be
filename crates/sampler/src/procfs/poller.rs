//! From looks at threads to events. Time is read where a look is taken: nothing
//! here waits.

use std::collections::HashMap;

use whyslow_events::{
    CpuSet, Entrance, Event, Ns, Off, Pid, Polled, Seen, SiteId, SpaceId, StackId, Tid, Timed,
};

use super::family::Process;
use super::loose_ends::LooseEnds;
use super::newest::Newest;
use super::pace::{Calm, Pace};
use super::stacks::Stacks;
use super::surroundings::Surroundings;
use super::task::{Counts, Task};
use crate::Error;
use crate::facts::system_facts;
use crate::inspect::{Call, InCall};
use crate::perf::{KernelCalls, Spaces, Waits};
use crate::proc::{Proc, affinity};
use crate::session::{Readers, now};
use crate::target::seen;

/// Threads whose counts are kept open: a part of the descriptors we may have.
pub(super) const KEPT_OPEN: usize = 400;

/// Threads whose affinity is read at a time.
const AFFINITIES: usize = 64;

/// A thread of the target.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) pid: Pid,
    pub(super) task: Task,
    /// When it began, in ticks: another with its number began at another time.
    began: u64,
    name: String,
    /// When it was looked at last, and what the kernel had counted.
    looked: u64,
    pub(super) counts: Counts,
    /// Counts when it entered.
    entered: Counts,
    /// CPU time in the kernel, by ticks.
    kernel_ns: u64,
    pub(super) running: bool,
    /// It waits, and what for could not be told yet.
    untold: bool,
    pub(super) calm: Calm,
    cpus: Option<CpuSet>,
}

/// The target as it was seen last.
#[derive(Debug)]
pub(super) struct Poller {
    pub(super) proc: Proc,
    pub(super) inherit: bool,
    pub(super) tick: u64,
    pub(super) processes: HashMap<Pid, Process>,
    pub(super) threads: HashMap<Tid, Thread>,
    pub(super) spaces: Spaces,
    pub(super) seen_processes: usize,
    pub(super) newest: Newest,
    /// Those that have ended and that nobody has waited for yet, and when they began.
    pub(super) ended: HashMap<Tid, u64>,
    /// When the last round ended.
    pub(super) rounded: u64,
    pub(super) stacks: Stacks,
    waits: Waits,
    surroundings: Surroundings,
    pub(super) loose_ends: LooseEnds,
    looks: u64,
    events: Vec<Timed>,
    last: u64,
}

impl Poller {
    pub(super) fn new(proc: Proc, inherit: bool, readers: Option<Readers>) -> Self {
        let facts = system_facts();
        Poller {
            newest: Newest::new(proc.newest()),
            proc,
            inherit,
            tick: 1_000_000_000 / facts.clock_ticks.max(1),
            processes: HashMap::new(),
            threads: HashMap::new(),
            ended: HashMap::new(),
            spaces: Spaces::default(),
            seen_processes: 0,
            rounded: 0,
            stacks: Stacks::new(readers),
            waits: Waits::new(KernelCalls::default()),
            surroundings: Surroundings::new(facts.clock_ticks),
            loose_ends: LooseEnds::default(),
            looks: 0,
            events: vec![],
            last: 0,
        }
    }

    /// The events since the last call, in order.
    pub(super) fn take_events(&mut self) -> std::vec::Drain<'_, Timed> {
        self.events.drain(..)
    }

    /// How often a thread was looked at.
    pub(super) fn looks(&self) -> u64 {
        self.looks
    }

    /// The least calm thread.
    pub(super) fn least_calm(&self) -> Calm {
        let calms = self.threads.values().map(|thread| thread.calm);
        calms.min().unwrap_or_default()
    }

    /// Emits an event; those of one engine never go back in time.
    pub(super) fn emit(&mut self, time: u64, event: Event) {
        self.last = self.last.max(time);
        self.events.push(Timed { time: Ns(self.last), event });
    }

    /// Emits a definition, which stacks are read by, too.
    pub(super) fn define(&mut self, time: u64, event: Event) {
        self.stacks.observe(&event);
        self.emit(time, event);
    }

    /// Looks at whoever is due, and around.
    pub(super) fn round(&mut self, pace: &Pace) -> Result<(), Error> {
        let asked = self.ask_clocks(pace)?;
        let left = self.newest.has_left();
        // Nobody starts anything without a CPU.
        if left || !self.all_still() {
            self.find_newcomers(left);
            let processes = self.processes.keys().copied();
            let known = self.loose_ends.tie(self.waits.inspector(), processes);
            known.into_iter().for_each(|event| self.emit(self.rounded, event));
        }
        let mut due: Vec<Tid> = self
            .threads
            .iter()
            .filter(|(_, thread)| pace.is_due(thread.calm))
            .filter(|(_, thread)| !self.processes.get(&thread.pid).is_some_and(|it| it.still))
            .map(|(tid, _)| *tid)
            .collect();
        due.sort_unstable();
        due.into_iter().try_for_each(|tid| self.look(tid))?;
        self.remember(asked);
        self.look_around()?;
        self.rounded = now()?;
        Ok(())
    }

    /// Looks at every thread.
    pub(super) fn look_at_all(&mut self) -> Result<(), Error> {
        let mut all: Vec<Tid> = self.threads.keys().copied().collect();
        all.sort_unstable();
        all.into_iter().try_for_each(|tid| self.look(tid))
    }

    /// Takes in a thread: one that began since the last round, or one that was
    /// there when the window began.
    pub(super) fn enter(&mut self, time: u64, pid: Pid, tid: Tid, born: bool) {
        let keep = self.threads.len() < KEPT_OPEN;
        let Some(task) = Task::open(&self.proc, pid.0, tid.0, keep) else { return };
        let (Some(counts), Some(stat)) = (task.counts(), task.stat()) else { return };
        let doing = seen(stat.state);
        let over = !born || self.ended.get(&tid) == Some(&stat.starttime);
        if doing == Seen::Off(Off::Dead) && over {
            return;
        }
        let entered = if born { Counts::default() } else { counts };
        let entrance = if born { Entrance::Born } else { Entrance::Found(doing) };
        let name = stat.comm.clone();
        self.define(time, Event::Thread { tid, pid, name: name.clone(), entrance });
        let thread = Thread {
            pid,
            task,
            began: stat.starttime,
            name,
            looked: time,
            counts: entered,
            entered,
            kernel_ns: if born { 0 } else { stat.stime * self.tick },
            running: true,
            untold: false,
            calm: Calm::default(),
            cpus: None,
        };
        self.threads.insert(tid, thread);
        self.note_affinity(time, tid);
    }

    fn note_affinity(&mut self, time: u64, tid: Tid) {
        let (Some(cpus), Some(thread)) = (affinity(tid.0), self.threads.get_mut(&tid)) else {
            return;
        };
        if thread.cpus.as_ref() != Some(&cpus) {
            thread.cpus = Some(cpus.clone());
            self.emit(time, Event::Affinity { tid, cpus });
        }
    }

    /// Looks at a thread and tells what it did since the last look.
    pub(super) fn look(&mut self, tid: Tid) -> Result<(), Error> {
        let count = self.threads.len();
        let Some(thread) = self.threads.get_mut(&tid) else { return Ok(()) };
        self.looks += 1;
        let counts = thread.task.counts();
        let time = now()?;
        let Some(counts) = counts else {
            self.gone(time, tid);
            return Ok(());
        };
        let moved = thread.running || counts != thread.counts;
        thread.calm = thread.calm.after(moved, count);
        if !moved && !thread.untold {
            thread.looked = time;
            return Ok(());
        }
        thread.untold = false;
        let call = thread.task.call();
        let began = thread.began;
        let Some(stat) = thread.task.stat().filter(|stat| stat.starttime == began) else {
            self.gone(time, tid);
            return Ok(());
        };
        self.note_identity(time, tid, &stat);
        let (doing, stack) = self.doing(time, tid, call, stat.state);
        let Some(thread) = self.threads.get_mut(&tid) else { return Ok(()) };
        let rested = self.processes.get(&thread.pid).map_or(0, |process| process.rested);
        let Counts { cpu_ns, runq_ns, switches } = counts.since(thread.counts);
        let kernel_ns = stat.stime * self.tick;
        let polled = Polled {
            tid,
            since: Ns(thread.looked.max(rested)),
            cpu_ns,
            kernel_ns: kernel_ns.saturating_sub(thread.kernel_ns),
            runq_ns,
            switches,
            seen: doing,
            stack,
        };
        thread.running = doing == Seen::Runnable;
        (thread.looked, thread.counts, thread.kernel_ns) = (time, counts, kernel_ns);
        if doing == Seen::Off(Off::Dead) {
            self.ended.insert(tid, began);
            self.leave(time, tid);
        }
        self.emit(time, Event::Polled(polled));
        self.note_limit(time, tid, call);
        Ok(())
    }

    /// Until when a thread that was seen in this call waits at the latest.
    fn note_limit(&mut self, time: u64, tid: Tid, call: Call) {
        let Some(thread) = self.threads.get(&tid).filter(|thread| !thread.running) else { return };
        let Some(call) = call.waiting() else { return };
        if let Some(limit) = self.waits.inspector().limit(thread.pid.0, call) {
            self.emit(time, limit.event(tid));
        }
    }

    /// What a thread does that shows this.
    fn doing(&mut self, time: u64, tid: Tid, call: Call, state: char) -> (Seen, Option<StackId>) {
        let doing = match (call, seen(state)) {
            // The call was read first: in between it went on.
            (Call::In(_), Seen::Runnable) => {
                Seen::Off(Off::Blocked { site: None, uninterruptible: false })
            }
            (_, doing) => doing,
        };
        match (doing, call) {
            (Seen::Runnable, _) => (doing, self.stack_of_running(time, tid)),
            (Seen::Off(Off::Blocked { uninterruptible, .. }), Call::In(call)) => {
                let Some((site, stack)) = self.site(time, tid, call) else { return (doing, None) };
                (Seen::Off(Off::Blocked { site: Some(site), uninterruptible }), stack)
            }
            (Seen::Off(Off::Blocked { .. }), Call::Hidden) => {
                (doing, self.stack_of_channel(time, tid))
            }
            // It ran when we asked for its call, and waits now.
            (Seen::Off(Off::Blocked { .. }), Call::Running) => (Seen::Runnable, None),
            (doing, _) => (doing, None),
        }
    }

    fn site(&mut self, time: u64, tid: Tid, call: InCall) -> Option<(SiteId, Option<StackId>)> {
        let pid = self.threads.get(&tid)?.pid;
        let space = self.processes.get(&pid)?.space;
        self.note_code(time, pid, call.pc);
        let mut new = vec![];
        let found = self.waits.looked(time, (pid, space), call, |event| new.push(event));
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.untold = found.wants_look;
        }
        self.report_space(time, space);
        for event in new {
            let processes = self.processes.keys().copied();
            let inspector = self.waits.inspector();
            let inside = inspector.inside(&event, processes);
            if inside.is_none() && inspector.may_be_inside(&event) {
                self.loose_ends.note(event.clone());
            }
            self.define(time, event);
            inside.into_iter().for_each(|event| self.emit(time, event));
        }
        Some((found.site, self.stack_of_wait(time, tid, space, call)))
    }

    /// Tells of a space before something in it is told.
    pub(super) fn report_space(&mut self, time: u64, space: SpaceId) {
        for event in self.spaces.report(space) {
            self.define(time, event);
        }
    }

    fn note_identity(&mut self, time: u64, tid: Tid, stat: &procfs::process::Stat) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        let pid = thread.pid;
        let renamed = thread.name != stat.comm;
        if renamed {
            thread.name.clone_from(&stat.comm);
        }
        self.note_program(time, pid, stat, renamed);
        if renamed {
            self.define(time, Event::Name { tid, name: stat.comm.clone() });
        }
    }

    /// A thread is not there any more.
    fn gone(&mut self, time: u64, tid: Tid) {
        self.leave(time, tid);
        self.define(time, Event::Exit { tid });
    }

    fn leave(&mut self, time: u64, tid: Tid) {
        self.count(time, tid);
        self.threads.remove(&tid);
        self.newest.left(tid);
    }

    /// The kernel's count of what a thread ran in the window.
    fn count(&mut self, time: u64, tid: Tid) {
        let Some(thread) = self.threads.get(&tid) else { return };
        let cpu_ns = thread.counts.cpu_ns.saturating_sub(thread.entered.cpu_ns);
        self.emit(time, Event::KernelCpu { tid: Some(tid), cpu_ns });
    }

    /// The same of all that live.
    pub(super) fn count_all(&mut self, time: u64) {
        let mut all: Vec<Tid> = self.threads.keys().copied().collect();
        all.sort_unstable();
        all.into_iter().for_each(|tid| self.count(time, tid));
    }

    fn look_around(&mut self) -> Result<(), Error> {
        let time = now()?;
        let mut pids: Vec<Pid> = self.processes.keys().copied().collect();
        pids.sort_unstable();
        let events = self.surroundings.look(&self.proc, time, &pids);
        if events.is_empty() {
            return Ok(());
        }
        events.into_iter().for_each(|event| self.emit(time, event));
        // Those that can be in the run queue.
        let moving = self.threads.iter().filter(|(_, thread)| thread.calm == Calm::default());
        let moving: Vec<Tid> = moving.map(|(tid, _)| *tid).take(AFFINITIES).collect();
        moving.into_iter().for_each(|tid| self.note_affinity(time, tid));
        Ok(())
    }
}
