//! Events without privilege: of the target's own threads alone, each with a
//! clock in user code that also tells of its switches.
//!
//! An event of a thread that is to be inherited has a ring only for one CPU at a
//! time, so there is one for each thread and CPU. What they record goes to one
//! ring per CPU, which an event of our own holds: those of the target end with
//! their threads. Children inherit, so that a launched command needs one event
//! per CPU, and a running one as many as it has threads.

use std::fs::{self, File};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use perf_event_open::config::{
    CallChain, Cpu, ExtraRecord, Inherit, Mmap, Opts, Priv, Proc, SampleFormat, SampleOn, WakeUp,
    WakeUpOn,
};
use perf_event_open::count::Counter;
use perf_event_open::event::sw::Software;
use perf_event_open::sample::Sampler;
use rustc_hash::FxHashMap;
use whyslow_events::{Fallback, SystemFacts};

use super::open::{
    CALL_CHAIN, SMALLEST_RING_BYTES, common_opts, event_error, online_cpus, redirect_error,
    user_stack,
};
use super::record::Kind;
use crate::Error;
use crate::error::errno_of;
use crate::preflight::{Refused, open_event_remedy};
use crate::sys::redirect;

/// Ring memory of one CPU at most: what is recorded without privilege is less.
const RING_BYTES: u64 = 8 << 20;
/// Locked memory that the kernel allows per CPU by default, KiB
/// (`kernel.perf_event_mlock_kb`).
const MLOCK_KIB: u64 = 516;
/// Files that we open besides events.
const OTHER_FILES: u64 = 256;

/// The ring of one CPU, and the event of ours that holds it.
struct Ring {
    cpu: u32,
    holder: Counter,
    sampler: Sampler,
}

/// The rings of all CPUs, and the events of the target's threads.
pub(crate) struct TaskRings {
    rings: Vec<Ring>,
    events: Vec<Counter>,
    /// Where recording may pause, those that tell of births and ends, and do so all the time.
    lives: Vec<Counter>,
    /// There is one for each of the others.
    pub(super) may_pause: bool,
    kinds: FxHashMap<u64, Kind>,
    opts: Opts,
    /// What the host did not allow.
    pub(super) fallbacks: Vec<Fallback>,
}

impl TaskRings {
    /// Maps the rings, for events that are opened later: a clock at `frequency`
    /// a second with up to `stack_bytes` of user stack. `refused` is why the
    /// events of the whole machine cannot be had.
    ///
    /// # Errors
    /// When there are no perf events at all for us on this host.
    pub(crate) fn open(
        facts: SystemFacts,
        frequency: u32,
        stack_bytes: u32,
        refused: &Error,
    ) -> Result<TaskRings, Error> {
        let cpus = online_cpus()?;
        let mut bytes = fair_share(cpus.len() as u64, facts.page_size);
        let mut rings = vec![];
        for cpu in cpus {
            let opts = holder_opts(bytes);
            let holder = Counter::new(Software::Dummy, (Proc::CURRENT, Cpu(cpu)), &opts)
                .map_err(|error| no_perf(errno_of(&error)))?;
            let sampler = map(&holder, cpu, &mut bytes, facts.page_size)?;
            rings.push(Ring { cpu, holder, sampler });
        }
        Ok(TaskRings {
            rings,
            events: vec![],
            lives: vec![],
            may_pause: false,
            kinds: FxHashMap::default(),
            opts: event_opts(frequency, stack_bytes),
            fallbacks: vec![fallback(refused)],
        })
    }

    /// Records these threads and what they start from now on. Those that have
    /// ended meanwhile are left out.
    ///
    /// # Errors
    /// When there are too many, or they are not ours to look at.
    pub(crate) fn follow(&mut self, tids: &[u32]) -> Result<(), Error> {
        let wanted = (self.events.len() + tids.len() * self.rings.len()) as u64;
        self.may_pause = self.may_pause && allow_files(2 * wanted).is_ok();
        allow_files(wanted)?;
        let rest = if self.may_pause { ExtraRecord::default() } else { lives() };
        self.opts.extra_record = ExtraRecord { ctx_switch: true, ..rest };
        let Self { rings, kinds, events, lives, .. } = self;
        if self.may_pause {
            let opts = lives_opts();
            let open = |tid| open(Software::Dummy, tid, rings, &opts, (Kind::SideRecords, kinds));
            tids.iter().copied().map(open).try_for_each(|new| new.map(|new| lives.extend(new)))?;
        }
        let open = |tid| open(Software::CpuClock, tid, rings, &self.opts, (Kind::Clock, kinds));
        tids.iter().copied().map(open).try_for_each(|new| new.map(|new| events.extend(new)))
    }

    /// Records switches no more, nor clocks, or again. Births and ends are told all the time.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn pause(&self, pauses: bool) -> Result<(), Error> {
        let turn = |event: &Counter| if pauses { event.disable() } else { event.enable() };
        self.events.iter().try_for_each(turn).map_err(event_error("pause an event", 0))
    }

    /// Stops recording; what is in the rings stays there to be read.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn disable(&self) -> Result<(), Error> {
        let disable = |event: &Counter| event.disable().map_err(event_error("disable an event", 0));
        self.events.iter().chain(&self.lives).try_for_each(disable)
    }

    /// The files of the rings.
    pub(super) fn files(&self) -> impl Iterator<Item = &File> {
        self.rings.iter().map(|ring| ring.holder.file())
    }

    /// The CPUs and their rings.
    pub(super) fn samplers(&self) -> impl Iterator<Item = (u32, &Sampler)> {
        self.rings.iter().map(|ring| (ring.cpu, &ring.sampler))
    }

    /// What the event with this id records.
    pub(super) fn kind(&self, id: u64) -> Option<Kind> {
        self.kinds.get(&id).copied()
    }
}

