//! Where threads wait, when no record tells: every few milliseconds each thread
//! that may be blocked is looked at, whatever the records say by then. The look
//! holds for the wait that ended after it, if that began before it, too, or while it
//! was under way and the thread ran until then.

use rustc_hash::FxHashSet;
use whyslow_events::{Event, SiteId, SpaceId, Tid, UserRegisters};

use super::looks::Reading;
use super::{Doing, Thread, Tracker};
use crate::clock::own_cpu;
use crate::inspect::{Call, Channels, Limit};
use crate::perf::interner::UserHalf;
use crate::perf::record::Record;
use crate::uneven::Uneven;

/// At the end of a pause any wait will do, and short ones are over before they are seen.
const TRIES_IN_PAUSE: u32 = 15;
/// Threads looked at in one round at most: some 10 µs each.
const GLANCES_PER_ROUND: usize = 64;
/// Stacks read in one round at most: some 30 µs each.
const STACKS_PER_ROUND: usize = 8;
/// Looks when the window ends, for so long, ns.
const LAST_GLANCES: u64 = 100_000_000;
/// Over so long, ns: whether one wait was seen is chance.
const SPELL: u64 = 10_000_000;
/// For so long at first, ns: looks that come sooner leave less unseen, and that is no
/// reason to stop. Where waits end unseen again as soon as they stop, for twice as long.
const HUNGER: u64 = 100_000_000;
/// At most.
const LONGEST_HUNGER: u64 = 128 * HUNGER;
/// For so long at first, ns, less may be unseen, and looks may cost more: a short recording
/// has few waits, and each that is put down to the wrong cause counts.
const FIRST: u64 = 3_000_000_000;
const AT_FIRST: Pace = Pace { unseen_part: 100, cost_part: 8, closest: 150_000 };
const LATER: Pace = Pace { unseen_part: 20, cost_part: 16, closest: 300_000 };
/// A wait that lasts so long is looked at once more and closely, ns: it may be a stop, by a
/// signal or a debugger, in whatever call the thread was in. Shorter stops are rare.
const CLOSELY: u64 = 10_000_000;

/// How well a wait was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    No,
    Briefly,
    Closely,
    /// It is over.
    Awake,
}

/// A look at a thread, from `start` on.
#[derive(Debug)]
pub(super) struct Glance {
    pub(super) start: u64,
    pub(super) tid: Tid,
    pub(super) site: SiteId,
    pub(super) stack: Option<Calls>,
    pub(super) limit: Option<Limit>,
    pub(super) closely: bool,
}

/// What a look tells beside the site.
#[derive(Debug)]
pub(super) enum Calls {
    Of(UserRegisters, UserHalf),
    /// The calls are hidden, and the thread sleeps in the kernel function for which this
    /// address stands.
    Channel(u64),
}

/// How soon looks come.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// With more than one part in so many of the time spent in waits that nobody saw, they
    /// are to come sooner, ...
    unseen_part: u64,
    /// ... and take one part in so many of a CPU, ...
    cost_part: u64,
    /// ... as far as they come no closer than this, ns.
    closest: u64,
}

/// How the looks go.
#[derive(Debug, Default)]
pub(super) struct Glances {
    /// How many threads the next round passes over.
    turn: usize,
    last_round: u64,
    /// Until when it is the first time.
    first_until: u64,
    /// Time in waits that ended unseen, since the spell began.
    missed: u64,
    spell: u64,
    hungry_until: u64,
    /// How long it lasts, ns.
    hunger: u64,
    /// Our CPU time at the last round, and what a round takes of it, ns.
    cpu: u64,
    cost: u64,
    /// Rounds are.
    uneven: Uneven,
    /// Threads that have gone on by records that are not taken in yet: what those before tell
    /// of them is over.
    ahead: FxHashSet<Tid>,
    pub(super) channels: Channels,
}

impl Glances {
    /// A round begins at `now`, by when we have used `cpu`.
    fn begin_round(&mut self, now: u64, cpu: u64) {
        if self.last_round == 0 {
            self.first_until = now + FIRST;
            self.get_hungry(now);
        }
        self.last_round = now;
        let cost = cpu.saturating_sub(std::mem::replace(&mut self.cpu, cpu));
        self.cost = (3 * self.cost + cost) / 4;
        let passed = now.saturating_sub(self.spell);
        if passed >= SPELL {
            self.spell = now;
            if std::mem::take(&mut self.missed) * self.pace().unseen_part > passed {
                self.get_hungry(now);
            }
        }
        self.uneven.step();
    }

    fn get_hungry(&mut self, now: u64) {
        let sated = now.saturating_sub(self.hungry_until);
        if sated > self.hunger {
            self.hunger = HUNGER;
        } else if sated > 0 {
            self.hunger = (2 * self.hunger).min(LONGEST_HUNGER);
        }
        self.hungry_until = now + self.hunger;
    }

