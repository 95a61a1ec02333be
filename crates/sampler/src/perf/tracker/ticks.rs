//! Time in the kernel, told from what is missing. A clock without privilege
//! says nothing when it fires there; but it fires evenly over the time that a
//! thread has the CPU, so that a tick that was due and did not come is one that
//! fell into the kernel.

use rustc_hash::FxHashMap;
use whyslow_events::{Cpu, Event, Tid};

use super::Tracker;

/// A thread that leaves and the next that comes may exchange their clocks, if
/// no more lies between, ns.
const EXCHANGE: u64 = 20_000;

/// What is left on the clocks of one thread until their next ticks, by CPU.
#[derive(Debug, Default)]
pub(super) struct Left(Vec<(u32, u64)>);

impl Left {
    fn on(&self, cpu: u32, period: u64) -> u64 {
        self.0.iter().find(|(of, _)| *of == cpu).map_or(period, |(_, left)| *left)
    }

    fn put(&mut self, cpu: u32, left: u64) {
        match self.0.iter_mut().find(|(of, _)| *of == cpu) {
            Some((_, place)) => *place = left,
            None => self.0.push((cpu, left)),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum OnCpu {
    /// It runs, and its next tick is due then.
    Runs { tid: Tid, due: u64 },
    /// It has left, then.
    Gone { tid: Tid, at: u64 },
}

/// The clocks that run.
#[derive(Debug)]
pub(super) struct Ticks {
    period: u64,
    cpus: FxHashMap<u32, OnCpu>,
}

impl Ticks {
    pub(super) fn new(frequency: u32) -> Self {
        Ticks { period: 1_000_000_000 / u64::from(frequency.max(1)), cpus: FxHashMap::default() }
    }

    /// A tick that is later than this is missing.
    fn slack(&self) -> u64 {
        self.period / 2
    }

    /// The clock of `tid` ended with it: its number may soon be another's.
    pub(super) fn end(&mut self, tid: Tid) {
        self.cpus.retain(|_, on_cpu| !matches!(on_cpu, OnCpu::Runs { tid: of, .. } if *of == tid));
    }

    /// No clock is heard any more.
    pub(super) fn end_all(&mut self) {
        self.cpus.clear();
    }

    /// The thread and CPU of the earliest tick that has not come by `time`, and
    /// when that was certain.
    fn take_missing(&mut self, time: u64) -> Option<(Tid, u32, u64)> {
        let (period, slack) = (self.period, self.slack());
        let late = self.cpus.iter_mut().filter_map(|(cpu, on_cpu)| match on_cpu {
            OnCpu::Runs { tid, due } if due.saturating_add(slack) < time => Some((*cpu, *tid, due)),
            _ => None,
        });
        let (cpu, tid, due) = late.min_by_key(|(cpu, _, due)| (**due, *cpu))?;
        let certain = *due + slack;
        *due += period;
        Some((tid, cpu, certain))
    }
}

impl Tracker {
    /// Reports the ticks that are missing by `time`.
    pub(super) fn miss_ticks(&mut self, time: u64) {
        while let Some(ticks) = self.ticks.as_mut()
            && let Some((tid, cpu, certain)) = ticks.take_missing(time)
        {
            if certain >= self.start && self.threads.contains_key(&tid) {
                let cpu = Cpu(cpu);
                self.emit(certain, Event::Sample { tid, cpu, kernel: true, stack: None });
            }
        }
    }

    /// The clock of `tid` has fired in user code.
    pub(super) fn ticked(&mut self, time: u64, cpu: u32, tid: Tid) {
        if let Some(ticks) = &mut self.ticks {
            let due = time.saturating_add(ticks.period);
            ticks.cpus.insert(cpu, OnCpu::Runs { tid, due });
        }
    }

    /// The clock of `tid` goes on.
    pub(super) fn start_clock(&mut self, time: u64, cpu: u32, tid: Tid) {
        let Some(ticks) = &mut self.ticks else { return };
        let period = ticks.period;
        let left_of = |thread: Option<&super::Thread>| {
            thread.map_or(period, |thread| thread.left_on_clock.on(cpu, period))
        };
        let mut left = left_of(self.threads.get(&tid));
        if let Some(OnCpu::Gone { tid: before, at }) = ticks.cpus.get(&cpu)
            && *before != tid
            && time.saturating_sub(*at) <= EXCHANGE
        {
            left = left.max(left_of(self.threads.get(before)));
            if let Some(thread) = self.threads.get_mut(before) {
                thread.left_on_clock.put(cpu, left);
            }
        }
        ticks.cpus.insert(cpu, OnCpu::Runs { tid, due: time.saturating_add(left) });
    }

    /// The clock of `tid` stands still.
    pub(super) fn stop_clock(&mut self, time: u64, cpu: u32, tid: Tid) {
        let Some(ticks) = &mut self.ticks else { return };
        let gone = OnCpu::Gone { tid, at: time };
        if let Some(OnCpu::Runs { tid: running, due }) = ticks.cpus.insert(cpu, gone)
            && running == tid
            && let Some(thread) = self.threads.get_mut(&tid)
        {
            thread.left_on_clock.put(cpu, due.saturating_sub(time));
        }
    }
}
