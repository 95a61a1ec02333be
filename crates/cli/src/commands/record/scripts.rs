//! Reads the stacks of Python programs: `symbols` finds the interpreter in a
//! process, `python` reads its threads.

mod refusal;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use whyslow_events::{
    Event, Fallback, GilHolder, GilPlace, LoopTurn, Ns, ReadScripts, ScriptCall, ScriptRead,
    SpaceId, TargetProcess, Tid,
};
use whyslow_python::{
    Frame, Memory, Motion, Read, Reader, Rejection, Tasks, Thread, Trouble, Unsupported, kernel_ids,
};
use whyslow_symbols::Interpreters;

/// Least time between two listings of a process's threads, when one is not known, ...
const LISTING: Duration = Duration::from_millis(1);
/// ... and as many times as long as a listing took.
const LISTING_PART: u32 = 300;
/// Time between two counts of the tasks of an event loop.
const COUNTING: Duration = Duration::from_secs(1);
/// Time between two looks for asyncio's description of itself, which may not be loaded yet.
const SEEKING: Duration = Duration::from_millis(100);
/// The first version that tells of its tasks.
const TASKS_TOLD: (u8, u8) = (3, 14);
/// Spaces that are remembered; those of short-lived processes are dropped.
const SPACES: usize = 1 << 10;

/// The Python programs of a target.
pub struct Scripts {
    interpreters: Interpreters,
    spaces: HashMap<SpaceId, Found>,
    /// What the event loop of the thread read last is at.
    turn: Option<LoopTurn>,
}

/// What is known of an address space.
enum Found {
    /// No Python runs there.
    Nothing,
    /// One that cannot be read.
    Refused(Fallback),
    /// The same, which is no news if it has just ended.
    Unreadable(Fallback),
    /// One that can.
    Python(Box<Python>),
}

/// A Python program.
struct Python {
    reader: Reader,
    /// By the number in the innermost PID namespace of the process. A thread that
    /// runs sub-interpreters is known to several: the innermost is first.
    threads: HashMap<u64, Vec<Thread>>,
    /// The same number by the address of a thread state.
    states: HashMap<u64, u64>,
    inner: HashMap<Tid, u64>,
    /// The other way round.
    outer: HashMap<u64, Tid>,
    /// Its threads are not listed again before then.
    listable: Option<Instant>,
    /// What was wrong with the list then.
    listing: Option<Trouble>,
    tasks: Described,
    /// By how many ns its clock is ahead of ours.
    ahead: i64,
}

/// What asyncio says of itself, and when it was asked for it.
#[derive(Default)]
struct Described {
    at: Option<u64>,
    sought: Option<Instant>,
    counted: Option<Instant>,
}

impl Scripts {
    /// None yet.
    #[must_use]
    pub fn new(interpreters: Interpreters) -> Self {
        Scripts { interpreters, spaces: HashMap::new(), turn: None }
    }

    fn find(&mut self, space: SpaceId, memory: &Asked<'_>) -> Found {
        let Some(found) = self.interpreters.python(space) else { return Found::Nothing };
        let Some(runtime) = found.runtime else {
            return Found::Refused(refusal::no_runtime(&found));
        };
        let version = found.version.as_deref().and_then(|text| text.parse().ok());
        match Reader::new(memory, runtime, version) {
            Ok(reader) => Found::Python(Box::new(Python {
                reader,
                threads: HashMap::new(),
                states: HashMap::new(),
                inner: HashMap::new(),
                outer: HashMap::new(),
                listable: None,
                listing: None,
                tasks: Described::default(),
                ahead: memory.0.clock_ahead(),
            })),
            Err(why @ Unsupported::Unreadable) => {
                Found::Unreadable(refusal::unsupported(&found, why))
            }
            Err(why) => Found::Refused(refusal::unsupported(&found, why)),
        }
    }

    /// Looks what runs in `space`, if nobody has yet.
    fn look(&mut self, space: SpaceId, memory: &Asked<'_>) {
        if !self.spaces.contains_key(&space) {
            if self.spaces.len() >= SPACES {
                self.spaces.clear();
            }
            let found = self.find(space, memory);
            self.spaces.insert(space, found);
        }
    }
}

