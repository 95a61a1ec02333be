//! Opening the events, one ring per CPU.

mod cpus;
mod opts;
mod program;
mod whose;

use std::fs;
use std::io;

use nix::errno::Errno;
use perf_event_open::config::{Cpu, ExtraRecord, Opts, Proc};
use perf_event_open::count::Counter;
use perf_event_open::event::sw::Software;
use perf_event_open::event::tp::Tracepoint;
use perf_event_open::sample::Sampler;
use rustc_hash::FxHashMap;
use whyslow_events::{Fallback, SystemFacts};

pub(super) use self::cpus::online_cpus;
use self::cpus::unless_off;
use self::opts::switch_opts;
pub(super) use self::opts::{CALL_CHAIN, clock_opts, common_opts, tracepoint_opts, user_stack};
use self::program::Program;
pub(crate) use self::program::kernel_types;
pub(super) use self::program::try_program;
pub(crate) use self::whose::Often;
use super::record::Kind;
use super::threads::Threads;
use crate::Error;
use crate::error::errno_of;
use crate::preflight::{RING_REMEDY, Refused, open_event_remedy, tracepoint_id};
use crate::sys::{redirect, set_period};

/// Ring memory of one CPU: at 200,000 switches a second some 300 ms of records.
const RING_BYTES: u64 = 16 << 20;
/// Ring memory of all CPUs together.
const ALL_RINGS_BYTES: u64 = 256 << 20;
/// Copies are made larger by this factor where they are too short, up to what a
/// record can hold.
const LARGER: u32 = 4;
const LARGEST_COPY: u32 = 60 << 10;
/// A ring must hold what comes in this part of a second.
const ROOM: u64 = 10;
/// Ns between two samples that are not wanted.
const HARDLY_EVER: u64 = 1_000_000_000;
/// Below this a ring is of no use.
pub(super) const SMALLEST_RING_BYTES: u64 = 64 << 10;

/// The tracepoint of the switches.
pub(super) const SWITCH: &str = "sched_switch";
/// That of the wakeups.
const WAKING: &str = "sched_waking";

/// What the clock is called.
const CLOCK: &str = "cpu-clock";

/// What failed when the kernel does not tell an event's id.
const ASK_ID: &str = "ask for the id of an event";

/// The events of one CPU. The clock's ring takes the records of all.
struct CpuEvents {
    cpu: u32,
    clock: Counter,
    /// Samples in place of `clock`, with larger copies.
    deep: Option<Counter>,
    /// To be enabled before `stacks`: the tracepoint hands a switch to the event
    /// enabled last first, so that a stack stands before its switch. Where there is
    /// a `program`, what that writes.
    switch: Counter,
    /// Wakeups of the target's threads.
    waking: Counter,
    /// Takes the stack at some switches; where there is a `program`, when that says so.
    stacks: Counter,
    /// The CPU is off: its events tell nothing any more.
    is_off: bool,
    /// Records every switch a second time. Not open before it is needed: an
    /// event of this sort makes every switch of the machine dearer.
    switches: Option<Counter>,
    sampler: Sampler,
}

/// Numbers of the tracepoints.
#[derive(Clone, Copy)]
struct Tracepoints {
    switch: u64,
    waking: u64,
}

/// The rings of all CPUs.
pub(crate) struct Rings {
    cpus: Vec<CpuEvents>,
    kinds: FxHashMap<u64, Kind>,
    /// Whose stacks are taken at a switch, once that is known.
    threads: Option<Threads>,
    tracepoints: Tracepoints,
    /// In place of the tracepoint of switches, where the kernel runs it.
    program: Option<Program>,
    frequency: u32,
    /// How often stacks of waits are taken.
    often: Often,
    stack_bytes: u32,
    /// Size of the smallest ring.
    ring_bytes: u64,
    /// What the host did not allow.
    pub(crate) fallbacks: Vec<Fallback>,
}

