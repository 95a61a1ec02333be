//! The state of every interval, and whether its thread then holds the program
//! up or only waits for another part of it.

use rustc_hash::FxHashMap;
use whyslow_events::{Object, Pid, Site, SiteId, StackId};

use crate::State;
use crate::cause::{Cause, Handovers, by_program, judge};
use crate::quota::{Quota, Quotas};
use crate::tables::Tables;
use crate::timeline::{Doing, Interval, Thread, Timeline, Wait, Waker};

/// What an interval counts as. `state` of an interval on the CPU is
/// `CpuUser`, of one in the run queue how it began; `pieces` splits both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) state: State,
    /// What the part of a turn in the run queue counts as, in the shares, in
    /// which an allowed CPU was idle. To wake an idle CPU takes time, and that
    /// is the end of the wait: more CPUs would not make it shorter.
    pub(crate) beside_idle: State,
    pub(crate) level: Level,
}

/// Who holds the program up at an instant: the threads of the first three levels
/// together, or of the first of the others that has any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// It has a CPU.
    Computes,
    /// It is ready, and has none.
    Queues,
    /// It waits for something outside.
    Holds,
    /// It waits for a timer.
    Sleeps,
    /// It waits for a lock of the program.
    Locked,
    /// It waits for a timer, as it always does. With an idle thread about, that is
    /// waiting for work, too.
    Beats,
    /// It waits for another thread of the program, and with an idle thread about for
    /// work, too.
    Follows,
    /// It waits for work.
    Idles,
}

/// Accounts for the segments of a recording, one after the other.
#[derive(Debug)]
pub(crate) struct Accountant {
    judge: Judge,
    /// `None` where the only segment there is tells.
    evidence: Option<Evidence>,
    /// What each thread that goes on waited for at last.
    waited: FxHashMap<u32, State>,
}

impl Accountant {
    /// Of a recording in one segment.
    pub(crate) fn of(tables: &Tables, timeline: &Timeline) -> Self {
        let mut handovers = Handovers::default();
        handovers.add(tables, timeline, &FxHashMap::default());
        Accountant::new(Judge::new(handovers), None)
    }

    fn new(judge: Judge, evidence: Option<Evidence>) -> Self {
        Accountant { judge, evidence, waited: FxHashMap::default() }
    }

    /// The accounts of each thread's intervals.
    pub(crate) fn accounts(
        &mut self,
        tables: &Tables,
        timeline: &Timeline,
        quotas: &Quotas,
    ) -> Vec<Vec<Account>> {
        let states = |thread: &Thread| self.states(tables, thread, quotas.of(thread.pid));
        let mut accounts: Vec<Vec<Account>> = timeline.threads.iter().map(states).collect();
        let evidence = match &self.evidence {
            Some(evidence) => evidence,
            None => &Evidence::gather(tables, timeline, &accounts),
        };
        for (thread, accounts) in timeline.threads.iter().zip(&mut accounts) {
            for (interval, account) in thread.intervals.iter().zip(accounts) {
                account.level = evidence.level(tables, account.state, interval.doing, thread);
            }
        }
        accounts
    }

    fn states(&mut self, tables: &Tables, thread: &Thread, quota: Quota) -> Vec<Account> {
        let throttled = quota != Quota::Harmless;
        let mut waited = self.waited.remove(&thread.number);
        let mut before = None;
        let account = |interval: &Interval| {
            let state = self.judge.state(tables, thread.pid, interval.doing, interval.stack);
            let beside_idle = match interval.doing {
                Doing::Runq { .. } if throttled => State::RunqThrottled,
                Doing::Runq { preempted: false, .. } => waited.unwrap_or(state),
                _ => state,
            };
            before = waited;
            waited = Some(state).filter(|_| is_wait(interval.doing));
            Account { state, beside_idle, level: Level::Holds }
        };
        let accounts = thread.intervals.iter().map(account).collect();
        // A turn in the queue that a cut falls into goes on, too.
        let queued =
            thread.intervals.last().is_some_and(|it| matches!(it.doing, Doing::Runq { .. }));
        if let Some(waited) = if queued { before } else { waited }
            && thread.goes_on
        {
            self.waited.insert(thread.number, waited);
        }
        accounts
    }

    /// How many waits had evidence that disagreed.
    pub(crate) fn disagreements(&self) -> u64 {
        self.judge.disagreements
    }
}

