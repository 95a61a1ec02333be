//! Stacks of interpreted programs: of threads that run read once in a round, of
//! threads that are blocked together with their native stack.

use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;
use std::rc::Rc;

use whyslow_events::{
    Event, GilHolder, GilPlace, LoopTurn, Pid, ReadScripts, ScriptCall, ScriptFrame, ScriptRead,
    ScriptReads, SpaceId, StackEnd, Tid, UserRegisters,
};

use super::moments::{BETWEEN, Moments};
use super::newborn::Newborn;
use super::precise::Precise;
use super::{Doing, Thread, Tracker};
use crate::inspect::Process;
use crate::perf::interner::{Chain, Codes, UserHalf};

/// A thread that ran this lately may run now, ns.
pub(super) const LATELY: u64 = 100_000_000;
/// Threads read in one round at most: some 20 µs each.
const READS_PER_ROUND: usize = 16;
/// The same of threads that wait: long waits are looked at all the same.
const RESTING_PER_ROUND: usize = 4;
/// The next such round begins after this time, ns; in those between, which are short, ...
const ALL: u64 = 9_000_000;
/// ... so many of the threads that run are read, ...
const READS_BETWEEN: usize = 2;
/// ... or of those that were just sampled.
const READS_OF_SAMPLED: usize = 4;
/// Threads that run in turns, and of which each is read often enough to tell.
const FEW: RangeInclusive<usize> = 2..=4;
/// Reads of one thread that are kept, until the records of their time come.
const KEPT: usize = 8;
/// A read says nothing of a sample farther away, ns, nor of one that a wait lies between.
const NEAR: u64 = 20_000_000;

/// The thread moved while it was read; these of its calls, the outermost, stood still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    outside: Option<Script>,
}

/// Calls, innermost first.
pub(super) type Script = Rc<[ScriptFrame]>;

/// Who reads, and what was seen.
#[derive(Default)]
pub(super) struct Scripts {
    reader: Option<Box<dyn ReadScripts>>,
    codes: Codes,
    reads: ScriptReads,
    pub(super) precise: Precise,
    pub(super) newborn: Newborn,
    /// Where the next round begins, among threads that run and such that wait.
    turns: [usize; 2],
    /// When the last was that was not between others, and whether it found [`FEW`] threads.
    all_read: u64,
    pub(super) last_read: u64,
    pub(super) few: bool,
    pub(super) moments: Moments,
}

impl fmt::Debug for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripts").field("codes", &self.codes.len()).finish_non_exhaustive()
    }
}

impl Scripts {
    pub(super) fn read_with(&mut self, reader: Box<dyn ReadScripts>) {
        self.reader = Some(reader);
    }

    pub(super) fn observe(&mut self, event: &Event) {
        if let Some(reader) = &mut self.reader {
            reader.observe(event);
        }
    }

    /// Lets the reader find the interpreter of a process and a thread in it.
    pub(super) fn prepare(&mut self, space: SpaceId, tid: Tid, process: &Process) {
        if let Some(reader) = &mut self.reader {
            reader.read(space, tid, process, false);
        }
    }

    /// What the event loop is at whose thread was read last.
    pub(super) fn loop_turn(&mut self) -> Option<LoopTurn> {
        self.reader.as_mut()?.loop_turn()
    }

    pub(super) fn gil(
        &mut self,
        space: SpaceId,
        tid: Tid,
        process: &Process,
    ) -> Option<(GilPlace, GilHolder)> {
        self.reader.as_mut()?.gil(space, tid, process)
    }

    pub(super) fn may_run_in(&self, space: SpaceId) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.may_run_in(space))
    }
}

/// A read, and whether the thread ran then.
#[derive(Clone, Debug)]
struct Seen {
    start: u64,
    end: u64,
    ran: bool,
    script: Script,
    /// The native stack that was read with them, and where it begins.
    native: Option<(UserRegisters, UserHalf)>,
}

