//! What each event tells of the wait that ends with it: whether anybody looked at it.

use rustc_hash::FxHashMap;
use whyslow_events::{Entrance, Event, Off, Pid, Seen, SiteId, Tid, Timed};

use super::habits::Sight;

/// The threads, as of the last event.
#[derive(Debug)]
pub(super) struct Waiting {
    start: u64,
    known: u32,
    threads: FxHashMap<Tid, Thread>,
    /// Since when switches are told.
    told_since: u64,
}

#[derive(Debug)]
struct Thread {
    number: u32,
    pid: Pid,
    wait: Option<Wait>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    since: u64,
    /// It was seen to begin.
    begun: bool,
    site: Option<SiteId>,
    /// When somebody looked at it first.
    looked_at: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    /// A thread begins; another with its TID may not have been heard to end.
    Begins {
        pid: Pid,
        instead: Option<(u32, Pid)>,
    },
    Ends {
        thread: u32,
        pid: Pid,
    },
    /// The wait that ends has a cause, and is no example for others.
    Known {
        span: u64,
    },
    Seen {
        thread: u32,
        pid: Pid,
        sight: Sight,
    },
    Unseen {
        thread: u32,
        tid: Tid,
        pid: Pid,
        span: u64,
        /// A look found it over: it was shorter than `span`.
        found_over: bool,
    },
}

impl Waiting {
    pub(super) fn new(start: u64) -> Self {
        Waiting { start, known: 0, threads: FxHashMap::default(), told_since: start }
    }

    /// What the next event tells.
    pub(super) fn told(&mut self, timed: &Timed) -> Told {
        let time = timed.time.0.max(self.start);
        match &timed.event {
            Event::Thread { tid, pid, entrance, .. } => self.begin(time, *tid, *pid, *entrance),
            Event::SwitchOut { tid, off: Off::Dead, .. } | Event::Exit { tid } => {
                let gone = self.threads.remove(tid);
                gone.map_or(Told::Nothing, |it| Told::Ends { thread: it.number, pid: it.pid })
            }
            Event::SwitchOut { tid, off, .. } => {
                if let Some(thread) = self.threads.get_mut(tid) {
                    thread.wait = wait(time, *off, true);
                }
                Told::Nothing
            }
            Event::Look { tid, site, .. } => {
                let thread = self.threads.get_mut(tid);
                if let Some(wait) = thread.and_then(|thread| thread.wait.as_mut()) {
                    wait.site = Some(*site);
                    wait.looked_at.get_or_insert(time);
                }
                Told::Nothing
            }
            // What waits for a CPU is not there to be looked at, and no part of the wait.
            Event::Awake { tid } => self.end(time, *tid, true).unwrap_or(Told::Nothing),
            Event::Paused => {
                // Those may end unheard that have not lasted for long.
                let lasts = |wait: &Wait| wait.since < self.told_since;
                self.threads.values_mut().for_each(|it| it.wait = it.wait.filter(lasts));
                Told::Nothing
            }
            Event::Resumed => {
                self.told_since = time;
                Told::Nothing
            }
            Event::SwitchIn { tid, .. } => self.end(time, *tid, false).unwrap_or(Told::Nothing),
            _ => Told::Nothing,
        }
    }

    fn begin(&mut self, time: u64, tid: Tid, pid: Pid, entrance: Entrance) -> Told {
        let wait = match entrance {
            Entrance::Found(Seen::Off(Off::Dead)) => return Told::Nothing,
            Entrance::Found(Seen::Off(off)) => wait(time, off, false),
            Entrance::Found(Seen::Runnable) | Entrance::Born => None,
        };
        let thread = Thread { number: self.known, pid, wait };
        self.known = self.known.saturating_add(1);
        let instead = self.threads.insert(tid, thread).map(|it| (it.number, it.pid));
        Told::Begins { pid, instead }
    }

    fn end(&mut self, time: u64, tid: Tid, found_over: bool) -> Option<Told> {
        let thread = self.threads.get_mut(&tid)?;
        let Wait { since, begun, site, looked_at } = thread.wait.take()?;
        let span = time.saturating_sub(since);
        let Thread { number, pid, .. } = *thread;
        Some(match site {
            None => Told::Unseen { thread: number, tid, pid, span, found_over },
            Some(site) if begun && let Some(seen) = looked_at => {
                let sight = Sight { span, site, after: seen.saturating_sub(since) };
                Told::Seen { thread: number, pid, sight }
            }
            Some(_) => Told::Known { span },
        })
    }
}

fn wait(since: u64, off: Off, begun: bool) -> Option<Wait> {
    let Off::Blocked { site, .. } = off else { return None };
    Some(Wait { since, begun, site, looked_at: None })
}
