//! Threads whose calls we may not see (`kernel.yama.ptrace_scope`): the kernel function that
//! they sleep in tells the plain causes.

use std::rc::Rc;

use whyslow_events::{Pid, SpaceId, StackId, Tid};

use super::Tracker;
use super::glances::{Calls, Glance};
use super::looks::Reading;
use crate::perf::interner::{Chain, UserHalf};

impl Tracker {
    /// Looks at a thread that may be asleep, from `start` on.
    pub(super) fn glance_at_channel(
        &mut self,
        (pid, space): (Pid, SpaceId),
        tid: Tid,
        start: u64,
        clock: &impl Fn() -> u64,
    ) {
        let Some(function) = self.waits.inspector().channel(pid.0, tid.0) else { return };
        let seen = clock();
        let Some(glances) = &mut self.glances else { return };
        let (address, name) = glances.channels.address(function);
        let mut new: Vec<_> = name.into_iter().collect();
        let site = self.waits.in_channel(pid, address, |event| new.push(event));
        self.report_sites(self.now, space, new);
        let stack = Some(Calls::Channel(address));
        let glance = Glance { start, tid, site, stack, limit: None, closely: false };
        self.looks.put(seen, Reading::Glance(glance));
    }

    /// The number of a stack of which this kernel function alone is known.
    pub(super) fn stack_in_channel(
        &mut self,
        time: u64,
        tid: Tid,
        function: u64,
    ) -> Option<StackId> {
        let (_, space) = self.space_of(tid)?;
        let chain = Chain { kernel: Rc::from([function]), user: UserHalf::none() };
        Some(self.number(time, space, &chain))
    }
}

#[cfg(test)]
mod tests {
    use std::process::id;
    use std::sync::mpsc::channel;
    use std::thread;

    use nix::unistd::gettid;
    use whyslow_events::{Entry, Event, Site};

    use super::*;
    use crate::perf::KernelCalls;
    use crate::perf::record::{Body, Record};
    use crate::target::Attached;

    #[test]
    fn who_sleeps_is_seen_in_the_function_of_the_kernel_it_sleeps_in() {
        let (tell, told) = channel();
        let (end, ends) = channel::<()>();
        let sleeper = thread::spawn(move || {
            tell.send(gettid().as_raw()).unwrap();
            ends.recv().unwrap();
        });
        let tid = u32::try_from(told.recv().unwrap()).unwrap();
        let mut tracker = Tracker::new(KernelCalls::default(), true, 1);
        tracker.rely_on_looks(100);
        let mappings = vec![];
        tracker.adopt(1, Attached { pid: id(), parent: None, name: "a".into(), mappings });
        tracker.begin_thread(1, id(), tid, "a".into());
        for (time, body) in [(2, Body::SwitchedIn), (3, Body::SwitchedOut { preempted: false })] {
            tracker.record(0, Record { time, tid, body });
        }
        let (pid, space) = (Pid(id()), tracker.processes[&Pid(id())].space);
        // It may still be on its way there.
        let in_futex = |function: &str| function.starts_with("futex_");
        while tracker.waits.inspector().channel(id(), tid).is_none_or(|it| !in_futex(&it)) {
            thread::yield_now();
        }
        tracker.glance_at_channel((pid, space), Tid(tid), 4, &|| 5);
        tracker.settle(6);
        let events: Vec<Event> = tracker.take_events().map(|timed| timed.event).collect();
        let address = events.iter().find_map(|event| match event {
            Event::Symbols(names) if in_futex(&names[0].1[0].function) => Some(names[0].0.address),
            _ => None,
        });
        let address = address.unwrap_or_else(|| panic!("{events:?}"));
        let site = events.iter().find_map(|event| match event {
            Event::Site { id, site: Site { entry: Entry::Unseen, pc, .. } } if *pc == address => {
                Some(*id)
            }
            _ => None,
        });
        let stack = events.iter().find_map(|event| match event {
            Event::Stack { id, kernel, user, .. } if *kernel == [address] && user.is_empty() => {
                Some(*id)
            }
            _ => None,
        });
        let look = Event::Look { tid: Tid(tid), site: site.expect("a site"), stack };
        assert!(stack.is_some() && events.contains(&look), "{events:?}");
        end.send(()).unwrap();
        sleeper.join().unwrap();
    }
}
