//! Threads that beat time: they were there before the recording began, nobody wakes them,
//! and they do hardly anything but let timers run out. A server's housekeeping is like that,
//! and so is the main thread of one that leaves all work to others.

use whyslow_events::Mode;

use super::{Doing, Thread, Waker};
use crate::cause::{Timer, timer};
use crate::tables::Tables;

/// Of the life of a thread that beats time, less than one part in so many is anything else.
const HARDLY: u64 = 20;

/// What a thread did so far that one which beats time does not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work {
    busy_ns: u64,
    /// Somebody had it go on, or may have.
    woken: bool,
}

impl Work {
    /// The next segment.
    pub(super) fn add(&mut self, tables: &Tables, thread: &Thread) {
        self.woken |= thread.born || tables.header.target.mode != Mode::Attach;
        for (start, end, interval) in thread.spans() {
            if self.woken {
                break;
            }
            let ns = end - start;
            let wait = match interval.doing {
                Doing::OnCpu { .. } => {
                    self.busy_ns += ns;
                    continue;
                }
                Doing::Blocked(wait) => wait,
                _ => continue,
            };
            let site = wait.site.and_then(|site| tables.sites.get(&site));
            match (site.map_or(Timer::No, timer), wait.waker) {
                (_, Waker::Thread(_)) => self.woken = true,
                (Timer::Always, _) | (Timer::Perhaps, Waker::Interrupt) => {}
                (Timer::Perhaps, Waker::Unseen) if tables.header.capabilities.wakeups => {}
                (Timer::Perhaps, _) => self.woken = true,
                (Timer::No, _) => self.busy_ns += ns,
            }
        }
    }

    /// Whether a thread that lived so long did nothing else, ns.
    pub(super) fn is_heartbeat(self, life: u64) -> bool {
        !self.woken && self.busy_ns < life / HARDLY
    }
}