/// Who ended the waits of a recording in many segments, gathered before any of
/// them is judged.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    handovers: Handovers,
    /// Time of those that each kind of waker ended.
    by_place: FxHashMap<(SiteId, Option<StackId>), [u64; 3]>,
    /// How long the waits are so far that a cut fell into, by number of the thread.
    open: FxHashMap<u32, u64>,
}

impl Endings {
    /// The next segment.
    pub(crate) fn add(&mut self, tables: &Tables, timeline: &Timeline) {
        self.handovers.add(tables, timeline, &self.open);
        for thread in &timeline.threads {
            self.add_thread(thread);
        }
    }

    fn add_thread(&mut self, thread: &Thread) {
        let mut begun = self.open.remove(&thread.number).unwrap_or(0);
        for (start, end, interval) in thread.spans() {
            let ns = std::mem::take(&mut begun) + (end - start);
            let Doing::Blocked(wait) = interval.doing else { continue };
            if thread.open && end == thread.end && end > start {
                self.open.insert(thread.number, ns);
                continue;
            }
            let Some(site) = wait.site else { continue };
            let kind = match wait.waker {
                Waker::Unseen => continue,
                Waker::Foreign => 0,
                Waker::Interrupt => 1,
                Waker::Thread(_) => 2,
            };
            self.by_place.entry((site, interval.stack)).or_default()[kind] += ns;
        }
    }

    /// `tables` are complete.
    pub(crate) fn accountant(self, tables: &Tables) -> Accountant {
        let mut judge = Judge::new(self.handovers);
        let mut evidence = Evidence::default();
        for ((site, stack), ended) in self.by_place {
            let wakers = [Waker::Foreign, Waker::Interrupt, Waker::Thread(0)];
            for (waker, ns) in wakers.into_iter().zip(ended).filter(|(_, ns)| *ns > 0) {
                let wait = Wait { site: Some(site), waker, ..Wait::default() };
                let Some(pid) = tables.sites.get(&site).map(|site| site.pid) else { continue };
                let state = judge.state(tables, pid, Doing::Blocked(wait), stack);
                evidence.add(state, wait, ns);
            }
        }
        evidence.finish(tables);
        judge.disagreements = 0;
        Accountant::new(judge, Some(evidence))
    }
}

fn is_wait(doing: Doing) -> bool {
    matches!(doing, Doing::Blocked(_) | Doing::Stopped)
}

/// Judges each kind of wait once.
#[derive(Debug)]
struct Judge {
    handovers: Handovers,
    judged: FxHashMap<(Option<SiteId>, Option<StackId>), Cause>,
    disagreements: u64,
}

impl Judge {
    fn new(handovers: Handovers) -> Self {
        Judge { handovers, judged: FxHashMap::default(), disagreements: 0 }
    }

    fn state(&mut self, tables: &Tables, pid: Pid, doing: Doing, stack: Option<StackId>) -> State {
        let wait = match doing {
            Doing::OnCpu { .. } => return State::CpuUser,
            Doing::Runq { preempted: true, .. } => return State::RunqPreempted,
            Doing::Runq { preempted: false, .. } => return State::RunqWaking,
            Doing::Stopped => return State::Stopped,
            Doing::Unknown | Doing::Undetermined => return State::Unknown,
            Doing::Blocked(wait) => wait,
        };
        let cause = *self
            .judged
            .entry((wait.site, stack))
            .or_insert_with(|| cause(tables, wait.site, stack));
        match cause {
            Cause::State(state) => state,
            Cause::Handover => self.handovers.state(tables, pid, wait.site, stack),
            Cause::Disagreement => {
                self.disagreements += 1;
                State::Unknown
            }
        }
    }
}

/// The cause of a wait at `site`, by the kernel's half of `stack`, too.
pub(crate) fn cause(tables: &Tables, site: Option<SiteId>, stack: Option<StackId>) -> Cause {
    let site = site.and_then(|site| tables.sites.get(&site));
    if let (Some(site), Some(stack)) = (site, stack)
        && let Some(state) = by_program(tables, site, stack)
    {
        return Cause::State(state);
    }
    let frames: Vec<&str> = stack
        .and_then(|stack| tables.stacks.get(&stack))
        .map_or(&[][..], |stack| &stack.kernel)
        .iter()
        .flat_map(|address| tables.symbols(None, *address, 0))
        .map(|frame| frame.function.as_str())
        .collect();
    let gil = site.is_some_and(|site| match site.object {
        Object::Futex { address, .. } => tables.is_gil(site.pid, address),
        _ => false,
    });
    judge(site, &frames, gil)
}

