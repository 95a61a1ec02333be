//! What the rings do not tell and `/proc` does, read now and then: affinities,
//! quotas, memory, and the kernel's own count of CPU time.

use std::collections::{HashMap, HashSet};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd;
use whyslow_events::{Event, Pid, Tid};

use super::now;
use crate::Error;
use crate::perf::Tracker;
use crate::proc::{Counted, CpuCount, Memory, Proc, Quota, affinity};

/// Time between two readings, ns.
const INTERVAL: u64 = 100_000_000;
/// From this age in the recording on, the memory of a process is worth a look:
/// its program is loaded, and has begun to work.
const GROWN: u64 = 250_000_000;
/// Threads and processes read each time at most.
const THREADS: usize = 64;
const PROCESSES: usize = 16;
/// Threads read at the end of a pause at most, some 5 µs each, and of these such as have not
/// moved in the stretch before.
const THREADS_IN_PAUSE: usize = 256;
const RESTING: usize = THREADS_IN_PAUSE / 4;
/// How often a count is read that changes meanwhile.
const TRIES: usize = 3;

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    last: u64,
    /// When the first reading was due.
    first: Option<u64>,
    /// When each thread was read within the window.
    read: HashMap<Tid, u64>,
    /// Of how many threads the next reading passes over the first.
    turn: usize,
    quotas: HashMap<Pid, Quota>,
    /// When a process was first seen; `None` once its memory was read.
    young: HashMap<Pid, Option<u64>>,
    /// What was counted before the window.
    counted_before: HashMap<Tid, Counted>,
    /// Threads whose affinity was read.
    placed: HashSet<Tid>,
    /// What was counted of each thread at the end of the last pause in which it was read.
    in_pauses: HashMap<Tid, u64>,
    /// Those that had run since then, and those that had not.
    moved: Vec<Tid>,
    resting: HashSet<Tid>,
}

impl Upkeep {
    /// Remembers what was counted of a thread when it was found.
    pub(super) fn begin(&mut self, proc: &Proc, pid: u32, tid: u32) {
        if let Some(counted) = proc.cpu_count(pid, tid).and_then(|count| count.read()) {
            self.counted_before.insert(Tid(tid), counted);
        }
    }

    /// Remembers the same of a thread when the window has begun, and what it is then
    /// counted from: of many threads the last is read long after the first.
    ///
    /// # Errors
    /// When the clock cannot be read.
    pub(super) fn begin_within(
        &mut self,
        proc: &Proc,
        tracker: &mut Tracker,
        tid: Tid,
        pid: Pid,
    ) -> Result<(), Error> {
        let Some(count) = proc.cpu_count(pid.0, tid.0) else { return Ok(()) };
        if let Some(counted) = count.read() {
            self.counted_before.insert(tid, counted);
            self.note(&count, tracker, tid)?;
            self.read.insert(tid, now()?);
        }
        Ok(())
    }

    /// CPU time that a thread had when it was found; nothing when it was not
    /// there at the start.
    pub(super) fn before(&self, tid: Tid) -> u64 {
        self.counted_before.get(&tid).map_or(0, |counted| counted.cpu_ns)
    }

    /// Reads what is due at `now`.
    ///
    /// # Errors
    /// When the clock cannot be read.
    pub(super) fn round(&mut self, proc: &Proc, tracker: &mut Tracker) -> Result<(), Error> {
        let due = now()?;
        // At first in every round: the count can correct nothing before a
        // reading finds the thread off the CPU.
        let eager = due.saturating_sub(*self.first.get_or_insert(due)) < INTERVAL;
        if !eager && due.saturating_sub(self.last) < INTERVAL {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.last, due);
        let grown = self.young.values().all(Option::is_none);
        // What is asked for below changes with what the target does.
        if !eager && grown && tracker.is_still() && tracker.last_event() < before {
            return Ok(());
        }
        self.read(proc, tracker, due)
    }

    /// Reads all at `due`: in a pause nothing tells that the target did nothing.
    ///
    /// # Errors
    /// When the clock cannot be read.
    pub(super) fn read(
        &mut self,
        proc: &Proc,
        tracker: &mut Tracker,
        due: u64,
    ) -> Result<(), Error> {
        self.last = due;
        self.read_threads(proc, tracker)?;
        let processes: Vec<Pid> = tracker.processes().take(PROCESSES).collect();
        for pid in processes {
            if let Some(quota) = proc.quota(pid.0) {
                let time = now()?;
                let news = quota.news(pid, &mut self.quotas);
                news.into_iter().for_each(|event| tracker.note_at(time, event));
            }
            let seen = self.young.entry(pid).or_insert(Some(due));
            if seen.is_some_and(|seen| due.saturating_sub(seen) >= GROWN)
                && let Some(Memory { resident_bytes, share_bytes }) = proc.memory(pid.0)
            {
                *seen = None;
                tracker.note_at(now()?, Event::Memory { pid, resident_bytes, share_bytes });
            }
        }
        Ok(())
    }

