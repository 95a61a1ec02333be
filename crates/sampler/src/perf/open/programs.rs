//! Programs of ours that tell of switches and wakeups in place of the tracepoints, where the
//! kernel runs them.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use perf_event_open::count::Counter;
use perf_event_open::event::sw::Software;
use rustc_hash::FxHashMap;
use whyslow_events::Fallback;

use super::opts::told_opts;
use super::program::{at_switch, at_wakeup};
use super::types::{Types, kernel_types};
use super::{Rings, learn, open_event, redirect_error};
use crate::Error;
use crate::error::errno_of;
use crate::perf::record::Kind;
use crate::perf::threads::Threads;
use crate::sys::{enter_event, event_table, redirect, run_at};

/// The kernel's description of its types.
const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// The programs, which run as long as this lives, and where they write to.
pub(super) struct Programs {
    types: Types,
    /// The event of each CPU.
    table: OwnedFd,
    at_wakeup: OwnedFd,
    _at_switch: OwnedFd,
}

impl Programs {
    /// Starts them on all CPUs, of which there are so many at most. Who takes stacks at
    /// switches opens that event first: a tracepoint hands a switch to whoever came first.
    fn start(cpus: u32, threads: &Threads) -> nix::Result<Programs> {
        let description = fs::read(TYPES).map_err(|error| errno_of(&error))?;
        let types = kernel_types(&description).ok_or(Errno::ENOENT)?;
        let table = event_table(cpus)?;
        let at_switch = run_at(types.switch, &at_switch(&types, table.as_raw_fd()))?;
        let at_wakeup = run_at(types.waking, &at_wakeup(&types, threads, table.as_raw_fd()))?;
        Ok(Programs { types, table, at_wakeup, _at_switch: at_switch })
    }

    /// Tells of the wakeups of these threads from now on, and of no other. One that the old
    /// program and the new one tell of is told twice.
    pub(super) fn tell_of(&mut self, threads: &Threads) -> nix::Result<()> {
        let program = at_wakeup(&self.types, threads, self.table.as_raw_fd());
        self.at_wakeup = run_at(self.types.waking, &program)?;
        Ok(())
    }

    /// The event into which they write on a CPU, disabled; its records go into the ring of
    /// the clock.
    pub(super) fn open_event(
        &self,
        kinds: &mut FxHashMap<u64, Kind>,
        (cpu, clock): (u32, &Counter),
    ) -> Result<Counter, Error> {
        let counter = open_event("bpf-output", Software::BpfOutput, cpu, &told_opts())?;
        redirect(counter.file(), clock.file()).map_err(|errno| redirect_error(cpu, errno))?;
        learn(kinds, &counter, cpu, Kind::Told)?;
        enter_event(self.table.as_fd(), cpu, counter.file()).map_err(|errno| Error::Event {
            action: "hand an event to a program",
            cpu,
            errno,
        })?;
        Ok(counter)
    }
}

impl Rings {
    /// Has programs tell of switches, and of the wakeups of these threads. Where the kernel
    /// does not run them the tracepoints tell the same.
    pub(super) fn prefer_programs(&mut self, threads: &Threads) {
        if let Err(errno) = self.start_programs(threads) {
            self.fallbacks.push(Fallback {
                wanted: "programs at sched_switch and sched_waking".to_owned(),
                got: "tracepoints, at twice the cost".to_owned(),
                errno: format!("{errno:?}"),
                remedy: remedy(errno).to_owned(),
            });
        }
    }

    fn start_programs(&mut self, threads: &Threads) -> Result<(), Errno> {
        let last = self.cpus.iter().map(|events| events.cpu).max().unwrap_or(0);
        let programs = Programs::start(last + 1, threads)?;
        let kinds = &mut self.kinds;
        let counters: Result<Vec<Counter>, Error> = self
            .cpus
            .iter()
            .map(|events| programs.open_event(kinds, (events.cpu, &events.clock)))
            .collect();
        let counters = counters.map_err(|error| error.errno().unwrap_or(Errno::EIO))?;
        for (events, counter) in self.cpus.iter_mut().zip(counters) {
            events.switch = counter;
            events.waking = None;
        }
        self.programs = Some(programs);
        Ok(())
    }
}

fn remedy(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM | Errno::EACCES => "run as root, or with CAP_BPF and CAP_PERFMON",
        _ => "a kernel that describes its types (CONFIG_DEBUG_INFO_BTF), 5.18 or later",
    }
}