    fn pace(&self) -> Pace {
        if self.last_round < self.first_until { AT_FIRST } else { LATER }
    }

    fn looks_again_after(&self) -> Option<u64> {
        let Pace { cost_part, closest, .. } = self.pace();
        let mean = (self.cost * cost_part).max(closest);
        (self.last_round < self.hungry_until).then(|| self.uneven.around(mean))
    }
}

impl Thread {
    /// Whether it waits at `now`, by the records so far, and has done so for long.
    fn lasts(&self, now: u64) -> bool {
        self.doing == Doing::Waiting && now.saturating_sub(self.asleep) >= CLOSELY
    }
}

impl Tracker {
    /// After how many ns the next round should come, where that is soon: many waits end
    /// unseen.
    pub(crate) fn looks_again_after(&self) -> Option<u64> {
        self.glances.as_ref().and_then(Glances::looks_again_after)
    }

    /// Looks at the threads that may be blocked at `now`, where the records `ahead` are read
    /// and not taken in yet.
    pub(super) fn glance<'a>(
        &mut self,
        now: u64,
        ahead: impl Iterator<Item = &'a Record>,
        clock: &impl Fn() -> u64,
    ) {
        let Some(glances) = &mut self.glances else { return };
        let ahead = ahead.filter(|record| record.is_of_switch());
        glances.ahead.clear();
        glances.ahead.extend(ahead.map(|record| Tid(record.tid)));
        let cpu = u64::try_from(own_cpu().as_nanos()).unwrap_or(u64::MAX);
        glances.begin_round(now, cpu);
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

    /// Threads to look at: of their present wait too little is known at `now`, by all
    /// records so far.
    pub(super) fn unseen(&self) -> Vec<Tid> {
        let unseen = self.threads.iter().filter(|(tid, thread)| match thread.looked_at {
            _ if thread.doing != Doing::Waiting || self.has_gone_on(**tid) => true,
            // Of a short one it is to be known when it is over, too.
            Looked::No | Looked::Briefly => true,
            Looked::Closely | Looked::Awake => false,
        });
        let mut unseen: Vec<Tid> = unseen.map(|(tid, _)| *tid).collect();
        unseen.sort_unstable();
        unseen
    }

    fn has_gone_on(&self, tid: Tid) -> bool {
        self.glances.as_ref().is_some_and(|glances| glances.ahead.contains(&tid))
    }

    pub(super) fn glance_at(
        &mut self,
        now: u64,
        tid: Tid,
        stacks: &mut usize,
        clock: &impl Fn() -> u64,
    ) {
        let start = clock();
        let Some(thread) = self.threads.get(&tid) else { return };
        let goes_on = self.has_gone_on(tid);
        let (pid, closely) = (thread.pid, thread.lasts(now) && !goes_on);
        let again = thread.looked_at == Looked::Briefly && !closely && !goes_on;
        let Some(space) = self.processes.get(&pid).map(|process| process.space) else { return };
        let mut call = self.waits.call_again(pid, tid);
        let mut tries = if self.pauses.paused() { TRIES_IN_PAUSE } else { 0 };
        while call == Call::Running && tries > 0 {
            tries -= 1;
            call = self.waits.call_again(pid, tid);
        }
        // A short wait is over before its stack is read.
        let seen = clock();
        if call == Call::Running {
            self.looks.put(seen, Reading::Awake { tid, start });
        }
        if again {
            return;
        }
        if call == Call::Hidden {
            self.glance_at_channel((pid, space), tid, start, clock);
        }
        let Some(call) = call.waiting() else { return };
        let stopped = closely && self.waits.inspector().is_stopped(pid.0, tid.0);
        let mut new = vec![];
        let site = if stopped {
            self.waits.stopped(pid, |event| new.push(event))
        } else {
            self.waits.looked(now, (pid, space), call, |event| new.push(event)).site
        };
        // In the order of the stream, not of the clock.
        self.report_sites(self.now, space, new);
        let registers = UserRegisters::new(call.pc, call.sp);
        // Where nothing was known of the code yet, as of a program that had just begun, the
        // place is all there is.
        let is_all = |user: &UserHalf| user.addresses.len() > 1 && !self.scripts.may_run_in(space);
        let known = self.known_stack(tid, &registers).filter(is_all);
        let stack = known.map(|user| Calls::Of(registers, user));
        let to_read = stack.is_none() && *stacks > 0;
        let glance = Glance { start, tid, site, stack, limit: None, closely };
        self.looks.put(seen, Reading::Glance(glance));
        let limit = self.waits.inspector().limit(pid.0, call);
        let stack = if to_read { self.read_stack_and_script(tid, registers) } else { None };
        *stacks -= usize::from(to_read);
        if limit.is_some() || stack.is_some() {
            let stack = stack.map(|(registers, user)| Calls::Of(registers, user));
            let glance = Glance { start, tid, site, stack, limit, closely };
            self.looks.put(clock(), Reading::Glance(glance));
        }
    }

    /// Reports sites that a look found, and whether the target itself holds the other end of
    /// what is waited on: it may be that no wakeup ever tells.
    pub(super) fn report_sites(&mut self, time: u64, space: SpaceId, new: Vec<Event>) {
        if !new.is_empty() {
            self.report_space(time, space);
        }
        for event in new {
            let processes = self.processes.keys().copied();
            let inside = self.waits.inspector().inside(&event, processes);
            [event].into_iter().chain(inside).for_each(|event| self.emit(time, event));
        }
    }

    /// A look that ended at `read`, before which every record has been taken in.
    pub(super) fn place_glance(&mut self, read: u64, glance: Glance) {
        let Glance { start, tid, site, stack, limit, closely } = glance;
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        // What ran when the look began has gone to wait since, once. In a pause no wait is told
        // of, and it is only known that there are such.
        let told = !self.pauses.is_untold(thread);
        if told && (thread.doing != Doing::Waiting || thread.asleep.min(thread.ran) > start) {
            return;
        }
        thread.site = Some(site);
        thread.looked_at = if closely { Looked::Closely } else { Looked::Briefly };
        let stack = stack.and_then(|calls| match calls {
            Calls::Of(registers, user) => self.stack_of_look(read, tid, &registers, user),
            Calls::Channel(function) => self.stack_in_channel(read, tid, function),
        });
        self.emit(read, Event::Look { tid, site, stack });
        if let Some(limit) = limit {
            self.emit(read, limit.event(tid));
        }
    }

    /// A look that ended at `read` found a thread ready to run.
    pub(super) fn place_awake(&mut self, read: u64, tid: Tid, start: u64) {
        let Some(thread) = self.threads.get(&tid) else { return };
        // Else it may have run when the look began.
        let ready = thread.doing == Doing::Waiting && thread.asleep < start;
        let ready = ready && !self.pauses.paused();
        if ready && thread.looked_at != Looked::Awake {
            self.settle_wait(read, tid);
            self.emit(read, Event::Awake { tid });
            if let Some(thread) = self.threads.get_mut(&tid) {
                thread.looked_at = Looked::Awake;
            }
        }
    }

    /// A wait ends at `time`: whether anybody looked.
    pub(super) fn settle_wait(&mut self, time: u64, tid: Tid) {
        let Some(glances) = &mut self.glances else { return };
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        if thread.doing != Doing::Waiting {
            return;
        }
        let looked = std::mem::replace(&mut thread.looked_at, Looked::No);
        if thread.site.is_none() && looked != Looked::Awake {
            glances.missed += time.saturating_sub(thread.asleep.max(self.start));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// For how many of these milliseconds looks come sooner, where a wait ends unseen
    /// every ten of them unless they do.
    fn hungry(glances: &mut Glances, ms: std::ops::Range<u64>) -> usize {
        let mut is_hungry = |at: u64| {
            glances.begin_round(at * MS, 0);
            let hungry = glances.looks_again_after().is_some();
            glances.missed += if hungry { 0 } else { MS / 5 };
            hungry
        };
        ms.filter(|at| is_hungry(*at)).count()
    }

    #[test]
    fn looks_that_are_wanted_again_and_again_go_on_for_longer() {
        let mut glances = Glances::default();
        let [first, later] = [0..500, 5_000..10_000].map(|ms| hungry(&mut glances, ms));
        assert!((300..480).contains(&first), "{first} of 500");
        assert!(later > 4_900, "{later} of 5000");
    }

    #[test]
    fn who_was_sated_for_long_is_hungry_for_as_short_as_at_first() {
        let mut glances = Glances::default();
        hungry(&mut glances, 0..2_000);
        let sated = 1_000 * LONGEST_HUNGER / HUNGER;
        glances.begin_round((sated - 10) * MS, 0);
        glances.missed = SPELL;
        glances.begin_round(sated * MS, 0);
        assert_eq!(glances.hungry_until, sated * MS + HUNGER);
    }

    #[test]
    fn at_first_looks_come_soon_and_hardly_anything_may_be_unseen() {
        // One part in fifty ends unseen.
        let after = |begin: u64| {
            let mut glances = Glances::default();
            glances.begin_round(MS, 0);
            (begin..begin + 200).for_each(|at| {
                glances.begin_round(at * MS, 0);
                glances.missed += MS / 50;
            });
            glances.looks_again_after()
        };
        let mut glances = Glances::default();
        glances.begin_round(MS, 0);
        assert!(glances.looks_again_after().is_some());
        assert!(after(2).is_some_and(|soon| soon < LATER.closest));
        assert_eq!(after(FIRST / MS + 2), None);
    }
}