impl Seen {
    /// The calls with the native stack of the wait they were read in, of which `known` is
    /// known, and with what registers it began.
    fn with_native(&self, known: &UserHalf, left: Option<&UserRegisters>) -> UserHalf {
        let place = |registers: &UserRegisters| (registers.pc, registers.sp());
        let read = self.native.as_ref().filter(|(registers, _)| {
            known.end == StackEnd::None && left.map(place) == Some(place(registers))
        });
        let native = read.map_or(known, |(_, user)| user);
        UserHalf { script: self.script.clone(), ..native.clone() }
    }
}

/// What one thread ran or waited in lately.
#[derive(Debug, Default)]
pub(super) struct Lately(VecDeque<Seen>);

impl Lately {
    /// What was read from `start` to `end`.
    pub(super) fn see(&mut self, [start, end]: [u64; 2], ran: bool, script: Script) {
        self.push(Seen { start, end, ran, script, native: None });
    }

    /// What was read of a thread that waits, with its native stack.
    pub(super) fn see_waiting(
        &mut self,
        [start, end]: [u64; 2],
        script: Script,
        native: (UserRegisters, UserHalf),
    ) {
        self.push(Seen { start, end, ran: false, script, native: Some(native) });
    }

    fn push(&mut self, seen: Seen) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(seen);
    }

    /// The read nearest to `time` of those while it ran, unless it is far. The
    /// thread has not waited from `since` to `until`.
    pub(super) fn at(&self, time: u64, [since, until]: [u64; 2]) -> Option<Script> {
        let counts = |seen: &&Seen| {
            let near = seen.start.abs_diff(time) <= NEAR;
            seen.ran && near && since <= seen.start && seen.end <= until
        };
        let near = self.0.iter().filter(counts);
        near.min_by_key(|seen| seen.start.abs_diff(time)).map(|seen| seen.script.clone())
    }

    /// What was read wholly between `start` and `end`.
    fn within(&self, start: u64, end: u64) -> Option<&Seen> {
        let inside = |seen: &&Seen| start < seen.start && seen.end < end;
        self.0.iter().rfind(inside)
    }
}

/// So many of `threads`, each in its turn.
fn next(mut threads: Vec<Tid>, most: usize, turn: &mut usize) -> Vec<Tid> {
    threads.sort_unstable();
    let first = if *turn < threads.len() { *turn } else { 0 };
    *turn = first + most;
    threads.into_iter().skip(first).take(most).collect()
}

impl Tracker {
    /// Reads threads that compute at `now`, by the records that were foreseen, those that were
    /// just sampled first; `clock` tells the time of each read.
    pub(crate) fn read_computing(&mut self, now: u64, clock: impl Fn() -> u64) {
        let Some(passed) = now.checked_sub(self.scripts.last_read) else { return };
        if self.scripts.reader.is_none() || passed < BETWEEN {
            return;
        }
        self.scripts.last_read = now;
        let ahead = &self.scripts.moments.ahead;
        let may_run = |thread: &Thread| {
            let process = self.processes.get(&thread.pid);
            process.is_some_and(|process| self.scripts.may_run_in(process.space))
        };
        let computing = self.threads.iter().filter(|(tid, it)| ahead.computes(**tid, it));
        let computing = computing.filter(|(_, thread)| may_run(thread)).map(|(tid, _)| *tid);
        let (mut wanted, others): (Vec<Tid>, Vec<Tid>) =
            computing.partition(|tid| ahead.sampled.contains(tid));
        if !(wanted.is_empty() && others.is_empty()) {
            self.scripts.moments.computed = now;
        }
        wanted.truncate(READS_OF_SAMPLED);
        let most = READS_BETWEEN.saturating_sub(wanted.len());
        wanted.extend(next(others, most, &mut self.scripts.turns[0]));
        self.read_each(&wanted, &clock);
    }