fn call(frame: Frame) -> ScriptCall {
    ScriptCall {
        function: Arc::clone(&frame.code.function),
        file: Arc::clone(&frame.code.file),
        first_line: frame.code.first_line,
        line: frame.line.unwrap_or(0),
        entry: frame.entry,
    }
}

impl ReadScripts for Scripts {
    fn observe(&mut self, event: &Event) {
        if let Some(changed) = self.interpreters.observe(event)
            && !matches!(self.spaces.get(&changed), Some(Found::Python(_)))
        {
            self.spaces.remove(&changed);
        }
    }

    fn read(
        &mut self,
        space: SpaceId,
        tid: Tid,
        process: &dyn TargetProcess,
        blocked: bool,
    ) -> ScriptRead {
        self.turn = None;
        let memory = Asked(process);
        self.look(space, &memory);
        let Some(Found::Python(python)) = self.spaces.get_mut(&space) else {
            return ScriptRead::Nothing;
        };
        let Some(thread) = python.thread(tid, &memory) else { return ScriptRead::Nothing };
        let motion = if blocked { Motion::Blocked } else { Motion::Running };
        match python.reader.read(&memory, &thread, motion) {
            Read::Outside(stack) => {
                ScriptRead::Outside(stack.frames.into_iter().map(call).collect())
            }
            Read::Accepted(stack) => {
                self.turn = stack.turn.map(|turn| {
                    let tasks = python.tasks(&thread, &memory, || self.interpreters.asyncio(space));
                    let since =
                        turn.since.map(|time| Ns(time.saturating_add_signed(-python.ahead)));
                    LoopTurn { since, task: tasks.running, tasks: tasks.count }
                });
                ScriptRead::Calls(stack.frames.into_iter().map(call).collect())
            }
            // The interpreter describes it anew, or not at all any more.
            Read::Rejected(Rejection::Gone) => {
                python.forget(tid);
                ScriptRead::Nothing
            }
            Read::Rejected(_) => ScriptRead::Rejected,
        }
    }

    fn loop_turn(&mut self) -> Option<LoopTurn> {
        self.turn.take()
    }

    fn gil(
        &mut self,
        space: SpaceId,
        tid: Tid,
        process: &dyn TargetProcess,
    ) -> Option<(GilPlace, GilHolder)> {
        let memory = Asked(process);
        self.look(space, &memory);
        match self.spaces.get_mut(&space) {
            Some(Found::Python(python)) => python.gil(tid, &memory),
            _ => None,
        }
    }

    fn may_run_in(&self, space: SpaceId) -> bool {
        !matches!(
            self.spaces.get(&space),
            Some(Found::Nothing | Found::Refused(_) | Found::Unreadable(_))
        )
    }

    fn refusals(&self) -> Vec<Fallback> {
        let mut all = self.spaces.values();
        let any = all.any(|found| matches!(found, Found::Python(_)));
        let told = |found: &Found| match found {
            Found::Nothing => None,
            Found::Unreadable(why) => (!any).then(|| why.clone()),
            Found::Refused(why) => Some(why.clone()),
            Found::Python(python) => {
                let Python { reader, listing, .. } = &**python;
                refusal::damaged(reader.version(), reader.counters(), *listing)
            }
        };
        let mut refusals: Vec<Fallback> = self.spaces.values().filter_map(told).collect();
        // Many processes of one program have one reason.
        refusals.sort_by(|a, b| (&a.wanted, &a.errno).cmp(&(&b.wanted, &b.errno)));
        refusals.dedup();
        refusals
    }
}

impl Python {
    /// The interpreter's description of a thread.
    fn thread(&mut self, tid: Tid, memory: &Asked<'_>) -> Option<Thread> {
        let inner = match self.inner.get(&tid) {
            Some(inner) => *inner,
            None => {
                let inner = memory.0.inner_tid(tid)?;
                self.inner.insert(tid, inner);
                self.outer.insert(inner, tid);
                inner
            }
        };
        if !self.threads.contains_key(&inner) {
            let begun = Instant::now();
            if self.listable.is_none_or(|listable| listable <= begun) {
                self.list(memory);
                let rest = begun.elapsed().saturating_mul(LISTING_PART).max(LISTING);
                self.listable = begun.checked_add(rest);
            }
        }
        self.threads.get(&inner)?.first().copied()
    }