    /// Reads the threads that were never read.
    ///
    /// # Errors
    /// When the clock cannot be read.
    pub(super) fn read_newcomers(
        &mut self,
        proc: &Proc,
        tracker: &mut Tracker,
    ) -> Result<(), Error> {
        let threads = tracker.threads().filter(|(tid, _)| !self.read.contains_key(tid));
        let newcomers: Vec<(Tid, Pid)> = threads.take(THREADS_IN_PAUSE).collect();
        newcomers.into_iter().try_for_each(|(tid, pid)| self.read_one(proc, tracker, tid, pid))
    }

    /// Reads where a thread may run, and what was counted of it.
    fn read_one(
        &mut self,
        proc: &Proc,
        tracker: &mut Tracker,
        tid: Tid,
        pid: Pid,
    ) -> Result<(), Error> {
        let due = now()?;
        if let Some(cpus) = affinity(tid.0) {
            tracker.affinity(tid, cpus, due);
        }
        self.placed.insert(tid);
        self.count(proc, tracker, tid, pid)?;
        self.read.insert(tid, due);
        Ok(())
    }

    /// The threads that were counted in a pause, and have run since they were before.
    pub(super) fn take_moved(&mut self) -> Vec<Tid> {
        std::mem::take(&mut self.moved)
    }

    /// Reads threads that have moved since they were read, each in its turn, and
    /// then others whose affinity is not known.
    fn read_threads(&mut self, proc: &Proc, tracker: &mut Tracker) -> Result<(), Error> {
        let paused = tracker.paused();
        let moved = |tid: Tid| match (self.read.get(&tid), tracker.rests_since(tid)) {
            // It may have run unheard, but had not when it was counted last.
            (Some(read), _) if paused && self.resting.contains(&tid) => {
                tracker.ran_since(tid, *read)
            }
            (Some(read), Some(since)) => since > *read,
            _ => true,
        };
        let (mut threads, mut rest): (Vec<_>, Vec<_>) =
            tracker.threads().partition(|(tid, _)| moved(*tid));
        let turn = if self.turn < threads.len() { self.turn } else { 0 };
        let (moving, most) = match paused {
            true => (THREADS_IN_PAUSE - RESTING, THREADS_IN_PAUSE),
            false => (THREADS, THREADS),
        };
        self.turn = turn + moving;
        threads.rotate_left(turn);
        threads.truncate(moving);
        if paused {
            // Those may have moved, too, each in its turn.
            rest.sort_unstable_by_key(|(tid, _)| self.read.get(tid).copied());
        } else {
            rest.retain(|(tid, _)| !self.placed.contains(tid));
        }
        threads.extend(rest);
        for (tid, pid) in threads.into_iter().take(most) {
            self.read_one(proc, tracker, tid, pid)?;
        }
        if self.read.len().max(self.placed.len()) > 2 * tracker.threads().len() {
            self.read.retain(|tid, _| tracker.lives(*tid));
            self.placed.retain(|tid| tracker.lives(*tid));
            self.in_pauses.retain(|tid, _| tracker.lives(*tid));
            self.resting.retain(|tid| tracker.lives(*tid));
        }
        Ok(())
    }

    /// Reads the CPU time of every thread once more.
    ///
    /// # Errors
    /// When the clock cannot be read.
    pub(super) fn last_counts(&mut self, proc: &Proc, tracker: &mut Tracker) -> Result<(), Error> {
        let threads: Vec<(Tid, Pid)> = tracker.threads().collect();
        threads.into_iter().try_for_each(|(tid, pid)| self.count(proc, tracker, tid, pid))
    }

    /// Notes the kernel's count of CPU time within the window for one thread.
    fn count(
        &mut self,
        proc: &Proc,
        tracker: &mut Tracker,
        tid: Tid,
        pid: Pid,
    ) -> Result<(), Error> {
        match proc.cpu_count(pid.0, tid.0) {
            Some(count) => self.note(&count, tracker, tid)?,
            None if is_gone(tid) => tracker.found_gone(now()?, tid),
            None => {}
        }
        Ok(())
    }

    /// The same number before and after the time of the note is what it was
    /// then, if the thread was off the CPU. Where recording pauses nobody can tell whether it was.
    fn note(&mut self, count: &CpuCount, tracker: &mut Tracker, tid: Tid) -> Result<(), Error> {
        let before = self.counted_before.get(&tid).copied().unwrap_or_default();
        for _ in 0..TRIES {
            let read = count.read();
            let time = now()?;
            if let Some(counted) = read.filter(|_| tracker.has_paused() || read == count.read()) {
                let cpu_ns = counted.cpu_ns.saturating_sub(before.cpu_ns);
                tracker.note_at(time, Event::KernelCpu { tid: Some(tid), cpu_ns });
                let delay_ns = counted.delay_ns.saturating_sub(before.delay_ns);
                tracker.note_run_delay(time, tid, delay_ns);
                if tracker.paused() {
                    if self.in_pauses.insert(tid, cpu_ns) == Some(cpu_ns) {
                        self.resting.insert(tid);
                    } else {
                        self.resting.remove(&tid);
                        self.moved.push(tid);
                    }
                }
                break;
            }
        }
        Ok(())
    }
}

/// Whether there is no such thread any more. One that hides has no files either.
fn is_gone(tid: Tid) -> bool {
    let tid = i32::try_from(tid.0).map(unistd::Pid::from_raw);
    tid.is_ok_and(|tid| kill(tid, None) == Err(Errno::ESRCH))
}