    /// Reads now and then, at `now`, all threads that run or did so lately, some of those that
    /// wait, and such as are just born; `clock` tells the time of each read.
    pub(crate) fn read_scripts(&mut self, now: u64, clock: impl Fn() -> u64) {
        if self.scripts.reader.is_none() {
            return;
        }
        self.read_newborn(now, &clock);
        if now.saturating_sub(self.scripts.all_read) < ALL {
            return;
        }
        self.scripts.all_read = now;
        let lately = self.threads.iter().filter(|(_, thread)| {
            thread.doing == Doing::Running || thread.ran.saturating_add(LATELY) >= now
        });
        let (resting, running): (Vec<_>, Vec<_>) =
            lately.partition(|(_, thread)| thread.doing == Doing::Waiting);
        self.scripts.few = FEW.contains(&(resting.len() + running.len()));
        // Of a wait that goes on all is known.
        let resting = resting.into_iter().filter(|(_, thread)| !thread.repeats.goes_on());
        let running = running.into_iter().map(|(tid, _)| *tid).collect();
        let resting = resting.map(|(tid, _)| *tid).collect();
        let [turn, other] = &mut self.scripts.turns;
        let mut wanted = next(running, READS_PER_ROUND, turn);
        wanted.extend(next(resting, RESTING_PER_ROUND, other));
        self.read_each(&wanted, &clock);
    }

    fn read_each(&mut self, wanted: &[Tid], clock: &impl Fn() -> u64) {
        let mut holders: Vec<Tid> = vec![];
        for tid in wanted {
            // By now it is most likely who has the GIL that runs.
            let holder = self.look_at_gil(*tid, clock);
            holders.extend(holder.filter(|holder| !wanted.contains(holder)));
            self.read_running(*tid, clock);
        }
        holders.sort_unstable();
        holders.dedup();
        holders.into_iter().for_each(|tid| self.read_running(tid, clock));
    }

    fn read_running(&mut self, tid: Tid, clock: &impl Fn() -> u64) {
        let start = clock();
        let held = self.hold(tid, clock);
        let read = self.read_script(tid, held.is_some());
        let stood = held.is_some();
        self.release(held, clock);
        match read {
            None => {}
            Some(Err(Moved { outside })) => {
                self.scripts.reads.rejected += 1;
                if let (Some(script), Some(thread)) = (outside, self.threads.get_mut(&tid)) {
                    thread.lately.see([start, clock()], true, script);
                }
            }
            Some(Ok(script)) => {
                self.note_turn(tid, clock);
                let Some(thread) = self.threads.get_mut(&tid) else { return };
                // What a thread waits in says nothing of what it computes before.
                let ran = stood || self.waits.inspector().runs(thread.pid.0, tid.0);
                self.scripts.reads.accepted += u64::from(ran);
                thread.lately.see([start, clock()], ran, script);
            }
        }
    }

