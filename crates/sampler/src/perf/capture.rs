//! Where the records come from: the events of the whole machine, or those of
//! the target's own threads.

use std::fs::File;

use perf_event_open::sample::Sampler;
use rustc_hash::FxHashSet;
use whyslow_events::{Capabilities, Fallback, SystemFacts};

use super::record::{Body, Kind};
use super::tally::Tally;
use super::{Merge, Often, Rings, TaskRings};
use crate::preflight::names_threads_as_the_kernel;
use crate::proc::Proc;
use crate::target::hidden;
use crate::{Error, arch};

/// Open events and their rings.
pub(crate) enum Capture {
    /// Of the whole machine.
    Machine(Rings),
    /// Of single threads and what descends from them.
    Tasks(Box<TaskRings>),
}

/// How often the threads of a running target are listed until no new one has
/// come unseen.
const LISTINGS: usize = 16;

impl Capture {
    /// Opens the events of the whole machine or, where the host refuses them,
    /// gets ready for those of the target's threads: a clock at `frequency` a
    /// second, with up to `stack_bytes` of user stack. Recording `may_pause`.
    ///
    /// # Errors
    /// When the host refuses both, or something else is wrong.
    pub(crate) fn open(
        facts: SystemFacts,
        frequency: u32,
        stack_bytes: u32,
        may_pause: bool,
    ) -> Result<Capture, Error> {
        let machine = if !arch::IS_KNOWN {
            Err(Error::Architecture)
        } else if !names_threads_as_the_kernel() {
            Err(Error::PidNamespace)
        } else {
            Rings::open(facts, frequency, stack_bytes, may_pause)
        };
        match machine {
            Ok(rings) => Ok(Capture::Machine(rings)),
            Err(refused) if refused.is_refusal() => {
                let mut rings = TaskRings::open(facts, frequency, stack_bytes, &refused)?;
                rings.may_pause = may_pause;
                Ok(Capture::Tasks(Box::new(rings)))
            }
            Err(error) => Err(error),
        }
    }

