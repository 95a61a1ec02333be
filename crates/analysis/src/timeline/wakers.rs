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
    thread: u32,
    start: u64,
    end: u64,
}

/// The end of a wait: when, of which thread, and which of its intervals.
type End = (u64, usize, usize);

impl Timeline {
    /// Names the wakers that are not known.
    pub(crate) fn infer_wakers(&mut self) {
        let (ran, ends) = self.ran_and_ends();
        let mut ran = ran.into_iter().peekable();
        let mut recent: Vec<Ran> = Vec::new();
        for (at, thread, index) in ends {
            while let Some(next) = ran.next_if(|next| next.start < at) {
                recent.push(next);
            }
            recent.retain(|ran| ran.end.saturating_add(LONGEST_WAY) >= at);
            let others = recent.iter().filter(|ran| ran.thread as usize != thread);
            let last = others.max_by_key(|ran| ran.start);
            if let Doing::Blocked(wait) = &mut self.threads[thread].intervals[index].doing {
                wait.waker = last.map_or(Waker::Foreign, |ran| Waker::Thread(ran.thread));
            }
        }
    }

    /// Both in the order of time.
    fn ran_and_ends(&self) -> (Vec<Ran>, Vec<End>) {
        let (mut ran, mut ends) = (Vec::new(), Vec::new());
        for (number, thread) in self.threads.iter().enumerate() {
            let Ok(short) = u32::try_from(number) else { break };
            for (index, (start, end, interval)) in thread.spans().enumerate() {
                match interval.doing {
                    Doing::OnCpu { .. } => ran.push(Ran { thread: short, start, end }),
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
