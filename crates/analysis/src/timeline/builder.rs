//! Hands each event to the thread and the CPU it concerns.

use rustc_hash::FxHashMap;
use whyslow_events::{Cpu, CpuSet, Entrance, Event, Header, Off, Pid, Seen, Tid, Timed, Wakener};

use super::occupancy::{Holder, Occupancy};
use super::queues::Spare;
use super::track::{Tally, Track, doing_after, newborn};
use super::{Doing, GilSeen, Interval, Lent, Thread, Timeline, Waker};
use crate::scatter::Apart;

/// So much of what was told before a pause, ns, shows what is done in it.
const PATTERN: u64 = 250_000_000;
/// Intervals. What has less room is made anew.
const WORTH_KEEPING: usize = 4096;

#[derive(Debug)]
pub(crate) struct Builder {
    start: u64,
    /// Time of the latest event.
    now: u64,
    /// When a thread ended last.
    last_end: u64,
    ended: bool,
    cpus: Occupancy,
    live: FxHashMap<Tid, Track>,
    /// Threads so far.
    known: u32,
    finished: Vec<Thread>,
    /// Where the present segment begins, and the events of threads in it.
    from: u64,
    taken: usize,
    /// Room for intervals, empty.
    used: Vec<Vec<Interval>>,
    /// The last thread of each TID, dead or alive: what woke another may be
    /// gone before the wakeup comes to us.
    latest: FxHashMap<Tid, u32>,
    usable: CpuSet,
    lost: u64,
    late: u64,
    strangers: u64,
    contradictions: u64,
    spare: Vec<Spare>,
    /// Wakeups are told.
    hears: bool,
    /// Since when switches are not told, if that is so now, and for how long they were not
    /// before.
    paused: Option<u64>,
    paused_ns: u64,
    /// The kernel kept a tally of this pause.
    tallied: bool,
    pauses: Vec<(u64, u64)>,
    /// Those that are drawn.
    drawn: Vec<(u64, u64)>,
    /// Since when they were told before.
    told_since: u64,
}

