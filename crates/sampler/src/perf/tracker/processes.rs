//! Processes and threads of the target: how they come, change and go.

use std::collections::hash_map::Entry;
use std::rc::Rc;

use whyslow_events::{Cpu, CpuSet, Entrance, Event, Off, Pid, Seen, SpaceId, Tid};

use super::chains::{Beyond, Known, Places, Reach};
use super::glances::Looked;
use super::preempted::Stood;
use super::repeats::Repeats;
use super::ticks::Left;
use super::{Doing, Found, Occupant, Process, Thread, Tracker, off_of};
use crate::perf::record::Body;
use crate::perf::spaces::Mapping;
use crate::target::Attached;

impl Process {
    fn new(space: SpaceId, name: String) -> Self {
        Process { space, name, alive: 0, bare: false, bore: None }
    }
}

impl Tracker {
    /// Takes in a process that is there at `time`, with the executable memory it has.
    pub(crate) fn adopt(&mut self, time: u64, process: Attached) {
        let Attached { pid, parent, name, mappings } = process;
        let (pid, parent) = (Pid(pid), parent.map(Pid));
        if self.processes.contains_key(&pid) {
            return;
        }
        let space = self.spaces.create(pid);
        for mapping in mappings {
            self.spaces.map(space, mapping);
        }
        self.define(time, Event::Process { pid, parent, space, name: name.clone() });
        self.seen_processes += 1;
        self.processes.insert(pid, Process::new(space, name));
    }

    /// Takes in a thread of an adopted process as it was looked at, before the
    /// window begins.
    pub(crate) fn find(&mut self, found: Found) {
        self.found.insert(Tid(found.tid), found);
    }

    /// The window begins at `start`: with what was found, and what the records
    /// say it did since.
    pub(crate) fn begin_window(&mut self, start: u64) {
        self.start = start;
    }

    /// A record from before the window: who runs, and what threads that were
    /// found do meanwhile.
    pub(super) fn before_window(&mut self, time: u64, cpu: u32, by: Tid, body: &Body) {
        match *body {
            Body::Switch { previous, state, next, .. } => {
                self.cpus.entry(cpu).or_default().current = Some(Tid(next));
                let off = off_of(state);
                let seen = if off == Off::Preempted { Seen::Runnable } else { Seen::Off(off) };
                self.refresh(time, Tid(previous), seen);
                self.refresh(time, Tid(next), Seen::Runnable);
            }
            Body::SwitchedIn => {
                self.cpus.entry(cpu).or_default().current = Some(by);
                self.refresh(time, by, Seen::Runnable);
            }
            Body::SwitchedOut { preempted } => {
                self.cpus.entry(cpu).or_default().current = None;
                let off = Off::Blocked { site: None, uninterruptible: false };
                self.refresh(time, by, if preempted { Seen::Runnable } else { Seen::Off(off) });
            }
            Body::Waking { woken, .. } => self.refresh(time, Tid(woken), Seen::Runnable),
            // The last that is told of it, even if it was found on its way out since.
            Body::Exit { tid } if self.glances.is_some() => {
                if let Some(found) = self.found.get_mut(&Tid(tid)) {
                    found.seen = Seen::Off(Off::Dead);
                }
            }
            _ => {}
        }
    }

    /// What a found thread does, when the record is newer than the look.
    fn refresh(&mut self, time: u64, tid: Tid, seen: Seen) {
        match self.found.get_mut(&tid) {
            Some(found) if found.time <= time => found.seen = seen,
            _ => {}
        }
    }

    /// Takes in a thread of an adopted process that begins now.
    pub(crate) fn begin_thread(&mut self, time: u64, pid: u32, tid: u32, name: String) {
        self.join(time, Pid(pid), Tid(tid), name, Entrance::Born, Doing::Runnable);
    }

    /// Whether a thread is the target's.
    pub(crate) fn follows(&self, tid: u32) -> bool {
        self.threads.contains_key(&Tid(tid)) || self.found.contains_key(&Tid(tid))
    }

    /// Whether a thread lives now.
    pub(crate) fn lives(&self, tid: Tid) -> bool {
        self.threads.contains_key(&tid)
    }