impl Rings {
    /// Opens all events, disabled: the clock at `frequency` a second, and up to
    /// `stack_bytes` of user stack with a sample; 0 for call chains by frame pointers.
    /// Recording `may_pause`.
    ///
    /// # Errors
    /// When the host refuses one, with its remedy.
    pub(crate) fn open(
        facts: SystemFacts,
        frequency: u32,
        stack_bytes: u32,
        may_pause: bool,
    ) -> Result<Rings, Error> {
        let tracepoints = Tracepoints {
            switch: tracepoint_id("sched", SWITCH)?,
            waking: tracepoint_id("sched", WAKING)?,
        };
        let cpus = online_cpus()?;
        let mut rings = Rings {
            cpus: vec![],
            kinds: FxHashMap::default(),
            threads: None,
            tracepoints,
            program: None,
            frequency,
            often: Often::FIRST,
            stack_bytes,
            ring_bytes: 0,
            fallbacks: vec![],
        };
        let mut ring_bytes =
            RING_BYTES.min(ALL_RINGS_BYTES / cpus.len() as u64).max(SMALLEST_RING_BYTES);
        for cpu in cpus {
            let clock = open_event(
                CLOCK,
                Software::CpuClock,
                cpu,
                &clock_opts(frequency, ring_bytes, stack_bytes),
            )?;
            let sampler = rings.map(&clock, cpu, &mut ring_bytes, facts.page_size)?;
            learn(&mut rings.kinds, &clock, cpu, Kind::Clock)?;
            let [switch, waking, stacks] = [Kind::Switch, Kind::Waking, Kind::Stack]
                .map(|kind| tracepoints.open(&mut rings.kinds, kind, stack_bytes, (cpu, &clock)));
            let (switch, waking, stacks) = (switch?, waking?, stacks?);
            rings.cpus.push(CpuEvents {
                cpu,
                clock,
                deep: None,
                switch,
                waking,
                stacks,
                is_off: false,
                switches: None,
                sampler,
            });
        }
        rings.ring_bytes = ring_bytes;
        rings.prefer_program(may_pause);
        Ok(rings)
    }

    /// Copies more of the stack with a sample from now on, once.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn copy_more(&mut self) -> Result<(), Error> {
        let bytes = LARGEST_COPY.min(self.stack_bytes.saturating_mul(LARGER));
        let room = u64::from(bytes) * u64::from(self.frequency) / ROOM <= self.ring_bytes;
        if bytes <= self.stack_bytes || !room {
            return Ok(());
        }
        let opts = Opts {
            extra_record: ExtraRecord::default(),
            ..clock_opts(self.frequency, self.ring_bytes, bytes)
        };
        let kinds = &mut self.kinds;
        let mut deepen = |events: &mut CpuEvents| {
            let cpu = events.cpu;
            let ring = (cpu, &events.clock);
            let deep = open_into(ring, kinds, Kind::Clock, CLOCK, Software::CpuClock, &opts)?;
            // It goes on to tell what else happens.
            events.sampler.sample_on(HARDLY_EVER).map_err(event_error("slow a clock", cpu))?;
            deep.enable().map_err(event_error("enable an event", cpu))?;
            events.deep = Some(deep);
            Ok(())
        };
        self.cpus.iter_mut().filter(|events| events.deep.is_none() && !events.is_off).try_for_each(
            |events| {
                let done = deepen(events);
                unless_off(events, done)
            },
        )
    }

    /// Maps the ring, smaller when the host does not allow so much locked
    /// memory; later rings then start at the smaller size.
    fn map(
        &mut self,
        clock: &Counter,
        cpu: u32,
        bytes: &mut u64,
        page_size: u64,
    ) -> Result<Sampler, Error> {
        let wanted = *bytes;
        let mut refusal = None;
        loop {
            // The pages of a ring are a power of two, given by its exponent.
            let exponent = (*bytes / page_size).max(1).ilog2();
            match clock.sampler(u8::try_from(exponent).expect("a logarithm of a u64 fits")) {
                Ok(sampler) => {
                    if let Some(errno) = refusal {
                        self.fallbacks.push(Fallback {
                            wanted: format!("rings of {} KiB", wanted >> 10),
                            got: format!("rings of {} KiB", *bytes >> 10),
                            errno: format!("{errno:?}"),
                            remedy: RING_REMEDY.to_owned(),
                        });
                    }
                    return Ok(sampler);
                }
                Err(error) => {
                    let errno = *refusal.get_or_insert(errno_of(&error));
                    if *bytes <= SMALLEST_RING_BYTES {
                        return Err(Error::MapRing { cpu, kib: *bytes >> 10, errno });
                    }
                    *bytes /= 2;
                }
            }
        }
    }

    /// Lets the clocks fire so often a second from now on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn sample_at(&mut self, frequency: u32) -> Result<(), Error> {
        self.frequency = frequency.max(1);
        let period = 1_000_000_000 / u64::from(self.frequency);
        self.cpus.iter().try_for_each(|events| {
            let clock = events.deep.as_ref().unwrap_or(&events.clock);
            set_period(clock.file(), period).map_err(|errno| Error::Event {
                action: "set the frequency of the clock",
                cpu: events.cpu,
                errno,
            })
        })
    }

    /// Starts recording.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn enable(&self) -> Result<(), Error> {
        self.allow_stacks()?;
        self.each(|counter| counter.enable(), "enable an event")
    }

    /// Records the switches of these CPUs, and of no other, also as switch
    /// records from now on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn record_switches_of(&mut self, cpus: &[u32]) -> Result<(), Error> {
        for events in &mut self.cpus {
            match (cpus.contains(&events.cpu), &events.switches) {
                (true, None) if !events.is_off => {
                    let ring = (events.cpu, &events.clock);
                    let opened = switch_records(ring, &mut self.kinds);
                    let opened = opened.map(|switches| events.switches = Some(switches));
                    unless_off(events, opened)?;
                }
                (false, Some(_)) => events.switches = None,
                _ => {}
            }
        }
        Ok(())
    }

    /// Stops recording; what is in the rings stays there to be read.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn disable(&self) -> Result<(), Error> {
        self.each(|counter| counter.disable(), "disable an event")
    }

    /// Records switches, wakeups and stacks no more, or again; the clocks go on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn pause(&self, pauses: bool) -> Result<(), Error> {
        if !pauses {
            self.allow_stacks()?;
        }
        for events in self.cpus.iter().filter(|events| !events.is_off) {
            let stacks = self.takes_stacks().then_some(&events.stacks);
            let counters = [&events.switch, &events.waking].into_iter().chain(stacks);
            for counter in counters.chain(&events.switches) {
                let done = if pauses { counter.disable() } else { counter.enable() };
                done.map_err(event_error("pause an event", events.cpu))?;
            }
        }
        Ok(())
    }

    fn each(
        &self,
        act: impl Fn(&Counter) -> io::Result<()>,
        action: &'static str,
    ) -> Result<(), Error> {
        for events in &self.cpus {
            let counters = std::iter::once(&events.clock).chain(&events.deep);
            for counter in counters.chain([&events.switch, &events.waking, &events.stacks]) {
                act(counter).map_err(event_error(action, events.cpu))?;
            }
        }
        Ok(())
    }

    /// The clocks' files: readable when a ring has filled up by a quarter.
    pub(crate) fn files(&self) -> impl Iterator<Item = &fs::File> {
        self.cpus.iter().map(|events| events.clock.file())
    }

    /// The CPUs and their rings.
    pub(crate) fn samplers(&self) -> impl Iterator<Item = (u32, &Sampler)> {
        self.cpus.iter().map(|events| (events.cpu, &events.sampler))
    }

    /// What the event with this id records.
    pub(crate) fn kind(&self, id: u64) -> Option<Kind> {
        self.kinds.get(&id).copied()
    }
}

