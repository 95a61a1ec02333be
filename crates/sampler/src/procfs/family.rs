//! Processes of the target: how new ones and new threads are found, and what
//! program each runs.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::os::fd::OwnedFd;

use procfs::process::Stat;
use whyslow_events::{Event, Pid, SpaceId, Tid};

use super::poller::Poller;
use crate::perf::Mapping;
use crate::proc::CpuClock;
use crate::sys::pidfd_open;
use crate::target::{Attached, maps::executable};

/// Time until the mappings of a process are read again, ns: at first, and most.
const AGAIN: u64 = 20_000_000;
const MOST: u64 = 2_000_000_000;
/// Processes whose end wakes us; that of others is found in a round.
const WATCHED: usize = 64;
/// Threads that have ended are remembered; with more of them it is asked which of them
/// are there yet.
const ENDED: usize = 1024;

/// A process of the target.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) space: SpaceId,
    /// Where its stack starts: another place is another program. 0 when hidden.
    program: u64,
    mapped: HashSet<(u64, u64, u64)>,
    mapped_at: u64,
    again: u64,
    /// Becomes readable when it ends.
    pub(super) end: Option<OwnedFd>,
    pub(super) clock: Option<CpuClock>,
    /// What it told beyond the counts of the threads when all were looked at, ns.
    pub(super) unseen: Option<u64>,
    /// It tells the same in the present round.
    pub(super) still: bool,
    /// When it told so last.
    pub(super) rested: u64,
    /// What it told when we looked for new threads and children.
    pub(super) searched: Option<u64>,
}

impl Poller {
    /// Takes in a process that is there.
    pub(super) fn adopt(&mut self, time: u64, process: Attached) {
        let Attached { pid, parent, name, mappings } = process;
        let (pid, parent) = (Pid(pid), parent.map(Pid));
        if self.processes.contains_key(&pid) {
            return;
        }
        let space = self.spaces.create(pid);
        let stat = self.proc.process(pid.0).and_then(|process| process.stat().ok());
        let end = if self.processes.len() < WATCHED { pidfd_open(pid.0).ok() } else { None };
        self.define(time, Event::Process { pid, parent, space, name });
        self.seen_processes += 1;
        let process = Process {
            space,
            program: stat.map_or(0, |stat| stat.startstack),
            mapped: HashSet::new(),
            mapped_at: time,
            again: AGAIN,
            end,
            clock: CpuClock::of(pid.0),
            unseen: None,
            still: false,
            rested: time,
            searched: None,
        };
        self.processes.insert(pid, process);
        self.loose_ends.expect();
        mappings.into_iter().for_each(|mapping| self.map(time, pid, mapping));
    }

    fn map(&mut self, time: u64, pid: Pid, mapping: Mapping) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let space = process.space;
        if !process.mapped.insert((mapping.start, mapping.end, mapping.file_offset)) {
            return;
        }
        if let Some(event) = self.spaces.map(space, mapping) {
            self.define(time, event);
        }
    }

    /// Notes from the state of one of its threads which program a process runs,
    /// and what that has mapped since.
    pub(super) fn note_program(&mut self, time: u64, pid: Pid, stat: &Stat, renamed: bool) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let other = stat.startstack != 0 && stat.startstack != process.program;
        if other {
            let old = process.space;
            process.program = stat.startstack;
            process.mapped.clear();
            process.again = AGAIN;
            let space = self.spaces.create(pid);
            process.space = space;
            self.spaces.remove(old);
            self.stacks.forget(pid, old);
            let name = stat.comm.clone();
            self.define(time, Event::Exec { pid, space, name });
        } else if !renamed && time.saturating_sub(process.mapped_at) < process.again {
            return;
        }
        self.read_mappings(time, pid);
    }

    /// Reads what a process has mapped if somebody waits in code that it had not when that was
    /// read last.
    pub(super) fn note_code(&mut self, time: u64, pid: Pid, pc: u64) {
        let Some(process) = self.processes.get(&pid) else { return };
        let is_known = process.mapped.iter().any(|(start, end, _)| (*start..*end).contains(&pc));
        if !is_known {
            self.read_mappings(time, pid);
        }
    }

    fn read_mappings(&mut self, time: u64, pid: Pid) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.mapped_at = time;
        process.again = (process.again * 2).min(MOST);
        let Ok(maps) = File::open(self.proc.path(pid.0, "maps")) else { return };
        for mapping in executable(BufReader::new(maps)) {
            self.map(time, pid, mapping);
        }
    }

    /// Takes in threads and processes that began since the last round; `left`: one has ended
    /// since.
    pub(super) fn find_newcomers(&mut self, left: bool) {
        let newest = self.proc.newest();
        let may_be = self.newest.may_be_another(newest);
        if !left && (!may_be || !self.any_has_run()) {
            return;
        }
        self.newest.look(newest);
        self.forget_ended();
        let time = self.rounded;
        let mut pids: Vec<Pid> = self.processes.keys().copied().collect();
        pids.sort_unstable();
        let mut next = 0;
        while let Some(&pid) = pids.get(next) {
            next += 1;
            self.find_threads(time, pid);
            if self.inherit {
                let new = self.find_children(time, pid);
                pids.extend(new);
            }
        }
    }

    fn forget_ended(&mut self) {
        if self.ended.len() > ENDED {
            let proc = &self.proc;
            self.ended.retain(|tid, began| {
                let stat = proc.process(tid.0).and_then(|process| process.stat().ok());
                stat.is_some_and(|stat| stat.starttime == *began)
            });
        }
    }

    fn find_threads(&mut self, time: u64, pid: Pid) {
        let known = self.threads.values().filter(|thread| thread.pid == pid).count() as u64;
        if self.proc.thread_count(pid.0).is_none_or(|count| count == known) {
            return;
        }
        for tid in self.proc.tids(pid.0) {
            if !self.threads.contains_key(&Tid(tid)) {
                self.enter(time, pid, Tid(tid), true);
            }
        }
    }

    fn find_children(&mut self, time: u64, parent: Pid) -> Vec<Pid> {
        let ourselves = std::process::id();
        let threads = self.threads.values().filter(|thread| thread.pid == parent);
        let children: Vec<u32> = threads
            .flat_map(|thread| thread.task.children())
            .filter(|pid| *pid != ourselves && !self.processes.contains_key(&Pid(*pid)))
            .collect();
        let mut new = vec![];
        for pid in children {
            let Some(name) = self.proc.process(pid).and_then(|process| process.stat().ok()) else {
                continue;
            };
            if self.ended.get(&Tid(pid)) == Some(&name.starttime) {
                continue;
            }
            let maps = File::open(self.proc.path(pid, "maps"));
            let mappings = maps.map(|maps| executable(BufReader::new(maps))).unwrap_or_default();
            let parent = Some(parent.0);
            self.adopt(time, Attached { pid, parent, name: name.comm, mappings });
            self.find_threads(time, Pid(pid));
            new.push(Pid(pid));
        }
        new
    }

    /// Forgets processes that have no thread left.
    pub(super) fn bury(&mut self) {
        let alive: HashSet<Pid> = self.threads.values().map(|thread| thread.pid).collect();
        let spaces = &mut self.spaces;
        let stacks = &mut self.stacks;
        self.processes.retain(|pid, process| {
            let lives = alive.contains(pid);
            if !lives {
                spaces.remove(process.space);
                stacks.forget(*pid, process.space);
            }
            lives
        });
    }
}
