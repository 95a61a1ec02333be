//! Hands each event to the thread and the CPU it concerns.

use rustc_hash::FxHashMap;
use whyslow_events::{Cpu, CpuSet, Entrance, Event, Header, Off, Pid, Seen, Tid, Timed, Wakener};

use super::counts::Counts;
use super::occupancy::{Holder, Occupancy};
use super::queues::Spare;
use super::sampling::Sampling;
use super::track::{Track, doing_after, newborn};
use super::{Doing, GilSeen, Thread, Timeline, Waker};

#[derive(Debug)]
pub(crate) struct Builder {
    start: u64,
    /// Time of the latest event.
    now: u64,
    ended: bool,
    cpus: Occupancy,
    /// By order of appearance; `None` once in `finished`.
    tracks: Vec<Option<Track>>,
    finished: Vec<(usize, Thread)>,
    live: FxHashMap<Tid, usize>,
    /// The last thread of each TID, dead or alive: what woke another may be
    /// gone before the wakeup comes to us.
    latest: FxHashMap<Tid, usize>,
    usable: CpuSet,
    lost: u64,
    late: u64,
    strangers: u64,
    contradictions: u64,
    spare: Vec<Spare>,
}

impl Builder {
    pub(crate) fn new(header: &Header) -> Self {
        let start = header.start.0;
        Builder {
            start,
            now: start,
            ended: false,
            cpus: Occupancy::new(header.facts.cpus, start),
            tracks: Vec::new(),
            finished: Vec::new(),
            live: FxHashMap::default(),
            latest: FxHashMap::default(),
            usable: CpuSet::default(),
            lost: 0,
            late: 0,
            strangers: 0,
            contradictions: 0,
            spare: Vec::new(),
        }
    }

    pub(crate) fn event(&mut self, timed: &Timed) {
        if self.ended {
            return;
        }
        // Definitions may carry no time of their own.
        let time = timed.time.0.max(self.start);
        match &timed.event {
            Event::Thread { tid, pid, name, entrance } => {
                self.enter(time, *tid, *pid, name, *entrance);
            }
            Event::Exec { pid, name, .. } => {
                self.with(Tid(pid.0), |track, _| track.rename(name.clone()));
            }
            Event::Name { tid, name } => {
                self.with(*tid, |track, _| track.rename(name.clone()));
            }
            Event::Exit { tid } => self.with(*tid, |track, cpus| track.exit(time, cpus)),
            Event::Affinity { tid, cpus: set } => {
                self.with(*tid, |track, cpus| {
                    let mask = cpus.mask(set.clone(), time);
                    track.affinity(time, mask, cpus);
                });
            }
            Event::SwitchIn { tid, cpu } => {
                self.cpus.set(*cpu, Holder::Own, time);
                self.with(*tid, |track, cpus| track.switch_in(time, *cpu, cpus));
            }
            Event::SwitchOut { tid, cpu, off, stack } => {
                self.with(*tid, |track, cpus| track.switch_out(time, *off, *stack, cpus));
                self.cpus.set(*cpu, Holder::NotKnown, time);
                if *off == Off::Dead {
                    self.leave(*tid, time);
                }
            }
            Event::Occupant { cpu, busy } => {
                let holder = if *busy { Holder::Foreign } else { Holder::Idle };
                self.cpus.set(*cpu, holder, time);
            }
            Event::Wakeup { tid, by } => {
                let waker = self.waker(*by);
                self.with(*tid, |track, cpus| track.wakeup(time, waker, cpus));
            }
            Event::Sample { tid, cpu, kernel, stack } => {
                self.cpus.set(*cpu, Holder::Own, time);
                self.with(*tid, |track, cpus| track.sample(time, *cpu, *kernel, *stack, cpus));
            }
            Event::Spare { cpu, since, idle_ns } => {
                self.spare.push(Spare { cpu: *cpu, from: since.0, to: time, idle_ns: *idle_ns });
            }
            Event::Lost { cpu, since, records } => self.lost(time, *cpu, since.0, *records),
            Event::Late { records } => self.late += records,
            Event::End { .. } => self.ended = true,
            event if !self.outside(time, event) => return,
            _ => {}
        }
        self.now = self.now.max(time);
    }

