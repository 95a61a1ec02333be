//! Of whose switches stacks are taken, and of whose wakeups we hear: what the
//! kernel sorts out costs neither room in the rings nor time to read it.

use std::ffi::CString;
use std::iter;

use super::cpus::unless_off;
use super::opts::STACK_FREQUENCY;
use super::{Rings, event_error};
use crate::Error;
use crate::perf::record::Kind;
use crate::perf::threads::Threads;
use crate::sys::set_period;

/// Stacks are for waits: not of threads that were preempted (state 0), nor of
/// the kernel's own workers (0x80).
const WAITS: &str = "prev_state & 0x7f";

/// Stacks that are taken until more are allowed fill one part in so many of a ring.
const AT_ONCE_OF_RING: u64 = 4;

/// What a call chain takes there, at most about.
const CALLS: u32 = 1 << 10;

const THIN_OUT: &str = "thin out stacks";

/// At how many waits stacks are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Often {
    /// Of 2^32 waits, where the program that takes them has seen one before.
    pub(crate) chance: u32,
    /// Until this is said again, on each CPU; 0 where there are to be none.
    pub(crate) most: u32,
    /// How often what is taken without a program is halved.
    pub(crate) halvings: u32,
}

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

impl Often {
    /// As long as nothing is known of them.
    pub(super) const FIRST: Often = Often { chance: u32::MAX, most: 15, halvings: 0 };

    fn is_never(self) -> bool {
        self.most == 0
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
        let takes_stacks = self.takes_stacks();
        if let Some(program) = &self.program {
            program.stacks.take_of(&threads).map_err(|errno| Error::Event {
                action: "hand threads to a program",
                cpu: 0,
                errno,
            })?;
        }
        for events in &mut self.cpus {
            let cpu = events.cpu;
            let fail = event_error("filter an event", cpu);
            if self.threads.is_none() {
                if self.program.is_none() {
                    events.stacks.with_ftrace_filter(&left).map_err(&fail)?;
                }
                events.waking.with_ftrace_filter(&woken).map_err(&fail)?;
                continue;
            }
            if events.is_off {
                continue;
            }
            // An event takes one filter and no other. A wakeup that both the old and
            // the new one tell of is told twice.
            let by_filter = self.program.is_none().then_some((Kind::Stack, &left));
            for (kind, filter) in iter::once((Kind::Waking, &woken)).chain(by_filter) {
                let ring = (cpu, &events.clock);
                let opened = self.tracepoints.open(&mut self.kinds, kind, self.stack_bytes, ring);
                let renewed = opened.and_then(|counter| {
                    counter.with_ftrace_filter(filter).map_err(&fail)?;
                    if kind == Kind::Waking || takes_stacks {
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

    /// Takes stacks of waits so often from now on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn take_stacks(&mut self, often: Often) -> Result<(), Error> {
        let before = std::mem::replace(&mut self.often, often);
        self.allow_stacks()?;
        if self.program.is_some() || before.halvings == often.halvings {
            return Ok(());
        }
        let action = THIN_OUT;
        self.cpus.iter().filter(|events| !events.is_off).try_for_each(|events| {
            let (cpu, stacks) = (events.cpu, &events.stacks);
            if often.is_never() {
                return stacks.disable().map_err(event_error(action, cpu));
            }
            set_period(stacks.file(), STACK_FREQUENCY >> often.halvings)
                .map_err(|errno| Error::Event { action, cpu, errno })?;
            stacks.enable().map_err(event_error(action, cpu))
        })
    }

    /// Whether the events that take them are enabled. A program has them enabled always.
    pub(super) fn takes_stacks(&self) -> bool {
        self.program.is_some() || !self.often.is_never()
    }

    /// Has the program, if there is one, take as many more as it may.
    pub(super) fn allow_stacks(&self) -> Result<(), Error> {
        let Some(program) = &self.program else { return Ok(()) };
        let room = self.ring_bytes / AT_ONCE_OF_RING / u64::from(self.stack_bytes.max(CALLS));
        let most = room.min(u64::from(self.often.most) * self.cpus.len() as u64);
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let allowed = program.stacks.allow(self.often.chance, most);
        allowed.map_err(|errno| Error::Event { action: THIN_OUT, cpu: 0, errno })
    }
}
