//! Stacks of interpreted programs: of threads that run read once in a round, of
//! threads that are blocked together with their native stack.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use whyslow_events::{CodeId, Event, ReadScripts, ScriptCall, ScriptFrame, SpaceId, Tid};

use super::{Doing, Tracker};
use crate::inspect::Process;

/// A thread that ran this lately may run now, ns.
const LATELY: u64 = 100_000_000;
/// Threads read in one round at most: some 20 µs each.
const READS_PER_ROUND: usize = 16;
/// Reads of one thread that are kept, until the records of their time come.
const KEPT: usize = 8;
/// A read says nothing of a sample farther away, ns.
const NEAR: u64 = 20_000_000;

/// Calls, innermost first.
pub(super) type Script = Rc<[ScriptFrame]>;

/// Who reads, and what was seen.
#[derive(Default)]
pub(super) struct Scripts {
    reader: Option<Box<dyn ReadScripts>>,
    codes: HashMap<(Arc<str>, Arc<str>), CodeId>,
    /// Where the next round begins.
    turn: usize,
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

    pub(super) fn may_run_in(&self, space: SpaceId) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.may_run_in(space))
    }
}

/// What one thread ran lately, with the time of each read.
#[derive(Debug, Default)]
pub(super) struct Lately(VecDeque<(u64, Script)>);

impl Lately {
    fn push(&mut self, time: u64, script: Script) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((time, script));
    }

    /// The read nearest to `time`, unless it is far from it.
    pub(super) fn at(&self, time: u64) -> Option<Script> {
        let nearest = self.0.iter().min_by_key(|(read, _)| read.abs_diff(time))?;
        (nearest.0.abs_diff(time) <= NEAR).then(|| nearest.1.clone())
    }
}

impl Tracker {
    /// Reads the threads that may run at `now`; `clock` tells the time of each read.
    pub(crate) fn read_scripts(&mut self, now: u64, clock: impl Fn() -> u64) {
        if self.scripts.reader.is_none() {
            return;
        }
        let mut running: Vec<Tid> = self
            .threads
            .iter()
            .filter(|(_, thread)| {
                thread.doing == Doing::Running || thread.ran.saturating_add(LATELY) >= now
            })
            .map(|(tid, _)| *tid)
            .collect();
        running.sort_unstable();
        let turn = if self.scripts.turn < running.len() { self.scripts.turn } else { 0 };
        self.scripts.turn = turn + READS_PER_ROUND;
        for tid in running.into_iter().skip(turn).take(READS_PER_ROUND) {
            let time = clock();
            let Some(script) = self.read_script(tid, false) else { continue };
            let Some(thread) = self.threads.get_mut(&tid) else { continue };
            // What a thread waits in says nothing of what it computes before.
            if self.waits.inspector().runs(thread.pid.0, tid.0) {
                thread.lately.push(time, script);
            }
        }
    }

    /// The interpreted calls of a thread as they are now.
    pub(super) fn read_script(&mut self, tid: Tid, blocked: bool) -> Option<Script> {
        let thread = self.threads.get(&tid)?;
        let space = self.processes.get(&thread.pid)?.space;
        let process = Process::new(thread.pid.0);
        let calls = self.scripts.reader.as_mut()?.read(space, tid, &process, blocked)?;
        Some(calls.into_iter().map(|call| self.script_frame(call)).collect())
    }

    fn script_frame(&mut self, call: ScriptCall) -> ScriptFrame {
        let ScriptCall { function, file, line, entry } = call;
        let next = CodeId(u32::try_from(self.scripts.codes.len()).unwrap_or(u32::MAX));
        let code = *self.scripts.codes.entry((function.clone(), file.clone())).or_insert(next);
        if code == next {
            let event =
                Event::Code { id: code, function: (*function).into(), file: (*file).into() };
            self.emit(self.now, event);
        }
        ScriptFrame { code, line, entry }
    }

    /// Says how the reads went, at the end.
    pub(crate) fn note_script_reads(&mut self, time: u64) {
        if let Some(reader) = &self.scripts.reader {
            let reads = reader.reads();
            self.emit(time, Event::ScriptReads(reads));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_the_nearest_read_and_none_that_is_far() {
        let mut lately = Lately::default();
        let script = |line| Script::from([ScriptFrame { code: CodeId(0), line, entry: true }]);
        for (time, line) in [(10_000_000, 1), (20_000_000, 2), (30_000_000, 3)] {
            lately.push(time, script(line));
        }
        let line = |time| lately.at(time).map(|script| script[0].line);
        assert_eq!([14_000_000, 16_000_000, 45_000_000].map(line), [Some(1), Some(2), Some(3)]);
        assert_eq!(line(60_000_000), None);
    }
}
