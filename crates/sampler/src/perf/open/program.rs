//! A program of ours that tells of switches in place of the tracepoint, where the kernel
//! runs it.

mod code;
mod machine;
mod stacks;
mod tally;
mod types;

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use perf_event_open::config::{Opts, SampleOn};
use perf_event_open::count::Counter;
use perf_event_open::event::sw::Software;
use rustc_hash::FxHashMap;
use whyslow_events::{Fallback, SystemFacts};

use self::stacks::Stacks;
use self::tally::Tables;
pub(crate) use self::types::kernel_types;
use super::opts::tracepoint_opts;
use super::{Rings, SMALLEST_RING_BYTES, online_cpus, open_event, open_into};
use crate::Error;
use crate::error::errno_of;
use crate::perf::record::Kind;
use crate::perf::tally::Tally;
use crate::preflight::run_program_remedy;
use crate::stir::stir;
use crate::sys::{enter_event, event_table, run_at};

/// What the events are called into which it writes.
const OUTPUT: &str = "bpf-output";

/// The kernel's description of its types.
const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// The program, which runs as long as this lives, and where it writes to.
pub(super) struct Program {
    /// The event of each CPU.
    table: OwnedFd,
    pub(super) stacks: Stacks,
    /// What it keeps while nothing is told, if that is ever so.
    tables: Option<Tables>,
    _at_switch: OwnedFd,
}

impl Program {
    /// Starts it on all CPUs, of which there are so many at most; recording `may_pause`.
    fn start(cpus: u32, may_pause: bool) -> nix::Result<Program> {
        let description = fs::read(TYPES).map_err(|error| errno_of(&error))?;
        let types = kernel_types(&description).ok_or(Errno::ENOENT)?;
        let (table, stacks) = (event_table(cpus)?, Stacks::new(cpus)?);
        let tables = if may_pause { Some(Tables::new()?) } else { None };
        let mut code = code::begin().to_vec();
        if let Some(tables) = &tables {
            code.extend(tally::or_else(&types, tables));
        }
        // A stack stands before its switch.
        code.extend(stacks::take(&types, &stacks));
        code.extend(code::tell(&types, table.as_raw_fd()));
        let at_switch = run_at(types.switch, &code)?;
        Ok(Program { table, stacks, tables, _at_switch: at_switch })
    }

    /// The events with which it tells of switches on a CPU and takes so much of the stacks,
    /// disabled; their records go into the ring of the clock.
    pub(super) fn open_events(
        &self,
        kinds: &mut FxHashMap<u64, Kind>,
        ring: (u32, &Counter),
        stack_bytes: u32,
    ) -> Result<[Counter; 2], Error> {
        let mut open = |kind| {
            let always = SampleOn::Count(1);
            let opts = Opts { sample_on: always, ..tracepoint_opts(kind, stack_bytes) };
            open_into(ring, kinds, kind, OUTPUT, Software::BpfOutput, &opts)
        };
        let cpu = ring.0;
        let (told, stack) = (open(Kind::Told)?, open(Kind::Stack)?);
        let entered = enter_event(self.table.as_fd(), cpu, told.file())
            .and_then(|()| self.stacks.take_with(cpu, &stack));
        let action = "hand an event to a program";
        entered.map_err(|errno| Error::Event { action, cpu, errno })?;
        Ok([told, stack])
    }
}

/// Whether the kernel runs the program, and what it writes arrives: on one CPU, for a moment.
///
/// # Errors
/// `ENODATA` when a switch was not told of; else what the kernel says.
pub(in crate::perf) fn try_program(facts: SystemFacts) -> nix::Result<()> {
    let cpus = online_cpus().map_err(|error| error.errno().unwrap_or(Errno::EIO))?;
    let cpu = cpus.first().copied().unwrap_or(0);
    let program = Program::start(cpus.last().map_or(1, |last| last + 1), false)?;
    let event = open_event(OUTPUT, Software::BpfOutput, cpu, &tracepoint_opts(Kind::Told, 0))
        .map_err(|error| error.errno().unwrap_or(Errno::EIO))?;
    let exponent = (SMALLEST_RING_BYTES / facts.page_size).max(1).ilog2();
    let exponent = u8::try_from(exponent).expect("a logarithm of a u64 fits");
    let ring = event.sampler(exponent).map_err(|error| errno_of(&error))?;
    enter_event(program.table.as_fd(), cpu, event.file())?;
    event.enable().map_err(|error| errno_of(&error))?;
    stir(cpu);
    let told = ring.iter().is_some_and(|iter| iter.into_cow().lending_next().is_some());
    if told { Ok(()) } else { Err(Errno::ENODATA) }
}

impl Rings {
    /// Has the program tell of switches. Where the kernel does not run it the tracepoint
    /// tells the same.
    pub(super) fn prefer_program(&mut self, may_pause: bool) {
        if let Err(errno) = self.start_program(may_pause) {
            self.fallbacks.push(Fallback {
                wanted: "a program at sched_switch".to_owned(),
                got: "the tracepoint, which costs more".to_owned(),
                errno: format!("{errno:?}"),
                remedy: run_program_remedy(errno),
            });
        }
    }

    /// Tallies the switches of these threads from `now` on; whether that can be.
    pub(crate) fn begin_tally(&self, now: u64, tids: impl Iterator<Item = u32>) -> bool {
        let tables = self.program.as_ref().and_then(|program| program.tables.as_ref());
        tables.is_some_and(|tables| tables.begin(now, tids).is_ok())
    }

    /// What was tallied by `now`, while it goes on.
    pub(crate) fn read_tally(&self, now: u64) -> Option<Tally> {
        self.program.as_ref()?.tables.as_ref()?.read(now).ok()
    }

    /// What was tallied by `now`. It ends with this.
    pub(crate) fn end_tally(&self, now: u64) -> Option<Tally> {
        self.program.as_ref()?.tables.as_ref()?.end(now).ok()
    }

    fn start_program(&mut self, may_pause: bool) -> Result<(), Errno> {
        let last = self.cpus.iter().map(|events| events.cpu).max().unwrap_or(0);
        let program = Program::start(last + 1, may_pause)?;
        let kinds = &mut self.kinds;
        let mut open = |cpu, clock| program.open_events(kinds, (cpu, clock), self.stack_bytes);
        let counters: Result<Vec<[Counter; 2]>, Error> =
            self.cpus.iter().map(|events| open(events.cpu, &events.clock)).collect();
        let counters = counters.map_err(|error| error.errno().unwrap_or(Errno::EIO))?;
        for (events, [switch, stacks]) in self.cpus.iter_mut().zip(counters) {
            (events.switch, events.stacks) = (switch, stacks);
        }
        self.program = Some(program);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_takes_the_program() {
        for may_pause in [false, true] {
            match Program::start(1, may_pause) {
                Ok(_) => {}
                // No privilege, or no description of the kernel's types.
                Err(errno @ (Errno::EPERM | Errno::ENOENT)) => {
                    println!("SKIP the_kernel_takes_the_program: {errno}");
                }
                Err(errno) => panic!("{errno}"),
            }
        }
    }
}