    /// Gives the wait that ends at `time` the calls that were read in its midst:
    /// no record says that the thread moved between its beginning and now.
    pub(super) fn end_wait(&mut self, time: u64, tid: Tid) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        if thread.doing != Doing::Waiting {
            return;
        }
        let Some(chain) = thread.waits_in.take() else { return };
        let Some(seen) = thread.lately.within(thread.asleep, time) else { return };
        let Some(site) = thread.site else { return };
        let Some(space) = self.processes.get(&thread.pid).map(|process| process.space) else {
            return;
        };
        let user = seen.with_native(&chain.user, thread.left.as_ref());
        let chain = Chain { user, ..chain };
        let stack = self.number(time, space, &chain);
        if let Some(thread) = self.threads.get_mut(&tid)
            && let Some(registers) = thread.left
        {
            thread.repeats.see(&registers, stack);
        }
        self.emit(time, Event::Look { tid, site, stack: Some(stack) });
    }

    /// The interpreted calls of a thread as they are now; `None` when it has none.
    pub(super) fn read_script(&mut self, tid: Tid, blocked: bool) -> Option<Result<Script, Moved>> {
        let pid = self.threads.get(&tid)?.pid;
        let space = self.processes.get(&pid)?.space;
        self.read_calls((pid, space), tid, blocked)
    }

    /// The same of a thread of this process and its space.
    pub(super) fn read_calls(
        &mut self,
        (pid, space): (Pid, SpaceId),
        tid: Tid,
        blocked: bool,
    ) -> Option<Result<Script, Moved>> {
        let process = Process::new(pid.0);
        match self.scripts.reader.as_mut()?.read(space, tid, &process, blocked) {
            ScriptRead::Nothing => None,
            ScriptRead::Rejected => Some(Err(Moved { outside: None })),
            ScriptRead::Outside(calls) => {
                Some(Err(Moved { outside: Some(self.number_calls(calls)) }))
            }
            ScriptRead::Calls(calls) => Some(Ok(self.number_calls(calls))),
        }
    }

    fn number_calls(&mut self, calls: Vec<ScriptCall>) -> Script {
        let (codes, mut new) = (&mut self.scripts.codes, vec![]);
        let frame = |call| codes.frame(call, |event| new.push(event));
        let script = calls.into_iter().map(frame).collect();
        new.into_iter().for_each(|event| self.emit(self.now, event));
        script
    }

    /// Says how the reads went, and what could not be read, at the end.
    pub(crate) fn note_script_reads(&mut self, time: u64) {
        let refusals = self.scripts.reader.as_ref().map(|reader| reader.refusals());
        for refusal in refusals.unwrap_or_default() {
            self.emit(time, Event::Fallback(refusal));
        }
        let reads = self.scripts.reads;
        self.emit(time, Event::ScriptReads(reads));
        self.note_stops(time);
    }
}

#[cfg(test)]
mod tests {
    use whyslow_events::CodeId;

    use super::*;

    #[test]
    fn each_thread_has_its_turn() {
        let threads = || (0..5).rev().map(Tid).collect();
        let mut turn = 0;
        let rounds: Vec<Vec<Tid>> = (0..4).map(|_| next(threads(), 2, &mut turn)).collect();
        let numbers: Vec<Vec<u32>> =
            rounds.iter().map(|round| round.iter().map(|tid| tid.0).collect()).collect();
        assert_eq!(numbers, [vec![0, 1], vec![2, 3], vec![4], vec![0, 1]]);
        assert_eq!(next(vec![], 2, &mut turn), []);
    }

    #[test]
    fn a_sample_has_the_nearest_read_and_none_that_is_far() {
        let mut lately = Lately::default();
        let script = |line| Script::from([ScriptFrame { code: CodeId(0), line, entry: true }]);
        for (time, line) in [(10_000_000, 1), (20_000_000, 2), (30_000_000, 3)] {
            lately.see([time, time + 1], true, script(line));
        }
        lately.see([31_000_000, 32_000_000], false, script(4));
        let line = |time| lately.at(time, [0, u64::MAX]).map(|script| script[0].line);
        assert_eq!([14_000_000, 16_000_000, 45_000_000].map(line), [Some(1), Some(2), Some(3)]);
        assert_eq!(line(60_000_000), None);
        let between =
            |time, since, until| lately.at(time, [since, until]).map(|script| script[0].line);
        assert_eq!(between(34_000_000, 32_000_000, u64::MAX), None, "of before the wait");
        assert_eq!(between(29_000_000, 28_000_000, 30_000_001), Some(3));
        assert_eq!(between(29_000_000, 28_000_000, 29_900_000), None, "of behind the next");
        let within = |start, end| lately.within(start, end).map(|seen| seen.script[0].line);
        assert_eq!(within(30_500_000, 33_000_000), Some(4));
        assert_eq!(within(30_500_000, 32_000_000), None, "the read ended with the wait");
        assert_eq!(within(31_000_000, 33_000_000), None, "it began with it");
    }
}
