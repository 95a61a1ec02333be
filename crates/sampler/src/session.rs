//! One recording from start to end: open, find or start the target, drain in
//! rounds, stop, close.

mod header;
mod newcomers;
mod pauses;
mod rein;
mod rhythm;
mod seeds;
mod start;
mod stop;
mod thinning;
mod upkeep;

use std::io;
use std::time::Duration;

use nix::sys::prctl::set_timerslack;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use whyslow_events::{
    EngineName, Event, ExitStatus, Fallback, Header, KernelFunctions, ReadScripts, Tid, Timed,
    Unwind,
};

pub(crate) use crate::clock::now;
use crate::perf::record::Record;
use crate::perf::{
    Capture, Continuity, KernelCalls, Merge, Prices, Tracker, continuity_fallback, wakeups_fallback,
};
use crate::proc::Proc;
use crate::sys::prefer;
use crate::target::{Child, What, check, spawn, traced};
use crate::{Error, arch, system_facts};
pub(crate) use header::{begin_window, header};
use pauses::Pauses;
use rein::{Costs, Rein};
pub(crate) use seeds::comm_of;
use seeds::threads_of;
pub use stop::Stop;
use thinning::Thinning;
use upkeep::Upkeep;

/// The rings are visited again after so many records of a round: some 5 ms.
const BETWEEN_VISITS: usize = 5_000;

/// How much later than asked for the kernel may wake us, ns.
const PUNCTUAL: u64 = 1_000;

/// With more records in a round than this we are behind: looks have to wait.
const BEHIND: usize = 50_000;

/// Time between two looks which CPUs are on, ns. To go off and on takes about as long.
const CPUS: u64 = 50_000_000;

/// How to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// On-CPU samples a second and CPU.
    pub frequency: u32,
    /// User stack copied with a sample, in bytes, a multiple of 8, and up to four
    /// times as much where that is too short; 0 takes the kernel's call chains,
    /// which follow frame pointers.
    pub stack_bytes: u32,
    /// Follow new processes of the target, and take in the present ones.
    pub inherit: bool,
    /// Stop after this long.
    pub duration: Option<Duration>,
    /// Start the window this long after the target is there.
    pub delay: Duration,
    /// Stop each thread while its calls are read, one at a time.
    pub precise: bool,
    /// What recording may cost, in millionths of one CPU; detail is thinned for it.
    pub max_overhead: Option<u32>,
    /// The version of whyslow, for the header.
    pub tool_version: String,
    /// The command line to keep in the recording, secrets removed.
    pub command: Vec<String>,
}

/// What happens right now, for a progress line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Since the window began.
    pub elapsed: Duration,
    /// Records read from the kernel.
    pub events: u64,
    /// Threads that live.
    pub threads: usize,
}

/// How a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How a launched command ended; `None` when it still runs, or was not ours.
    pub exit: Option<ExitStatus>,
}

/// Who makes call chains of what the engine sees. Not asked for stacks of 0 bytes.
pub struct Readers {
    /// Unwinds native stacks.
    pub unwinder: Box<dyn Unwind>,
    /// Reads the stacks of interpreted programs.
    pub scripts: Box<dyn ReadScripts>,
    /// Names the kernel's functions, by which system calls are told; asked once.
    pub kernel: Box<dyn KernelFunctions>,
}

/// A recording that is set up.
pub struct Session {
    rings: Capture,
    merge: Merge,
    continuity: Continuity,
    /// Whether it was told that switches are recorded twice.
    mended: bool,
    /// Whether it was told that wakeups are not heard of.
    unheard: bool,
    /// When it was last asked which CPUs are on.
    cpus_seen: u64,
    tracker: Tracker,
    upkeep: Upkeep,
    thinning: Thinning,
    rein: Option<Rein>,
    pauses: Pauses,
    proc: Proc,
    child: Option<Child>,
    /// Until the window begins; then the tracker has it.
    kernel: KernelCalls,
    /// As `kernel`.
    readers: Option<Readers>,
    what: What,
    options: Options,
    header: Header,
}

