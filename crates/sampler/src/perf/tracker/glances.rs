//! Where threads wait, when no record tells: every few milliseconds each thread
//! that may be blocked is looked at, whatever the records say by then. The look
//! holds for the wait that ended after it, if that began before it, too, or while it
//! was under way and the thread ran until then.

use whyslow_events::{Event, SiteId, SpaceId, StackId, Tid, UserRegisters};

use super::looks::Reading;
use super::{Doing, Tracker};
use crate::inspect::Limit;
use crate::perf::interner::UserHalf;

/// Threads looked at in one round at most: some 10 µs each.
const GLANCES_PER_ROUND: usize = 64;
/// Stacks read in one round at most: some 30 µs each.
const STACKS_PER_ROUND: usize = 8;
/// Looks when the window ends, for so long, ns.
const LAST_GLANCES: u64 = 100_000_000;
/// With more than one part in so many of the time spent in waits that nobody
/// saw, looks are to come sooner.
const UNSEEN_PART: u64 = 20;
/// For so long, ns: looks that come sooner leave less unseen, and that is no
/// reason to stop.
const HUNGER: u64 = 100_000_000;

/// A look at a thread, from `start` on.
#[derive(Debug)]
pub(super) struct Glance {
    pub(super) start: u64,
    pub(super) tid: Tid,
    pub(super) site: SiteId,
    pub(super) stack: Option<(UserRegisters, UserHalf)>,
    pub(super) limit: Option<Limit>,
}

/// How the looks go.
#[derive(Debug, Default)]
pub(super) struct Glances {
    /// How many threads the next round passes over.
    turn: usize,
    last_round: u64,
    /// Time in waits that ended unseen, since the last round.
    missed: u64,
    hungry_until: u64,
}

impl Glances {
    fn are_hungry(&self) -> bool {
        self.last_round < self.hungry_until
    }
}

impl Tracker {
    /// Whether the next round should come soon: many waits end unseen.
    pub(crate) fn wants_looks(&self) -> bool {
        self.glances.as_ref().is_some_and(Glances::are_hungry)
    }

    /// Looks at the threads that may be blocked at `now`.
    pub(super) fn glance(&mut self, now: u64, clock: &impl Fn() -> u64) {
        let Some(glances) = &mut self.glances else { return };
        let passed = now.saturating_sub(std::mem::replace(&mut glances.last_round, now));
        if std::mem::take(&mut glances.missed) * UNSEEN_PART > passed {
            glances.hungry_until = now + HUNGER;
        }
        let turn = glances.turn;
        let mut wanted = self.unseen();
        let turn = if turn < wanted.len() { turn } else { 0 };
        wanted.rotate_left(turn);
        wanted.truncate(GLANCES_PER_ROUND);
        if let Some(glances) = &mut self.glances {
            glances.turn = turn + GLANCES_PER_ROUND;
        }
        let mut stacks = STACKS_PER_ROUND;
        for tid in wanted {
            self.glance_at(now, tid, &mut stacks, clock);
        }
    }

    /// Looks once more at every thread before the window ends.
    pub(super) fn last_glances(&mut self, now: u64, clock: &impl Fn() -> u64) {
        for tid in self.unseen() {
            if clock().saturating_sub(now) > LAST_GLANCES {
                break;
            }
            self.glance_at(now, tid, &mut STACKS_PER_ROUND.clone(), clock);
        }
    }

    /// Threads of whose present wait nothing is known, by all records so far.
    fn unseen(&self) -> Vec<Tid> {
        let unseen = self.threads.iter().filter(|(_, thread)| {
            thread.doing != Doing::Waiting || thread.site.is_none() || !thread.looked_at
        });
        let mut unseen: Vec<Tid> = unseen.map(|(tid, _)| *tid).collect();
        unseen.sort_unstable();
        unseen
    }

    fn glance_at(&mut self, now: u64, tid: Tid, stacks: &mut usize, clock: &impl Fn() -> u64) {
        let start = clock();
        let Some(thread) = self.threads.get(&tid) else { return };
        let pid = thread.pid;
        let Some(space) = self.processes.get(&pid).map(|process| process.space) else { return };
        let Some(call) = self.waits.inspector().call(pid.0, tid.0) else { return };
        // A short wait is over before its stack is read.
        let seen = clock();
        let stopped = self.waits.inspector().is_stopped(pid.0, tid.0);
        let mut new = vec![];
        let site = if stopped {
            self.waits.stopped(pid, |event| new.push(event))
        } else {
            self.waits.looked(now, (pid, space), call, |event| new.push(event)).site
        };
        // In the order of the stream, not of the clock.
        self.report_sites(self.now, space, new);
        let registers = UserRegisters::new(call.pc, call.sp);
        let stack = match self.known_stack(tid, &registers) {
            Some(user) if !self.scripts.may_run_in(space) => Some((registers, user)),
            _ => None,
        };
        let to_read = stack.is_none() && *stacks > 0;
        let glance = Glance { start, tid, site, stack, limit: None };
        self.looks.put(seen, Reading::Glance(glance));
        let limit = self.waits.inspector().limit(pid.0, call);
        let stack = if to_read { self.read_stack_and_script(tid, registers) } else { None };
        *stacks -= usize::from(to_read);
        if limit.is_some() || stack.is_some() {
            let glance = Glance { start, tid, site, stack, limit };
            self.looks.put(clock(), Reading::Glance(glance));
        }
    }

    /// Reports sites that a look found and, where no wakeup tells, whether the
    /// target itself holds the other end of what is waited on.
    pub(super) fn report_sites(&mut self, time: u64, space: SpaceId, new: Vec<Event>) {
        if !new.is_empty() {
            self.report_space(time, space);
        }
        for event in new {
            let processes = self.processes.keys().copied();
            let inspector = self.glances.is_some().then(|| self.waits.inspector());
            let inside = inspector.and_then(|inspector| inspector.inside(&event, processes));
            [event].into_iter().chain(inside).for_each(|event| self.emit(time, event));
        }
    }

    /// A look that ended at `read`, before which every record has been taken in.
    pub(super) fn place_glance(&mut self, read: u64, glance: Glance) {
        let Glance { start, tid, site, stack, limit } = glance;
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        // What ran when the look began has gone to wait since, once.
        if thread.doing != Doing::Waiting || thread.asleep.min(thread.ran) > start {
            return;
        }
        thread.site = Some(site);
        thread.looked_at = true;
        let stack: Option<StackId> =
            stack.and_then(|(registers, user)| self.stack_of_look(read, tid, &registers, user));
        self.emit(read, Event::Look { tid, site, stack });
        if let Some(limit) = limit {
            self.emit(read, limit.event(tid));
        }
    }

    /// A wait ends at `time`: whether anybody looked.
    pub(super) fn settle_wait(&mut self, time: u64, tid: Tid) {
        let Some(glances) = &mut self.glances else { return };
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        if thread.doing != Doing::Waiting {
            return;
        }
        thread.looked_at = false;
        if thread.site.is_none() {
            glances.missed += time.saturating_sub(thread.asleep.max(self.start));
        }
    }
}