/// An event of a thread on each CPU, or on none any more when the thread has ended, and what
/// their records are.
fn open(
    event: Software,
    tid: u32,
    rings: &[Ring],
    opts: &Opts,
    (kind, kinds): (Kind, &mut FxHashMap<u64, Kind>),
) -> Result<Vec<Counter>, Error> {
    let mut opened = vec![];
    for ring in rings {
        let cpu = ring.cpu;
        let counter = match Counter::new(event, (Proc(tid), Cpu(cpu)), opts) {
            Ok(counter) => counter,
            Err(error) if errno_of(&error) == Errno::ESRCH => break,
            Err(error) => {
                let errno = errno_of(&error);
                let remedy = open_event_remedy(Refused::Others, errno);
                return Err(Error::OpenEvent { event: "a thread's clock", cpu, errno, remedy });
            }
        };
        redirect(counter.file(), ring.holder.file()).map_err(|errno| redirect_error(cpu, errno))?;
        let id = counter.id().map_err(event_error("ask for the id of an event", cpu))?;
        kinds.insert(id, kind);
        opened.push(counter);
    }
    Ok(opened)
}

/// Raises our own limit of open files, as far as we may, to `events` and what
/// else we open.
fn allow_files(events: u64) -> Result<(), Error> {
    let wanted = events + OTHER_FILES;
    let limits = |errno| Error::System { action: "ask for the limit of open files", errno };
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(limits)?;
    if wanted > hard {
        return Err(Error::TooManyThreads { wanted, limit: hard });
    }
    if wanted > soft {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).map_err(limits)?;
    }
    Ok(())
}

/// What each ring may have of the memory that the kernel lets us lock.
fn fair_share(cpus: u64, page_size: u64) -> u64 {
    let per_cpu = fs::read_to_string("/proc/sys/kernel/perf_event_mlock_kb")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(MLOCK_KIB);
    let own = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft);
    ring_bytes(per_cpu << 10, own / cpus.max(1), page_size)
}

/// The largest power of two that leaves room for the page in front of a ring.
fn ring_bytes(per_cpu: u64, own: u64, page_size: u64) -> u64 {
    let room = per_cpu.saturating_add(own).saturating_sub(page_size);
    let room = room.clamp(SMALLEST_RING_BYTES, RING_BYTES);
    1 << room.ilog2()
}

/// Maps a ring, smaller when other recordings of ours have used up what we may lock.
fn map(holder: &Counter, cpu: u32, bytes: &mut u64, page_size: u64) -> Result<Sampler, Error> {
    loop {
        let exponent = (*bytes / page_size).max(1).ilog2();
        match holder.sampler(u8::try_from(exponent).expect("a logarithm of a u64 fits")) {
            Ok(sampler) => return Ok(sampler),
            Err(_) if *bytes > SMALLEST_RING_BYTES => *bytes /= 2,
            Err(error) => {
                return Err(Error::MapRing { cpu, kib: *bytes >> 10, errno: errno_of(&error) });
            }
        }
    }
}

fn no_perf(errno: Errno) -> Error {
    Error::NoPerf { errno, remedy: open_event_remedy(Refused::All, errno) }
}

fn fallback(refused: &Error) -> Fallback {
    let errno = refused.errno();
    let errno = errno.map_or_else(|| Fallback::NO_ERROR.to_owned(), |errno| format!("{errno:?}"));
    Fallback {
        wanted: "system-wide scheduler events".to_owned(),
        got: "own threads' switch records: no wakeups, no neighbours, no kernel frames; \
              causes by looking at blocked threads"
            .to_owned(),
        errno,
        remedy: refused.remedy().unwrap_or_default(),
    }
}

fn user_code() -> Priv {
    Priv { kernel: true, hv: true, ..Priv::default() }
}

pub(super) fn holder_opts(ring_bytes: u64) -> Opts {
    let on = WakeUpOn::Bytes(u32::try_from(ring_bytes / 4).unwrap_or(u32::MAX));
    Opts { exclude: user_code(), wake_up: WakeUp { on, ..WakeUp::default() }, ..common_opts() }
}

pub(super) fn event_opts(frequency: u32, stack_bytes: u32) -> Opts {
    let chain = CallChain { exclude_kernel: true, ..CALL_CHAIN };
    Opts {
        exclude: user_code(),
        inherit: Some(Inherit::NewChild),
        enable: true,
        sample_on: SampleOn::Freq(frequency.into()),
        sample_format: SampleFormat { call_chain: Some(chain), ..user_stack(stack_bytes) },
        extra_record: ExtraRecord { ctx_switch: true, ..lives() },
        ..common_opts()
    }
}

/// What an event tells that hears of no switches.
fn lives_opts() -> Opts {
    Opts {
        exclude: user_code(),
        inherit: Some(Inherit::NewChild),
        enable: true,
        extra_record: lives(),
        ..common_opts()
    }
}

fn lives() -> ExtraRecord {
    let ext = Some(perf_event_open::config::UseBuildId(false));
    ExtraRecord {
        task: true,
        comm: true,
        mmap: Mmap { code: true, data: false, ext },
        ..ExtraRecord::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_and_its_first_page_fit_into_what_may_be_locked() {
        let page = 1 << 12;
        assert_eq!(ring_bytes(MLOCK_KIB << 10, 0, page), 512 << 10);
        assert_eq!(ring_bytes((MLOCK_KIB << 10) - 1, 0, page), 256 << 10);
        assert_eq!(ring_bytes(MLOCK_KIB << 10, u64::MAX, page), RING_BYTES);
        assert_eq!(ring_bytes(0, 0, page), SMALLEST_RING_BYTES);
    }
}