/// Time of waits that were ended by a thread of the program, and by others.
#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    inside: u64,
    outside: u64,
}

/// Who ended the waits at each site and on each object: it tells of those
/// that nobody was seen to end.
#[derive(Debug, Default)]
struct Evidence {
    by_site: FxHashMap<SiteId, Ended>,
    by_object: FxHashMap<Object, Ended>,
}

impl Evidence {
    fn gather(tables: &Tables, timeline: &Timeline, accounts: &[Vec<Account>]) -> Self {
        let mut found = Evidence::default();
        for (thread, accounts) in timeline.threads.iter().zip(accounts) {
            for ((start, end, interval), account) in thread.spans().zip(accounts) {
                if let Doing::Blocked(wait) = interval.doing {
                    found.add(account.state, wait, end - start);
                }
            }
        }
        found.finish(tables);
        found
    }

    fn add(&mut self, state: State, wait: Wait, ns: u64) {
        let Some(inside) = ended_inside(state, wait.waker) else { return };
        let Some(site) = wait.site else { return };
        let ended = self.by_site.entry(site).or_default();
        if inside {
            ended.inside += ns;
        } else {
            ended.outside += ns;
        }
    }

    /// What the sites say together of the objects.
    fn finish(&mut self, tables: &Tables) {
        for (site, ended) in &self.by_site {
            let Some(site) = tables.sites.get(site).filter(|site| is_told(&site.object)) else {
                continue;
            };
            let sum = self.by_object.entry(site.object.clone()).or_default();
            sum.inside += ended.inside;
            sum.outside += ended.outside;
        }
    }

    fn level(&self, tables: &Tables, state: State, doing: Doing, thread: &Thread) -> Level {
        let wait = match doing {
            Doing::Blocked(wait) => wait,
            Doing::OnCpu { .. } => return Level::Computes,
            Doing::Runq { .. } => return Level::Queues,
            _ => return Level::Holds,
        };
        match state {
            State::Idle => Level::Idles,
            State::Sleep if thread.is_heartbeat => Level::Beats,
            State::Sleep => Level::Sleeps,
            State::SyncThread | State::LockGil => Level::Follows,
            // Whatever it is for: none of these holds the program up.
            State::Unknown if tables.is_futex(wait.site) => Level::Follows,
            State::LockUser | State::LockKernel if self.inside(tables, state, wait, thread.pid) => {
                Level::Locked
            }
            State::Child | State::IoIpc if self.inside(tables, state, wait, thread.pid) => {
                Level::Follows
            }
            _ => Level::Holds,
        }
    }

    /// Whether the wait is for another part of the program.
    fn inside(&self, tables: &Tables, state: State, wait: Wait, pid: Pid) -> bool {
        // Who ended it is only guessed without wakeups. Known is whose children
        // are waited for, who holds the other end of a pipe, and that a lock is
        // the program's own, or an event, which has no name for others.
        if !tables.header.capabilities.wakeups {
            match state {
                State::Child => return tables.has_child(pid),
                State::LockUser => return true,
                _ if wait.site.is_some_and(|site| tables.is_inside(site)) => return true,
                _ => {}
            }
        }
        if let Some(inside) = ended_inside(state, wait.waker) {
            return inside;
        }
        let site = wait.site.and_then(|site| self.by_site.get(&site));
        let object = || {
            let site: &Site = tables.sites.get(&wait.site?)?;
            self.by_object.get(&site.object)
        };
        match site.copied().or_else(|| object().copied()) {
            Some(ended) => ended.inside >= ended.outside,
            None if wait.site.is_some_and(|site| tables.inside.contains(&site)) => true,
            None => match state {
                State::LockUser => true,
                State::Child => tables.has_child(pid),
                _ => false,
            },
        }
    }
}

/// `None` when the waker says nothing of whom the wait was for.
fn ended_inside(state: State, waker: Waker) -> Option<bool> {
    match (waker, state) {
        (Waker::Thread(_), _) => Some(true),
        // A signal says nothing of the children, whoever sends it.
        (Waker::Foreign | Waker::Interrupt, State::Child) => None,
        (Waker::Foreign, _) => Some(false),
        // The time limit of a lock says nothing of its owner.
        (Waker::Interrupt, State::LockUser | State::LockKernel) => None,
        (Waker::Interrupt, _) => Some(false),
        (Waker::Unseen, _) => None,
    }
}

/// Whether two sites with this object wait on the same thing.
fn is_told(object: &Object) -> bool {
    !matches!(object, Object::None | Object::Unseen)
}