impl Session {
    /// Opens the engine, and checks the target or makes a process that waits
    /// to execute the command. Stacks are read with `readers`.
    ///
    /// # Errors
    /// When the host or the target does not allow it.
    pub fn new(what: What, mut options: Options, readers: Readers) -> Result<Session, Error> {
        let unread = arch::fallback(options.stack_bytes);
        options.stack_bytes = arch::stack_bytes(options.stack_bytes);
        let proc = Proc::default();
        let facts = system_facts();
        let mut traced_by = None;
        if let What::Attach(pids) = &what {
            check(&proc, pids)?;
            traced_by = traced(&proc, pids);
        }
        let may_pause = options.max_overhead.is_some();
        let mut rings = Capture::open(facts, options.frequency, options.stack_bytes, may_pause)?;
        // Takes its time; nothing is recorded yet. Without frames there is no use for it.
        let kernel = match rings.is_of_tasks() {
            true => KernelCalls::default(),
            false => KernelCalls::among(&*readers.kernel),
        };
        let mut merge = Merge::new(Prices::here());
        let child = match &what {
            What::Launch(argv) => Some(spawn(argv)?),
            What::Attach(_) => None,
        };
        // Before the threads are listed: none that begins meanwhile is missed.
        let newest = proc.newest();
        let list = || threads_of(&proc, &what, child.as_ref(), options.inherit);
        rings.follow(list, newest, now, &mut merge)?;
        if let Some(pid) = list().first() {
            rings.check_looks(&proc, *pid);
        }
        let fallbacks = rings.fallbacks().iter().cloned().chain(unread).chain(traced_by).collect();
        Ok(Session {
            header: Header {
                capabilities: rings.capabilities(),
                fallbacks,
                ..header(EngineName::Perf, facts, &options, child.is_some())
            },
            tracker: Tracker::new(KernelCalls::default(), options.inherit, u64::MAX),
            rings,
            merge,
            continuity: Continuity::default(),
            mended: false,
            unheard: false,
            cpus_seen: 0,
            upkeep: Upkeep::default(),
            thinning: Thinning::default(),
            rein: None,
            pauses: Pauses::default(),
            proc,
            child,
            kernel,
            readers: (options.stack_bytes > 0).then_some(readers),
            what,
            options,
        })
    }