impl Builder {
    pub(crate) fn new(header: &Header) -> Self {
        let start = header.start.0;
        Builder {
            start,
            now: start,
            last_end: start,
            ended: false,
            cpus: Occupancy::new(header.facts.cpus, start),
            live: FxHashMap::default(),
            known: 0,
            finished: Vec::new(),
            from: start,
            taken: 0,
            used: Vec::new(),
            latest: FxHashMap::default(),
            usable: CpuSet::default(),
            lost: 0,
            late: 0,
            strangers: 0,
            contradictions: 0,
            spare: Vec::new(),
            hears: header.capabilities.wakeups,
            paused: None,
            paused_ns: 0,
            tallied: false,
            pauses: Vec::new(),
            drawn: Vec::new(),
            told_since: start,
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
            Event::Exit { tid } => self.exit(time, *tid),
            Event::Paused => self.pause(time),
            Event::Resumed => self.resume(time),
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

    /// Tells a part of a thread's tally.
    fn tell_tally(&mut self, tid: Tid, tell: impl FnOnce(&mut Track)) {
        self.taken += 1;
        // Who has ended in the pause is no stranger.
        if let Some(track) = self.live.get_mut(&tid) {
            tell(track);
        }
    }

    /// Takes in what was read of a thread from outside; false when it is no such event.
    fn outside(&mut self, time: u64, event: &Event) -> bool {
        match event {
            Event::Look { tid, site, stack } => {
                self.with(*tid, |track, _| track.look(time, *site, *stack));
            }
            Event::Awake { tid } => self.with(*tid, |track, cpus| track.awake(time, cpus)),
            Event::Stood { tid, stack } => {
                self.with(*tid, |track, _| track.stood(time, *stack));
            }
            Event::GilSeen { tid, gil, holder } => {
                let seen = GilSeen { time, gil: *gil, holder: *holder };
                // A look at a thread that has just ended is none of a stranger.
                if let Some(track) = self.live.get_mut(tid) {
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
                let hears = self.hears;
                self.with(*tid, |track, _| {
                    track.delayed_in_pause(*delay_ns);
                    if !hears {
                        track.delayed(time, *delay_ns);
                    }
                });
            }
            &Event::Tally { tid, off, times, off_ns, queued_ns } => {
                self.tell_tally(tid, |it| it.tally(Tally { off, times, off_ns, queued_ns }));
            }
            &Event::TalliedCpu { tid, cpu_ns } => self.tell_tally(tid, |it| it.tally_cpu(cpu_ns)),
            &Event::TalliedIn { tid, site, stack } => {
                self.tell_tally(tid, |it| it.tallied_in(site, stack));
            }
            Event::Tallied => self.tallied(),
            Event::Limit { tid, until } => {
                self.with(*tid, |track, _| track.limited(time, until.map(|until| until.0)));
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

    /// Events of threads since the last cut: an interval each, or less.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Whether `time` is later than all events so far, so that the timeline can be
    /// cut before it.
    pub(crate) fn is_past(&self, time: u64) -> bool {
        !self.ended && time > self.now && self.now > self.from
    }

    /// Where later intervals may stand: new memory for every segment costs more than
    /// what is done with it.
    pub(crate) fn reuse(&mut self, segment: Timeline) {
        let used = segment.threads.into_iter().map(|thread| thread.intervals);
        let used = used.filter(|intervals| intervals.capacity() >= WORTH_KEEPING);
        self.used = used.map(|mut intervals| (intervals.clear(), intervals).1).collect();
    }

    /// What was done since the last cut. All goes on.
    pub(crate) fn cut(&mut self) -> Timeline {
        for track in self.live.values_mut() {
            let cpus = self.cpus.cpus_of(track.mask()).clone();
            cpus.iter().for_each(|cpu| self.usable.insert(cpu));
            let thread = track.cut(self.now, &mut self.cpus, &mut self.used);
            self.finished.push(Thread { cpus, ..thread });
        }
        self.segment()
    }

    pub(crate) fn finish(mut self) -> Timeline {
        if self.live.is_empty() && self.known > 0 {
            // The program is over: what is told of the machine afterwards is none of its time.
            self.now = self.last_end.max(self.from);
        }
        for tid in self.tids() {
            self.leave(tid, self.now);
        }
        self.segment()
    }

    fn segment(&mut self) -> Timeline {
        let mut threads = std::mem::take(&mut self.finished);
        threads.sort_unstable_by_key(|thread| thread.number);
        let last = threads.iter().map(|thread| thread.end).max().unwrap_or(self.now);
        let end = self.now.max(last);
        if let Some(since) = self.paused {
            self.note_pause(since, end);
        }
        // The program may have been over before that was.
        self.pauses.retain(|pause| pause.0 < end);
        self.pauses.iter_mut().for_each(|pause| pause.1 = pause.1.min(end));
        let start = std::mem::replace(&mut self.from, end);
        self.taken = 0;
        Timeline {
            start,
            end,
            threads,
            usable_cpus: self.usable.len(),
            lost: self.lost,
            late: self.late,
            paused_ns: self.paused_ns + self.paused.map_or(0, |since| end.saturating_sub(since)),
            pauses: std::mem::take(&mut self.pauses),
            drawn: std::mem::take(&mut self.drawn),
            apart: Apart::default(),
            lent: Lent::default(),
            strangers: self.strangers,
            contradictions: self.contradictions,
            spare: std::mem::take(&mut self.spare),
        }
    }

    /// A pause of the segment, behind the one before.
    fn note_pause(&mut self, since: u64, to: u64) {
        let since = since.max(self.from).max(self.pauses.last().map_or(0, |last| last.1));
        let tallied = std::mem::take(&mut self.tallied);
        if since < to {
            self.pauses.push((since, to));
            if !tallied {
                self.drawn.push((since, to));
            }
        }
    }

    fn with(&mut self, tid: Tid, act: impl FnOnce(&mut Track, &mut Occupancy)) {
        self.taken += 1;
        match self.live.get_mut(&tid) {
            Some(track) => act(track, &mut self.cpus),
            None => self.strangers += 1,
        }
    }

    fn enter(&mut self, time: u64, tid: Tid, pid: Pid, name: &str, entrance: Entrance) {
        if let Some(track) = self.live.get(&tid) {
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
            number: self.known,
            name: name.to_owned(),
            start: time,
            end: time,
            born: entrance == Entrance::Born,
            ..Thread::of(tid, pid)
        };
        self.latest.insert(tid, self.known);
        self.known = self.known.saturating_add(1);
        let mut track = Track::new(thread, doing, &mut self.cpus);
        if self.paused.is_some() {
            track.pause(time, None, &mut self.cpus);
        }
        self.live.insert(tid, track);
    }

    fn pause(&mut self, time: u64) {
        self.paused.get_or_insert(time);
        self.cpus.forget_own(time);
        let since = self.told_since.max(time.saturating_sub(PATTERN)).max(self.from);
        for track in self.live.values_mut() {
            track.pause(time, Some(since), &mut self.cpus);
        }
    }

    fn tallied(&mut self) {
        self.tallied = self.paused.is_some();
        self.live.values_mut().for_each(Track::tallied);
    }

    fn resume(&mut self, time: u64) {
        let since = self.paused.take();
        self.paused_ns += since.map_or(0, |since| time.saturating_sub(since));
        if let Some(since) = since {
            self.note_pause(since, time);
        }
        self.told_since = time;
        for track in self.live.values_mut() {
            track.resume(time, &mut self.cpus);
        }
    }

    fn exit(&mut self, time: u64, tid: Tid) {
        self.with(tid, |track, cpus| track.exit(time, cpus));
        if self.paused.is_some() {
            // Its last switch is not told.
            self.leave(tid, time);
        }
    }

    fn leave(&mut self, tid: Tid, time: u64) {
        let Some(track) = self.live.remove(&tid) else { return };
        if let Some(cpu) = track.cpu() {
            self.cpus.set(cpu, Holder::NotKnown, time);
        }
        for cpu in self.cpus.cpus_of(track.mask()).iter() {
            self.usable.insert(cpu);
        }
        self.contradictions += track.contradictions();
        let cpus = self.cpus.cpus_of(track.mask()).clone();
        let thread = track.finish(time, &mut self.cpus);
        self.last_end = self.last_end.max(thread.end);
        self.finished.push(Thread { cpus, ..thread });
    }

    fn lost(&mut self, time: u64, cpu: Cpu, since: u64, records: u64) {
        self.lost += records;
        self.cpus.set(cpu, Holder::NotKnown, time);
        for tid in self.tids() {
            if let Some(track) = self.live.get_mut(&tid) {
                track.lost(cpu, since, time, &mut self.cpus);
            }
        }
    }

    /// Of the live threads, by order of appearance.
    fn tids(&self) -> Vec<Tid> {
        let mut live: Vec<(u32, Tid)> =
            self.live.iter().map(|(tid, track)| (track.thread().number, *tid)).collect();
        live.sort_unstable();
        live.into_iter().map(|(_, tid)| tid).collect()
    }

    fn waker(&self, by: Wakener) -> Waker {
        match by {
            Wakener::Interrupt => Waker::Interrupt,
            Wakener::Foreign => Waker::Foreign,
            Wakener::Thread(tid) => match self.latest.get(&tid) {
                Some(number) => Waker::Thread(*number),
                None => Waker::Foreign,
            },
        }
    }
}
