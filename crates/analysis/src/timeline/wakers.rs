//! Who ended the waits, where the engine hears of no wakeup. A thread of the
//! program can only wake another while it has a CPU: where one had a CPU when a
//! wait ended, it is taken to have ended it, and where none had, somebody
//! outside did. Of several it is the one that came to its CPU last: to wake
//! others is what a thread does soon after it was woken itself.

use super::{Doing, Timeline, Waker};

/// From a wakeup to the CPU it takes no longer on an idle machine, ns: a
/// virtual CPU that sleeps is itself to be woken by the host.
const LONGEST_WAY: u64 = 1_000_000;

/// A time with a CPU.
#[derive(Clone, Copy, Debug)]
struct Ran {
    /// Its number.
    thread: u32,
    start: u64,
    end: u64,
}

/// The end of a wait: when, of which thread, and which of its intervals.
type End = (u64, usize, usize);

/// Who had a CPU of late.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    recent: Vec<Ran>,
}

impl Wakers {
    /// Names the wakers that are not known, in the next segment.
    pub(super) fn infer(&mut self, timeline: &mut Timeline) {
        let (ran, ends) = timeline.ran_and_ends();
        let mut ran = ran.into_iter().peekable();
        let recent = &mut self.recent;
        for (at, index, interval) in ends {
            while let Some(next) = ran.next_if(|next| next.start < at) {
                recent.push(next);
            }
            recent.retain(|ran| ran.end.saturating_add(LONGEST_WAY) >= at);
            let thread = &mut timeline.threads[index];
            let others = recent.iter().filter(|ran| ran.thread != thread.number);
            let last = others.max_by_key(|ran| ran.start);
            if let Doing::Blocked(wait) = &mut thread.intervals[interval].doing {
                wait.waker = last.map_or(Waker::Foreign, |ran| Waker::Thread(ran.thread));
            }
        }
        recent.extend(ran);
        let end = timeline.end;
        recent.retain(|ran| ran.end.saturating_add(LONGEST_WAY) >= end);
    }
}

impl Timeline {
    /// Both in the order of time.
    fn ran_and_ends(&self) -> (Vec<Ran>, Vec<End>) {
        let (mut ran, mut ends) = (Vec::new(), Vec::new());
        for (number, thread) in self.threads.iter().enumerate() {
            for (index, (start, end, interval)) in thread.spans().enumerate() {
                match interval.doing {
                    Doing::OnCpu { .. } => ran.push(Ran { thread: thread.number, start, end }),
                    // A wait that lasts to the end was ended by nobody.
                    Doing::Blocked(wait) if wait.waker == Waker::Unseen && end < thread.end => {
                        ends.push((end, number, index));
                    }
                    _ => {}
                }
            }
        }
        ran.sort_unstable_by_key(|ran| ran.start);
        ends.sort_unstable();
        (ran, ends)
    }
}