pub(super) fn redirect_error(cpu: u32, errno: Errno) -> Error {
    Error::Event { action: "redirect an event into the ring", cpu, errno }
}

pub(super) fn event_error(action: &'static str, cpu: u32) -> impl Fn(io::Error) -> Error {
    move |error| Error::Event { action, cpu, errno: errno_of(&error) }
}

fn switch_records(
    ring: (u32, &Counter),
    kinds: &mut FxHashMap<u64, Kind>,
) -> Result<Counter, Error> {
    let (kind, name) = (Kind::SideRecords, "switch records");
    let switches = open_into(ring, kinds, kind, name, Software::Dummy, &switch_opts())?;
    switches.enable().map_err(event_error("enable switch records", ring.0))?;
    Ok(switches)
}

pub(super) fn open_event<E>(
    name: &'static str,
    event: E,
    cpu: u32,
    opts: &Opts,
) -> Result<Counter, Error>
where
    E: TryInto<perf_event_open::event::Event, Error = io::Error>,
{
    Counter::new(event, (Proc::ALL, Cpu(cpu)), opts).map_err(|error| {
        let errno = errno_of(&error);
        Error::OpenEvent {
            event: name,
            cpu,
            errno,
            remedy: open_event_remedy(Refused::Others, errno),
        }
    })
}

/// Opens an event of a CPU whose records, of this kind, go into the ring of its clock.
fn open_into<E>(
    (cpu, clock): (u32, &Counter),
    kinds: &mut FxHashMap<u64, Kind>,
    kind: Kind,
    name: &'static str,
    event: E,
    opts: &Opts,
) -> Result<Counter, Error>
where
    E: TryInto<perf_event_open::event::Event, Error = io::Error>,
{
    let counter = open_event(name, event, cpu, opts)?;
    redirect(counter.file(), clock.file()).map_err(|errno| redirect_error(cpu, errno))?;
    learn(kinds, &counter, cpu, kind)?;
    Ok(counter)
}

/// Keeps in mind what the records of an event are.
fn learn(
    kinds: &mut FxHashMap<u64, Kind>,
    counter: &Counter,
    cpu: u32,
    kind: Kind,
) -> Result<(), Error> {
    kinds.insert(counter.id().map_err(event_error(ASK_ID, cpu))?, kind);
    Ok(())
}

impl Tracepoints {
    /// The tracepoint of a CPU for these records, which go into the ring of its clock.
    fn open(
        self,
        kinds: &mut FxHashMap<u64, Kind>,
        kind: Kind,
        stack_bytes: u32,
        ring: (u32, &Counter),
    ) -> Result<Counter, Error> {
        let (name, id) = match kind {
            Kind::Waking => (WAKING, self.waking),
            _ => (SWITCH, self.switch),
        };
        let opts = tracepoint_opts(kind, stack_bytes);
        open_into(ring, kinds, kind, name, Tracepoint { id }, &opts)
    }
}