    /// The tasks of an event loop; `find` looks for what describes them.
    fn tasks(
        &mut self,
        thread: &Thread,
        memory: &Asked<'_>,
        find: impl FnOnce() -> Option<u64>,
    ) -> Tasks {
        let due = |last: &mut Option<Instant>, interval| {
            let due = last.is_none_or(|last| last.elapsed() >= interval);
            if due {
                *last = Some(Instant::now());
            }
            due
        };
        let tells = self.reader.version().release() >= TASKS_TOLD;
        if tells && self.tasks.at.is_none() && due(&mut self.tasks.sought, SEEKING) {
            self.tasks.at = find();
        }
        let Some(at) = self.tasks.at else { return Tasks::default() };
        let count = due(&mut self.tasks.counted, COUNTING);
        self.reader.tasks(memory, thread, at, count).unwrap_or_default()
    }

    fn list(&mut self, memory: &Asked<'_>) -> Option<()> {
        let interpreters = self.reader.interpreters(memory);
        let trouble = match &interpreters {
            Ok(interpreters) => interpreters.iter().find_map(|interpreter| interpreter.trouble),
            Err(trouble) => Some(*trouble),
        };
        // That a process cannot be read any more says less than what was wrong before.
        if self.listing.is_none() || !matches!(trouble, Some(Trouble::Unreadable(_))) {
            self.listing = trouble;
        }
        let interpreters = interpreters.ok()?;
        let threads: Vec<Thread> =
            interpreters.into_iter().flat_map(|interpreter| interpreter.threads).collect();
        let noted: Option<Vec<u64>> = threads.iter().map(|thread| thread.native).collect();
        let numbers = match noted {
            Some(numbers) => numbers,
            None => {
                let there = memory.0.inner_tids();
                kernel_ids(memory, &threads, |number| there.contains(&number))?
            }
        };
        self.states =
            threads.iter().map(|thread| thread.state).zip(numbers.iter().copied()).collect();
        self.threads.clear();
        for (number, thread) in numbers.into_iter().zip(threads) {
            self.threads.entry(number).or_default().push(thread);
        }
        self.inner.retain(|_, inner| self.threads.contains_key(inner));
        Some(())
    }

    /// The GIL under which a thread runs code now: the one it holds, else that of
    /// the innermost interpreter that knows it.
    fn gil(&mut self, tid: Tid, memory: &Asked<'_>) -> Option<(GilPlace, GilHolder)> {
        self.thread(tid, memory)?;
        let number = *self.inner.get(&tid)?;
        let mut innermost = None;
        for thread in self.threads.get(&number)? {
            let gil = self.reader.gil(memory, thread.interpreter).ok()??;
            let holder = match gil.holder.map(|state| self.states.get(&state)) {
                None => GilHolder::Nobody,
                Some(Some(holder)) if *holder == number => GilHolder::Itself,
                Some(holder) => {
                    GilHolder::Other(holder.and_then(|holder| self.outer.get(holder)).copied())
                }
            };
            let ends = |range: Range<u64>| (range.start, range.end);
            let place = GilPlace { lock: ends(gil.lock), queue: ends(gil.queue) };
            if holder == GilHolder::Itself {
                return Some((place, holder));
            }
            innermost.get_or_insert((place, holder));
        }
        innermost
    }

    fn forget(&mut self, tid: Tid) {
        if let Some(inner) = self.inner.remove(&tid) {
            self.outer.remove(&inner);
            self.threads.remove(&inner);
        }
    }
}

/// Memory of the target as the reader asks for it.
struct Asked<'a>(&'a dyn TargetProcess);

impl Memory for Asked<'_> {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        self.0.read(&mut [(address, into)])
    }

    fn read_many(&self, ranges: &mut [(u64, &mut [u8])]) -> bool {
        self.0.read(ranges)
    }
}

#[cfg(test)]
mod tests {
    use whyslow_python::Version;

    #[test]
    fn versions_are_read_as_python_writes_them() {
        let hex = |text: &str| text.parse::<Version>().ok().map(|version| version.0);
        assert_eq!(hex("3.11.7"), Some(0x030b_07f0));
        assert_eq!(hex("3.13"), Some(0x030d_00f0));
        assert_eq!(hex("3.14.0rc2"), Some(0x030e_00f0));
        assert_eq!(hex("3"), None);
    }
}