    /// Records the threads that `list` gives and what they start, from now on.
    /// `newest` began last before the first listing.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn follow(
        &mut self,
        list: impl Fn() -> Vec<u32>,
        newest: u32,
        now: impl Fn() -> Result<u64, Error>,
        merge: &mut Merge,
    ) -> Result<(), Error> {
        let rings = match self {
            Capture::Machine(rings) => {
                rings.take_stacks_of(list(), newest)?;
                return rings.enable();
            }
            Capture::Tasks(rings) => rings,
        };
        // A thread that is born while we go through the list is followed if its
        // parent was by then, and else found by the next listing.
        let mut followed = FxHashSet::default();
        let mut rings = rings;
        for _ in 0..LISTINGS {
            let mut new = list();
            new.retain(|tid| followed.insert(*tid));
            if new.is_empty() {
                break;
            }
            rings.follow(&new)?;
            let mut early = vec![];
            merge.round(self, now()?, &mut early);
            followed.extend(merge.born());
            followed.extend(early.iter().filter_map(|(_, record)| match record.body {
                Body::Fork { tid, .. } => Some(tid),
                _ => None,
            }));
            let Capture::Tasks(again) = self else { break };
            rings = again;
        }
        Ok(())
    }

    /// What can be seen.
    pub(crate) fn capabilities(&self) -> Capabilities {
        match self {
            Capture::Machine(_) => Capabilities::ALL,
            // The causes are those of the waits that were looked at.
            Capture::Tasks(_) => Capabilities {
                exact_switches: true,
                wakeups: false,
                neighbours: false,
                cpu_samples: true,
                kernel_stacks: false,
                user_stacks: true,
                causes: true,
            },
        }
    }

    /// Notes whether the process `pid` can be looked at, where causes come from
    /// looks.
    pub(crate) fn check_looks(&mut self, proc: &Proc, pid: u32) {
        if let Capture::Tasks(rings) = self
            && let Some(why) = hidden(proc, pid)
        {
            rings.fallbacks.push(why);
        }
    }

    /// What the host did not allow.
    pub(crate) fn fallbacks(&self) -> &[Fallback] {
        match self {
            Capture::Machine(rings) => &rings.fallbacks,
            Capture::Tasks(rings) => &rings.fallbacks,
        }
    }

    /// Whether switches are told by the records of the thread alone: where it
    /// waits can only be looked at.
    pub(crate) fn is_of_tasks(&self) -> bool {
        matches!(self, Capture::Tasks(_))
    }

    /// Stops recording; what is in the rings stays there to be read.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn disable(&self) -> Result<(), Error> {
        match self {
            Capture::Machine(rings) => rings.disable(),
            Capture::Tasks(rings) => rings.disable(),
        }
    }

    /// Whether recording can pause.
    pub(crate) fn can_pause(&self) -> bool {
        match self {
            Capture::Machine(_) => true,
            Capture::Tasks(rings) => rings.may_pause,
        }
    }

    /// Records no switches, nor what is seen at them, from now on, or does so again.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn pause(&self, pauses: bool) -> Result<(), Error> {
        match self {
            Capture::Machine(rings) => rings.pause(pauses),
            Capture::Tasks(rings) => rings.pause(pauses),
        }
    }

    /// Has the kernel tally the switches of these threads from `now` on; whether it does.
    pub(crate) fn begin_tally(&self, now: u64, tids: impl Iterator<Item = u32>) -> bool {
        match self {
            Capture::Machine(rings) => rings.begin_tally(now, tids),
            Capture::Tasks(_) => false,
        }
    }

    /// What it tallied by `now`, while it goes on.
    pub(crate) fn read_tally(&self, now: u64) -> Option<Tally> {
        match self {
            Capture::Machine(rings) => rings.read_tally(now),
            Capture::Tasks(_) => None,
        }
    }

    /// What it tallied by `now`. It ends with this.
    pub(crate) fn end_tally(&self, now: u64) -> Option<Tally> {
        match self {
            Capture::Machine(rings) => rings.end_tally(now),
            Capture::Tasks(_) => None,
        }
    }

    /// Records the switches of these CPUs, and of no other, also as switch
    /// records from now on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn record_switches_of(&mut self, cpus: &[u32]) -> Result<(), Error> {
        match self {
            Capture::Machine(rings) => rings.record_switches_of(cpus),
            Capture::Tasks(_) => Ok(()),
        }
    }

    /// Opens the events anew of CPUs that were off and are on again, and tells which.
    /// Those of a thread need no such thing.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn follow_cpus(&mut self) -> Result<Vec<u32>, Error> {
        match self {
            Capture::Machine(rings) => rings.follow_cpus(),
            Capture::Tasks(_) => Ok(vec![]),
        }
    }

    /// Whether stacks are taken at the switches of a thread, if of any.
    pub(crate) fn takes_stacks_of(&self, tid: u32) -> bool {
        match self {
            Capture::Machine(rings) => rings.takes_stacks_of(tid),
            Capture::Tasks(_) => true,
        }
    }

    /// Whether a thread can be one of the target's: nothing is told of its samples
    /// where it cannot.
    pub(crate) fn may_be_ours(&self, tid: u32) -> bool {
        match self {
            Capture::Machine(rings) => rings.may_be_ours(tid),
            Capture::Tasks(_) => true,
        }
    }

    /// Takes stacks at the switches of these threads and hears of their wakeups,
    /// and of all that begin after the thread `newest`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn take_stacks_of(&mut self, tids: Vec<u32>, newest: u32) -> Result<(), Error> {
        match self {
            Capture::Machine(rings) => rings.take_stacks_of(tids, newest),
            Capture::Tasks(_) => Ok(()),
        }
    }

    /// Copies more of the stack with a sample from now on, once.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn copy_more(&mut self) -> Result<(), Error> {
        match self {
            Capture::Machine(rings) => rings.copy_more(),
            Capture::Tasks(_) => Ok(()),
        }
    }

    /// Takes stacks of waits so often from now on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn take_stacks(&mut self, often: Often) -> Result<(), Error> {
        match self {
            Capture::Machine(rings) => rings.take_stacks(often),
            Capture::Tasks(_) => Ok(()),
        }
    }

    /// Lets the clock fire so often a second from now on, where it is not also what
    /// tells of time in the kernel.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn sample_at(&mut self, frequency: u32) -> Result<(), Error> {
        match self {
            Capture::Machine(rings) => rings.sample_at(frequency),
            Capture::Tasks(_) => Ok(()),
        }
    }

    /// Files that are readable when a ring has filled up by a quarter.
    pub(crate) fn files(&self) -> Box<dyn Iterator<Item = &File> + '_> {
        match self {
            Capture::Machine(rings) => Box::new(rings.files()),
            Capture::Tasks(rings) => Box::new(rings.files()),
        }
    }

    /// The CPUs and their rings.
    pub(crate) fn samplers(&self) -> Box<dyn Iterator<Item = (u32, &Sampler)> + '_> {
        match self {
            Capture::Machine(rings) => Box::new(rings.samplers()),
            Capture::Tasks(rings) => Box::new(rings.samplers()),
        }
    }

    /// What the event with this id records.
    pub(crate) fn kind(&self, id: u64) -> Option<Kind> {
        match self {
            Capture::Machine(rings) => rings.kind(id),
            Capture::Tasks(rings) => rings.kind(id),
        }
    }
}
