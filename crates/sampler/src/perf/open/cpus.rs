//! CPUs that go off and come back. The kernel takes its events from a CPU that goes,
//! and does not give them back: they are opened anew, into the ring that is there.

use std::fs;
use std::path::PathBuf;

use nix::errno::Errno;
use perf_event_open::event::sw::Software;

use super::whose::{Filters, filters};
use super::{CLOCK, CpuEvents, Rings, clock_opts, event_error, open_into};
use crate::Error;
use crate::error::errno_of;
use crate::perf::record::Kind;

impl Rings {
    /// Opens the events anew of CPUs that were off and are on again, and tells which.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn follow_cpus(&mut self) -> Result<Vec<u32>, Error> {
        let online = online_cpus()?;
        let mut back = vec![];
        for index in 0..self.cpus.len() {
            let events = &mut self.cpus[index];
            let was_off = std::mem::replace(&mut events.is_off, !online.contains(&events.cpu));
            if was_off && !events.is_off {
                let done = self.revive(index);
                unless_off(&mut self.cpus[index], done)?;
                if !self.cpus[index].is_off {
                    back.push(self.cpus[index].cpu);
                }
            }
        }
        Ok(back)
    }

    fn revive(&mut self, index: usize) -> Result<(), Error> {
        let (stack_bytes, takes_stacks) = (self.stack_bytes, self.takes_stacks());
        let events = &mut self.cpus[index];
        let cpu = events.cpu;
        let opts = clock_opts(self.frequency, self.ring_bytes, stack_bytes);
        let (ring, kinds) = ((cpu, &events.clock), &mut self.kinds);
        let clock = open_into(ring, kinds, Kind::Clock, CLOCK, Software::CpuClock, &opts)?;
        let mut open = |kind| self.tracepoints.open(kinds, kind, stack_bytes, ring);
        let waking = open(Kind::Waking)?;
        let [switch, stacks] = match &self.program {
            Some(program) => program.open_events(&mut self.kinds, ring, stack_bytes)?,
            None => [open(Kind::Switch)?, open(Kind::Stack)?],
        };
        if let Some(threads) = &self.threads {
            let Filters { left, woken } = filters(threads);
            let fail = event_error("filter an event", cpu);
            if self.program.is_none() {
                stacks.with_ftrace_filter(&left).map_err(&fail)?;
            }
            waking.with_ftrace_filter(&woken).map_err(&fail)?;
        }
        let counters = [&clock, &switch, &waking].into_iter();
        for counter in counters.chain(takes_stacks.then_some(&stacks)) {
            counter.enable().map_err(event_error("enable an event", cpu))?;
        }
        // The first clock holds the ring, and tells no more.
        events.deep = Some(clock);
        (events.switch, events.waking, events.stacks) = (switch, waking, stacks);
        events.switches = None;
        Ok(())
    }
}

/// That a CPU has gone off meanwhile is no error.
pub(super) fn unless_off(events: &mut CpuEvents, done: Result<(), Error>) -> Result<(), Error> {
    match done {
        Err(Error::OpenEvent { errno: Errno::ENODEV, .. }) => {
            events.is_off = true;
            Ok(())
        }
        done => done,
    }
}

/// The numbers of the CPUs that are online: `0-3,8`.
pub(in crate::perf) fn online_cpus() -> Result<Vec<u32>, Error> {
    let path = PathBuf::from("/sys/devices/system/cpu/online");
    let text =
        fs::read_to_string(&path).map_err(|error| Error::Proc { path, errno: errno_of(&error) })?;
    Ok(crate::proc::cpu_list(text.trim()).iter().map(|cpu| cpu.0).collect())
}