    /// What is known before the first event, once the window has begun.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Records until the target ends, the time is over, or `stop` asks. Events
    /// go to `sink` in order.
    ///
    /// # Errors
    /// When `sink` fails, or the kernel does; a launched command has ended then, too.
    pub fn run(
        mut self,
        stop: &Stop,
        sink: &mut dyn FnMut(&Timed) -> io::Result<()>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Ended, Error> {
        match self.record(stop, sink, progress) {
            Ok(exit) => self.finish(exit, sink),
            Err(error) => {
                self.abandon(stop);
                Err(error)
            }
        }
    }

    /// Records no more. A launched command goes on undisturbed, and is waited for.
    pub(crate) fn abandon(&mut self, stop: &Stop) {
        // What cannot be disabled ends with us.
        let _ = self.rings.disable();
        if let Some(child) = &mut self.child {
            child.see_off(stop);
        }
    }

    fn record(
        &mut self,
        stop: &Stop,
        sink: &mut dyn FnMut(&Timed) -> io::Result<()>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<ExitStatus>, Error> {
        let start = self.header.start.0;
        let duration = self.options.duration.map(nanoseconds);
        self.rein = self.options.max_overhead.map(|limit| Rein::new(limit, self.costs(start)));
        let mut batch = vec![];
        // The command was made before: it has the priority that its user gave it.
        let _preferred = prefer();
        // Rounds come when they are due, and not up to 50 µs later; what that is for is told
        // worse without it.
        let _ = set_timerslack(PUNCTUAL);
        loop {
            let elapsed = now()?.saturating_sub(start);
            let left = duration.map_or(u64::MAX, |duration| duration.saturating_sub(elapsed));
            self.wait_for_records(stop, left)?;
            let round = now()?;
            self.follow_cpus(round)?;
            self.merge.round(&self.rings, round, &mut batch);
            self.take_in(&mut batch, round, sink)?;
            self.drain(sink)?;
            progress(Progress {
                elapsed: Duration::from_nanos(round.saturating_sub(start)),
                events: self.merge.read,
                threads: self.tracker.threads().len(),
            });
            self.pass_signal_on(stop);
            let exit = self.child.as_mut().and_then(Child::ended);
            if exit.is_some() {
                self.tracker.gone(round);
            }
            let attached = self.child.is_none();
            if exit.is_some()
                || stop.cuts_short(!attached)
                || (attached && self.tracker.is_over())
                || left == 0
            {
                return Ok(exit);
            }
        }
    }

    fn follow_cpus(&mut self, now: u64) -> Result<(), Error> {
        if now.saturating_sub(self.cpus_seen) >= CPUS {
            self.cpus_seen = now;
            for cpu in self.rings.follow_cpus()? {
                self.merge.note_loss(cpu, now);
            }
        }
        Ok(())
    }

    fn take_in(
        &mut self,
        batch: &mut Vec<(u32, Record)>,
        round: u64,
        sink: &mut dyn FnMut(&Timed) -> io::Result<()>,
    ) -> Result<(), Error> {
        let (mut newcomers, mut tally) = (vec![], None);
        // Who is behind sees none of what the records tell of.
        let behind = batch.len() > BEHIND;
        let looks = !behind && self.rein.as_mut().is_none_or(Rein::looks);
        let clock = || now().unwrap_or(u64::MAX);
        let ahead = batch.iter().map(|(_, record)| record).chain(self.merge.waiting());
        self.tracker.foresee(ahead);
        if looks {
            // At once: what a thread is at is over before the records are taken in.
            self.tracker.read_computing(round, clock);
        }
        for (count, (cpu, record)) in batch.drain(..).enumerate() {
            if self.pauses.leave_out(&record) {
                continue;
            }
            newcomers.extend(self.newcomer(&record));
            self.tell_tally_before(&record, &mut tally);
            self.continuity.see(cpu, &record, |tid| self.tracker.has(tid));
            if self.tracker.has(record.tid) {
                self.merge.note_of_target(&record);
            }
            self.tracker.record(cpu, record);
            if count % BETWEEN_VISITS == BETWEEN_VISITS - 1 {
                self.drain(sink)?;
                self.merge.make_room(&self.rings);
            }
        }
        if !self.pauses.paused() {
            self.mend_continuity()?;
        }
        self.take_stacks_of(&newcomers)?;
        if self.tracker.copies_are_short() {
            self.rings.copy_more()?;
        }
        let settled = self.merge.given();
        self.tracker.settle(settled);
        let late = self.merge.take_late();
        if late > 0 {
            self.tracker.note(settled, Event::Late { records: late });
        }
        if looks {
            self.tracker.look(round, self.merge.waiting(), clock);
            self.tracker.read_scripts(round, clock);
        }
        self.keep_to_limit(round)?;
        self.pause_or_resume(round)?;
        self.thin_stacks(round)?;
        if self.pauses.are_on() {
            return Ok(());
        }
        self.upkeep.round(&self.proc, &mut self.tracker)
    }

    fn thin_stacks(&mut self, round: u64) -> Result<(), Error> {
        if self.pauses.paused() {
            self.thinning.rest(round);
            return Ok(());
        }
        let (waits, in_stretch) = (self.tracker.take_waits(), self.pauses.are_on());
        let often = self.thinning.round(round, waits, in_stretch);
        often.map_or(Ok(()), |often| self.rings.take_stacks(often))
    }

    fn costs(&self, time: u64) -> Costs {
        let (caused, switches) = (self.merge.caused_ns, self.merge.switches_ns);
        Costs { time, ours: our_cpu_ns(), caused, switches }
    }

    fn keep_to_limit(&mut self, now: u64) -> Result<(), Error> {
        // Of a stretch alone, or of a pause, the cost is too high, or too low.
        let whole = !self.pauses.are_on() || (self.pauses.paused() && self.pauses.is_over(now));
        let Some(mut rein) = self.rein.take_if(|_| whole) else { return Ok(()) };
        let changed = rein.compare(self.costs(now));
        let step = rein.step();
        self.rein = Some(rein);
        if changed {
            self.thinning.take_step(step);
            self.tracker.save(step);
            self.rings.sample_at(self.options.frequency >> step)?;
        }
        Ok(())
    }

    /// Has switch records of the CPUs that may keep a switch to themselves.
    fn mend_continuity(&mut self) -> Result<(), Error> {
        if self.rings.is_of_tasks() {
            return Ok(());
        }
        let cpus = self.rings.samplers().map(|(cpu, _)| cpu);
        let doubted: Vec<u32> = cpus
            .filter(|cpu| !self.continuity.is_sound(*cpu) && self.tracker.may_run_on(*cpu))
            .collect();
        self.rings.record_switches_of(&doubted)?;
        let broken = doubted.iter().any(|cpu| self.continuity.is_broken(*cpu));
        if broken && !std::mem::replace(&mut self.mended, true) {
            self.do_without(continuity_fallback());
        }
        if self.tracker.misses_wakeups() && !std::mem::replace(&mut self.unheard, true) {
            self.do_without(wakeups_fallback());
        }
        Ok(())
    }

    fn do_without(&mut self, fallback: Fallback) {
        self.tracker.note(self.merge.given(), Event::Fallback(fallback));
    }

    fn drain(&mut self, sink: &mut dyn FnMut(&Timed) -> io::Result<()>) -> Result<(), Error> {
        self.tracker.take_events().try_for_each(|event| sink(&event)).map_err(Error::Sink)
    }

    fn pass_signal_on(&self, stop: &Stop) {
        if let Some(child) = &self.child {
            child.pass_on(stop);
        }
    }

    fn finish(
        mut self,
        exit: Option<ExitStatus>,
        sink: &mut dyn FnMut(&Timed) -> io::Result<()>,
    ) -> Result<Ended, Error> {
        self.end_tally(now()?);
        self.tracker.last_looks(now()?, || now().unwrap_or(u64::MAX));
        self.upkeep.last_counts(&self.proc, &mut self.tracker)?;
        let end = now()?;
        self.rings.disable()?;
        let mut batch = vec![];
        self.merge.round(&self.rings, end, &mut batch);
        self.merge.finish(&mut batch);
        batch.retain(|(_, record)| record.time <= end);
        batch.retain(|(_, record)| !self.pauses.leave_out(record));
        for (cpu, record) in batch {
            self.tell_tally_before(&record, &mut None);
            self.tracker.record(cpu, record);
        }
        self.tracker.settle(end);
        let all_ended = self.tracker.is_over();
        // Nothing of a target that has ended can happen after its last event.
        let end = if all_ended { self.tracker.last_event() } else { end };
        if let Some(child) = &self.child
            && all_ended
            && self.options.delay.is_zero()
            && self.tracker.processes_seen() == 1
        {
            // Of a single process this counts every thread to its end, and the
            // first from its birth, which was before the window.
            let cpu_ns = child.cpu_ns().saturating_sub(self.upkeep.before(Tid(child.pid())));
            self.tracker.note(end, Event::KernelCpu { tid: None, cpu_ns });
        }
        self.tracker.note_script_reads(end);
        if let Some(mut rein) = self.rein.take() {
            self.tracker.note(end, Event::Thinned(rein.said(self.costs(end))));
        }
        let overhead = Event::Overhead { profiler_cpu_ns: our_cpu_ns(), events: self.merge.read };
        self.tracker.note(end, overhead);
        self.tracker.note(end, Event::TargetCost { cpu_ns: self.merge.of_target_ns });
        self.tracker.note(end, Event::End { exit });
        self.drain(sink)?;
        Ok(Ended { exit })
    }
}

pub(crate) fn our_cpu_ns() -> u64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return 0 };
    let ns = usage.user_time().num_nanoseconds() + usage.system_time().num_nanoseconds();
    u64::try_from(ns).unwrap_or(0)
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
