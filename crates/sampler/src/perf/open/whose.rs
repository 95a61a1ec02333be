//! Of whose switches stacks are taken, and of whose wakeups we hear: what the
//! kernel sorts out costs neither room in the rings nor time to read it.

use std::ffi::CString;

use super::cpus::unless_off;
use super::{Rings, event_error};
use crate::Error;
use crate::perf::record::Kind;
use crate::perf::threads::Threads;

/// Stacks are for waits: not of threads that were preempted (state 0), nor of
/// the kernel's own workers (0x80).
const WAITS: &str = "prev_state & 0x7f";

/// Which switches and which wakeups an event tells of.
pub(super) struct Filters {
    pub(super) left: CString,
    pub(super) woken: CString,
}

pub(super) fn filters(threads: &Threads) -> Filters {
    let filter = |text: String| CString::new(text).expect("a filter has no zero byte");
    Filters {
        left: filter(format!("{WAITS} && ({})", threads.condition("prev_pid"))),
        woken: filter(threads.condition("pid")),
    }
}

impl Rings {
    /// Takes stacks at the switches of these threads and hears of their wakeups, and
    /// of all that begin after the thread `newest`, until the numbers of threads
    /// start anew.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn take_stacks_of(&mut self, tids: Vec<u32>, newest: u32) -> Result<(), Error> {
        let threads = Threads::new(tids, newest);
        let Filters { left, woken } = filters(&threads);
        for events in &mut self.cpus {
            let cpu = events.cpu;
            let fail = event_error("filter an event", cpu);
            if self.threads.is_none() {
                events.stacks.with_ftrace_filter(&left).map_err(&fail)?;
                events.waking.with_ftrace_filter(&woken).map_err(&fail)?;
                continue;
            }
            if events.is_off {
                continue;
            }
            // An event takes one filter and no other. A wakeup that both the old and
            // the new one tell of is told twice.
            for (kind, filter) in [(Kind::Waking, &woken), (Kind::Stack, &left)] {
                let ring = (cpu, &events.clock);
                let opened = self.tracepoints.open(&mut self.kinds, kind, self.stack_bytes, ring);
                let renewed = opened.and_then(|counter| {
                    counter.with_ftrace_filter(filter).map_err(&fail)?;
                    if kind == Kind::Waking || events.takes_stacks {
                        counter.enable().map_err(event_error("enable an event", cpu))?;
                    }
                    match kind {
                        Kind::Waking => events.waking = counter,
                        _ => events.stacks = counter,
                    }
                    Ok(())
                });
                unless_off(events, renewed)?;
            }
        }
        self.threads = Some(threads);
        Ok(())
    }

    /// Whether stacks are taken at the switches of a thread.
    pub(crate) fn takes_stacks_of(&self, tid: u32) -> bool {
        self.threads.as_ref().is_some_and(|threads| threads.hold(tid))
    }

    /// Whether a thread can be one of the target's, which are not known at first.
    pub(crate) fn may_be_ours(&self, tid: u32) -> bool {
        self.threads.as_ref().is_none_or(|threads| threads.hold(tid))
    }

    /// Takes stacks of waits on a CPU from now on, or no more.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn take_stacks_on(&mut self, cpu: u32, take: bool) -> Result<(), Error> {
        self.cpus.iter_mut().filter(|events| events.cpu == cpu).try_for_each(|events| {
            events.takes_stacks = take;
            let stacks = &events.stacks;
            let done = if take { stacks.enable() } else { stacks.disable() };
            done.map_err(event_error("thin out stacks", cpu))
        })
    }
}
