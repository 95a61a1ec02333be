//! What was read from `/proc` beside the records, and its place among them:
//! closer looks at threads that stay blocked, with the proof that the look saw
//! the wait it was meant for, and notes of other kinds.

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
enum Reading {
    Look { tid: Tid, wait: u64, site: SiteId },
    Note(Event),
}

/// Waits to look at, and readings that are newer than the records so far.
#[derive(Debug, Default)]
pub(super) struct Looks {
    wishes: VecDeque<Wish>,
    readings: VecDeque<(u64, Reading)>,
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
            let Some(space) = self.processes.get(&pid).map(|process| process.space) else {
                continue;
            };
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
                self.looks.readings.push_back((end, Reading::Look { tid, wait, site }));
            }
        }
    }

    /// Puts an event that was read at `time` into the stream, when the records
    /// have come so far.
    pub(crate) fn note_at(&mut self, time: u64, event: Event) {
        self.looks.readings.push_back((time, Reading::Note(event)));
    }

    /// Reports what was read before `time`, and of the looks those whose thread
    /// has not moved: every record up to their end has been taken in.
    pub(super) fn place_readings(&mut self, time: u64) {
        while self.looks.readings.front().is_some_and(|(read, _)| *read < time) {
            let Some((read, reading)) = self.looks.readings.pop_front() else { break };
            match reading {
                Reading::Note(event) => self.emit(read, event),
                Reading::Look { tid, wait, site } => {
                    let thread = self.threads.get(&tid);
                    if thread.is_some_and(|t| t.wait == wait && t.doing == Doing::Waiting) {
                        self.emit(read, Event::Look { tid, site, stack: None });
                    }
                }
            }
        }
    }
}