    /// When a thread had a CPU last; `None` when it may have one now.
    pub(crate) fn rests_since(&self, tid: Tid) -> Option<u64> {
        let thread = self.threads.get(&tid).filter(|thread| thread.doing == Doing::Waiting)?;
        Some(thread.ran.max(thread.asleep))
    }

    /// Whether a thread was heard to have a CPU since `time`.
    pub(crate) fn ran_since(&self, tid: Tid, time: u64) -> bool {
        self.threads.get(&tid).is_some_and(|thread| thread.ran.max(thread.asleep) > time)
    }

    /// Whether a thread may run on a CPU, by the affinities that were read so
    /// far; any may as long as there is none.
    pub(crate) fn may_run_on(&self, cpu: u32) -> bool {
        let may = |thread: &Thread| thread.cpus.as_ref().is_none_or(|cpus| cpus.contains(Cpu(cpu)));
        self.threads.is_empty() || self.threads.values().any(may)
    }

    /// The CPUs a thread may use, as they were at `time`.
    pub(crate) fn affinity(&mut self, tid: Tid, cpus: CpuSet, time: u64) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        if thread.cpus.as_ref() != Some(&cpus) {
            thread.cpus = Some(cpus.clone());
            self.note_at(time, Event::Affinity { tid, cpus });
        }
    }

    /// Puts an event of the engine's own into the stream.
    pub(crate) fn note(&mut self, time: u64, event: Event) {
        self.emit(time, event);
    }

    /// Lets the found threads in, all at the start of the window.
    pub(super) fn enter_found(&mut self) {
        let mut found: Vec<Found> = self.found.drain().map(|(_, found)| found).collect();
        found.sort_unstable_by_key(|found| found.tid);
        found.into_iter().for_each(|found| self.enter(found));
    }

    fn enter(&mut self, found: Found) {
        let Found { pid, tid, name, seen, .. } = found;
        let (time, tid) = (self.start, Tid(tid));
        let doing = match seen {
            Seen::Runnable => Doing::Runnable,
            Seen::Off(Off::Dead) => return,
            Seen::Off(_) => Doing::Waiting,
        };
        // The records may have told already which CPU it has.
        let has = self.cpus.iter_mut().find(|(_, on_cpu)| on_cpu.current == Some(tid));
        let cpu = has.map(|(&cpu, on_cpu)| {
            on_cpu.occupant = Occupant::Own;
            on_cpu.reported = Occupant::Own;
            cpu
        });
        self.join(time, Pid(pid), tid, name, Entrance::Found(seen), doing);
        if let Some(cpu) = cpu {
            self.resume(time, cpu, tid);
        } else if let Seen::Off(Off::Blocked { site, .. }) = seen {
            if let Some(thread) = self.threads.get_mut(&tid) {
                thread.site = site;
            }
            self.looks.want(time, tid, 0, site.is_none(), Known::No);
        }
    }

    fn join(
        &mut self,
        time: u64,
        pid: Pid,
        tid: Tid,
        name: String,
        entrance: Entrance,
        doing: Doing,
    ) {
        let Entry::Vacant(place) = self.threads.entry(tid) else { return };
        let lately = self.scripts.newborn.claim(tid);
        place.insert(Thread {
            pid,
            doing: Doing::Waiting,
            wait: 0,
            since: time,
            cpus: None,
            exiting: false,
            site: None,
            left: None,
            kernel: Rc::default(),
            places: Places::default(),
            stood: Stood::default(),
            beyond: Beyond::default(),
            reach: Reach::default(),
            counted_whole: false,
            ran: 0,
            waits_in: None,
            asleep: 0,
            awake: 0,
            lately,
            looked_at: Looked::No,
            repeats: Repeats::default(),
            left_on_clock: Left::default(),
        });
        if let Some(process) = self.processes.get_mut(&pid) {
            process.alive += 1;
        }
        self.define(time, Event::Thread { tid, pid, name, entrance });
        self.set(time, tid, doing);
    }

    pub(super) fn fork(&mut self, time: u64, pid: Pid, tid: Tid, parent: Pid) {
        let new_process = pid.0 == tid.0;
        let of = if new_process { parent } else { pid };
        let Some(process) = self.processes.get_mut(&of) else { return };
        if new_process && !self.inherit {
            return;
        }
        let (space, name) = (process.space, process.name.clone());
        if !new_process {
            process.bore = Some(time);
        }
        if new_process {
            if self.processes.contains_key(&pid) {
                return;
            }
            let space = self.spaces.fork(space, pid);
            self.define(
                time,
                Event::Process { pid, parent: Some(parent), space, name: name.clone() },
            );
            self.seen_processes += 1;
            self.processes.insert(pid, Process::new(space, name.clone()));
        }
        if time < self.start {
            let born = Found { time, pid: pid.0, tid: tid.0, name, seen: Seen::Runnable };
            self.found.entry(tid).or_insert(born);
        } else {
            self.join(time, pid, tid, name, Entrance::Born, Doing::Runnable);
            if let Some(thread) = self.threads.get_mut(&tid) {
                thread.counted_whole = true;
            }
        }
    }

    pub(super) fn comm(&mut self, time: u64, pid: Pid, tid: Tid, exec: bool, name: String) {
        if !self.processes.contains_key(&pid) {
            return;
        }
        if exec {
            self.exec(time, pid, &name);
        }
        if self.threads.contains_key(&tid) {
            self.emit(time, Event::Name { tid, name });
        }
    }

    fn exec(&mut self, time: u64, pid: Pid, name: &str) {
        // The threads that did not execute the program are gone; the one that
        // did has the PID for its TID from now on.
        let gone: Vec<Tid> = self
            .threads
            .iter()
            .filter(|(tid, thread)| thread.pid == pid && tid.0 != pid.0 && !thread.exiting)
            .map(|(tid, _)| *tid)
            .collect();
        let alone = gone.is_empty();
        for tid in gone {
            self.exit(time, tid);
            self.dead(tid);
        }
        if let Some(thread) = self.threads.get_mut(&Tid(pid.0)) {
            // What is counted from now on is that of the thread that executed the program.
            thread.counted_whole &= alone;
            (thread.places, thread.beyond, thread.lately) = Default::default();
            thread.stood = Stood::default();
        }
        let space = self.spaces.create(pid);
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let old = std::mem::replace(&mut process.space, space);
        process.bare = true;
        name.clone_into(&mut process.name);
        self.waits.remove(pid, old);
        self.spaces.remove(old);
        self.stacks.forget(old);
        self.define(time, Event::Exec { pid, space, name: name.to_owned() });
    }

    pub(super) fn mapped(&mut self, time: u64, pid: Pid, mapping: Mapping) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.bare = false;
        if let Some(event) = self.spaces.map(process.space, mapping) {
            self.define(time, event);
        }
    }

    pub(super) fn exit(&mut self, time: u64, tid: Tid) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.exiting = true;
            self.define(time, Event::Exit { tid });
        }
    }

    /// Forgets a thread, and its process with the last one.
    pub(super) fn dead(&mut self, tid: Tid) {
        let Some(thread) = self.threads.remove(&tid) else { return };
        if let Some(ticks) = &mut self.ticks {
            ticks.end(tid);
        }
        if thread.doing == Doing::Runnable {
            self.runnable -= 1;
        }
        let pid = thread.pid;
        let Entry::Occupied(mut process) = self.processes.entry(pid) else { return };
        process.get_mut().alive -= 1;
        if process.get().alive == 0 {
            let process = process.remove();
            self.waits.remove(pid, process.space);
            self.spaces.remove(process.space);
            self.stacks.forget(process.space);
        }
    }

    /// The site at which a thread that was found waits.
    pub(crate) fn site_of_found(&mut self, time: u64, pid: u32, tid: u32) -> Option<Off> {
        let pid = Pid(pid);
        let space = self.processes.get(&pid)?.space;
        let mut new = vec![];
        let site = self.waits.look(time, (pid, space), tid, |event| new.push(event))?.site;
        self.report_sites(time, space, new);
        Some(Off::Blocked { site: Some(site), uninterruptible: false })
    }
}
