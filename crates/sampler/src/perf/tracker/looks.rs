//! Closer looks at threads that stay blocked, and the proof that the look saw
//! the wait it was meant for.

use std::collections::VecDeque;

use whyslow_events::{Event, SiteId, Tid};

use super::{Doing, Tracker};

/// A wait this long deserves a look, ns: shorter ones are over too soon.
const LONG_WAIT: u64 = 1_000_000;
/// Looks in one round at most: some 15 µs each.
const LOOKS_PER_ROUND: usize = 32;
/// Wishes kept at most; of a thread that blocks all the time only the last counts.
const WISHES: usize = 65_536;

#[derive(Debug)]
struct Wish {
    since: u64,
    tid: Tid,
    wait: u64,
}

#[derive(Debug)]
struct Looked {
    end: u64,
    tid: Tid,
    wait: u64,
    site: SiteId,
}

/// Waits to look at, and looks that wait for their proof.
#[derive(Debug, Default)]
pub(super) struct Looks {
    wishes: VecDeque<Wish>,
    looked: VecDeque<Looked>,
}

impl Looks {
    pub(super) fn want(&mut self, since: u64, tid: Tid, wait: u64) {
        if self.wishes.len() == WISHES {
            self.wishes.pop_front();
        }
        self.wishes.push_back(Wish { since, tid, wait });
    }
}

impl Tracker {
    /// Looks at threads that have been blocked for long at `now`; `clock`
    /// tells the time after each look.
    pub(crate) fn look(&mut self, now: u64, clock: impl Fn() -> u64) {
        let mut left = LOOKS_PER_ROUND;
        while left > 0 {
            match self.looks.wishes.front() {
                Some(wish) if wish.since.saturating_add(LONG_WAIT) <= now => {}
                _ => break,
            }
            let Some(Wish { tid, wait, .. }) = self.looks.wishes.pop_front() else { break };
            let Some(thread) = self.threads.get(&tid) else { continue };
            if thread.wait != wait || thread.doing != Doing::Waiting {
                continue;
            }
            let pid = thread.pid;
            let Some(space) = self.processes.get(&pid).map(|process| process.space) else { continue };
            left -= 1;
            let mut new = vec![];
            let site = self.waits.look(now, (pid, space), tid.0, |event| new.push(event));
            let end = clock();
            if !new.is_empty() {
                // In the order of the stream, not of the clock.
                let time = self.now;
                self.report_space(time, space);
                new.into_iter().for_each(|event| self.emit(time, event));
            }
            if let Some(site) = site {
                self.looks.looked.push_back(Looked { end, tid, wait, site });
            }
        }
    }

    /// Reports the looks that ended before `time` and whose thread has not
    /// moved: every record up to their end has been taken in.
    pub(super) fn prove_looks(&mut self, time: u64) {
        while self.looks.looked.front().is_some_and(|look| look.end < time) {
            let Some(Looked { tid, wait, site, end }) = self.looks.looked.pop_front() else { break };
            let unmoved = self
                .threads
                .get(&tid)
                .is_some_and(|thread| thread.wait == wait && thread.doing == Doing::Waiting);
            if unmoved {
                self.emit(end, Event::Look { tid, site });
            }
        }
    }
}
