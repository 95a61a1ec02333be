//! Whether the kernel gives us perf events: it is asked for one of each sort, on
//! one CPU, and nothing is recorded but that a switch of our own is told of.

use nix::errno::Errno;
use perf_event_open::config::{Cpu, Proc};
use perf_event_open::count::Counter;
use perf_event_open::event::sw::Software;
use perf_event_open::event::tp::Tracepoint;
use whyslow_events::SystemFacts;

use super::open::{
    SMALLEST_RING_BYTES, SWITCH, clock_opts, online_cpus, open_event, tracepoint_opts, try_program,
};
use super::record::Kind;
use super::tasks;
use crate::error::errno_of;
use crate::preflight::checks::Opened;
use crate::preflight::tracepoint_id;
use crate::{Error, arch};

/// Asks for an event of the whole machine, one of our own, a ring, and our program at switches.
pub(crate) fn probe(facts: SystemFacts) -> Opened {
    let cpu = online_cpus().ok().and_then(|cpus| cpus.first().copied()).unwrap_or(0);
    let machine = machine(cpu).map_err(|error| error.errno().unwrap_or(Errno::EIO));
    let own = Counter::new(Software::CpuClock, (Proc::CURRENT, Cpu(cpu)), tasks::event_opts(1, 0));
    let ring = Counter::new(Software::Dummy, (Proc::CURRENT, Cpu(cpu)), tasks::holder_opts(0))
        .and_then(|holder| {
            let exponent = (SMALLEST_RING_BYTES / facts.page_size).max(1).ilog2();
            holder.sampler(u8::try_from(exponent).expect("a logarithm of a u64 fits")).map(drop)
        });
    Opened {
        machine,
        own: own.map(drop).map_err(|error| errno_of(&error)),
        ring: ring.map_err(|error| errno_of(&error)),
        memory: crate::inspect::can_read_memory(),
        program: if arch::IS_KNOWN { try_program(facts) } else { Err(Errno::ENOSYS) },
    }
}

/// What a recording of the whole machine opens on each CPU.
fn machine(cpu: u32) -> Result<(), Error> {
    if !arch::IS_KNOWN {
        return Err(Error::Architecture);
    }
    let id = tracepoint_id("sched", SWITCH)?;
    open_event("cpu-clock", Software::CpuClock, cpu, &clock_opts(1, 0, 0))?;
    open_event(SWITCH, Tracepoint { id }, cpu, &tracepoint_opts(Kind::Switch, 0))?;
    Ok(())
}