    /// Takes in what was read of a thread from outside; false when it is no such event.
    fn outside(&mut self, time: u64, event: &Event) -> bool {
        match event {
            Event::Look { tid, site, stack } => {
                self.with(*tid, |track, _| track.look(time, *site, *stack));
            }
            Event::GilSeen { tid, gil, holder } => {
                let seen = GilSeen { time, gil: *gil, holder: *holder };
                // A look at a thread that has just ended is none of a stranger.
                let live = self.live.get(tid).copied();
                if let Some(track) = live.and_then(|index| self.tracks[index].as_mut()) {
                    track.gil_seen(seen);
                }
            }
            Event::KernelCpu { tid: Some(tid), cpu_ns } => {
                self.with(*tid, |track, _| track.counted(time, *cpu_ns));
            }
            Event::LoopTurn { tid, turn } => {
                self.with(*tid, |track, _| track.turn(time, turn.clone()));
            }
            Event::RunDelay { tid, delay_ns } => {
                self.with(*tid, |track, _| track.delayed(time, *delay_ns));
            }
            Event::Polled(polled) => {
                self.with(polled.tid, |track, _| track.polled(time, polled));
                if polled.seen == Seen::Off(Off::Dead) {
                    self.leave(polled.tid, time);
                }
            }
            _ => return false,
        }
        true
    }

    pub(crate) fn finish(mut self) -> Timeline {
        let open: Vec<usize> = self.live.values().copied().collect();
        for index in open {
            self.retire(index, self.now);
        }
        self.finished.sort_unstable_by_key(|(index, _)| *index);
        let threads: Vec<Thread> = self.finished.into_iter().map(|(_, thread)| thread).collect();
        let last = threads.iter().map(|thread| thread.end).max().unwrap_or(self.now);
        Timeline {
            start: self.start,
            end: self.now.max(last),
            threads,
            usable_cpus: self.usable.len(),
            lost: self.lost,
            late: self.late,
            strangers: self.strangers,
            contradictions: self.contradictions,
            spare: self.spare,
        }
    }

    fn with(&mut self, tid: Tid, act: impl FnOnce(&mut Track, &mut Occupancy)) {
        let track = self.live.get(&tid).and_then(|index| self.tracks[*index].as_mut());
        match track {
            Some(track) => act(track, &mut self.cpus),
            None => self.strangers += 1,
        }
    }

    fn enter(&mut self, time: u64, tid: Tid, pid: Pid, name: &str, entrance: Entrance) {
        if let Some(index) = self.live.get(&tid).copied()
            && let Some(track) = &self.tracks[index]
        {
            if !track.exited() && track.thread().pid == pid {
                // Told twice.
                self.strangers += 1;
                return;
            }
            self.leave(tid, time);
        }
        let doing = match entrance {
            Entrance::Born => newborn(),
            Entrance::Found(Seen::Runnable) => Doing::Undetermined,
            Entrance::Found(Seen::Off(Off::Dead)) => return,
            Entrance::Found(Seen::Off(off)) => doing_after(off),
        };
        let thread = Thread {
            tid,
            pid,
            name: name.to_owned(),
            start: time,
            end: time,
            intervals: Vec::new(),
            samples: Vec::new(),
            turns: Vec::new(),
            gil: Vec::new(),
            born: entrance == Entrance::Born,
            counts: Counts::default(),
            delays: Vec::new(),
            sampling: Sampling::default(),
            cpus: CpuSet::default(),
        };
        self.live.insert(tid, self.tracks.len());
        self.latest.insert(tid, self.tracks.len());
        self.tracks.push(Some(Track::new(thread, doing, &mut self.cpus)));
    }

    fn leave(&mut self, tid: Tid, time: u64) {
        if let Some(index) = self.live.remove(&tid) {
            self.retire(index, time);
        }
    }

    fn retire(&mut self, index: usize, time: u64) {
        let Some(track) = self.tracks[index].take() else { return };
        if let Some(cpu) = track.cpu() {
            self.cpus.set(cpu, Holder::NotKnown, time);
        }
        for cpu in self.cpus.cpus_of(track.mask()).iter() {
            self.usable.insert(cpu);
        }
        self.contradictions += track.contradictions();
        let cpus = self.cpus.cpus_of(track.mask()).clone();
        let thread = track.finish(time, &mut self.cpus);
        self.finished.push((index, Thread { cpus, ..thread }));
    }

    fn lost(&mut self, time: u64, cpu: Cpu, since: u64, records: u64) {
        self.lost += records;
        self.cpus.set(cpu, Holder::NotKnown, time);
        for track in self.tracks.iter_mut().flatten() {
            track.lost(cpu, since, time, &mut self.cpus);
        }
    }

    fn waker(&self, by: Wakener) -> Waker {
        match by {
            Wakener::Interrupt => Waker::Interrupt,
            Wakener::Foreign => Waker::Foreign,
            Wakener::Thread(tid) => match self.latest.get(&tid) {
                Some(index) => u32::try_from(*index).map_or(Waker::Unseen, Waker::Thread),
                None => Waker::Foreign,
            },
        }
    }
}
