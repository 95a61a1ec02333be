//! Reads stacks: which reads are believed, and how many were.

use std::collections::HashMap;
use std::sync::Arc;

use crate::chain::{self, Chain};
use crate::code::{Code, Codes};
use crate::layout::{Entry, Layout};
use crate::memory::Memory;
use crate::plan::{Fetched, Plan, View};
use crate::tasks::{self, Tasks};
use crate::threads::{self, Gil, Interpreter, Thread};
use crate::trouble::Trouble;
use crate::turn::{self, Turn};
use crate::version::{Unsupported, Version};

/// Reads the Python stacks of one process.
#[derive(Debug)]
pub struct Reader {
    runtime: u64,
    version: Version,
    layout: Layout,
    codes: Codes,
    /// By the address of the thread state.
    plans: HashMap<u64, Plan>,
    /// Where GILs are, by the address of the interpreter state.
    gils: HashMap<u64, Option<u64>>,
    fetched: Fetched,
    counters: Counters,
}

/// Whether a thread runs while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// It may: the stack is read twice, and believed when both agree.
    Running,
    /// It does not, which the caller proves: one read is enough.
    Blocked,
}

/// What a read gave.
#[derive(Clone, Debug)]
pub enum Read {
    /// The stack.
    Accepted(Stack),
    /// No stack that could be believed.
    Rejected(Rejection),
    /// The innermost calls changed meanwhile; those outside them stood still.
    Outside(Stack),
}

/// Why a stack was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The thread called or returned meanwhile.
    #[error("the thread moved while its stack was read")]
    Moved,
    /// The thread or the process ended.
    #[error("the thread is gone")]
    Gone,
    /// Memory makes no sense.
    #[error("the stack cannot be followed: {0}")]
    Damaged(Trouble),
}

/// The Python frames of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Innermost first; empty when no Python code runs.
    pub frames: Vec<Frame>,
    /// There are more frames outside the last.
    pub truncated: bool,
    /// Calls inside of the first came or went while it was read, and are left out.
    pub moved: bool,
    /// The innermost event loop of asyncio among the frames.
    pub turn: Option<Turn>,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What was called.
    pub code: Arc<Code>,
    /// The line it is at; some instructions have none.
    pub line: Option<u32>,
    /// It began an evaluation of its own in C: a native frame of the
    /// interpreter's belongs to it and to the frames inside it, up to the next
    /// such.
    pub entry: bool,
}

/// How many reads were believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Believed.
    pub accepted: u64,
    /// Rejected, but for calls that stood still, because the thread moved.
    pub moved: u64,
    /// Rejected, because it was gone.
    pub gone: u64,
    /// Rejected, because memory made no sense.
    pub damaged: u64,
}

/// Times a plan is extended before the thread is said to move.
const ATTEMPTS: usize = 4;

/// Threads whose plans are kept.
const PLANS: usize = 1 << 14;

impl Reader {
    /// Reads the process whose `_PyRuntime` is at `runtime`. `told` is the
    /// version its file gives, needed for those before 3.13.
    ///
    /// # Errors
    /// When there is nothing to be read, and why.
    pub fn new(
        memory: &dyn Memory,
        runtime: u64,
        told: Option<Version>,
    ) -> Result<Reader, Unsupported> {
        let (version, layout) = Layout::find(memory, runtime, told)?;
        Ok(Reader {
            runtime,
            version,
            layout,
            codes: Codes::default(),
            plans: HashMap::new(),
            gils: HashMap::new(),
            fetched: Fetched::default(),
            counters: Counters::default(),
        })
    }

    /// The version whose layout is used.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// All interpreters and their threads, the newest first. There are none
    /// before Python has begun and after it has ended.
    ///
    /// # Errors
    /// When the list cannot be followed.
    pub fn interpreters(&self, memory: &dyn Memory) -> Result<Vec<Interpreter>, Trouble> {
        threads::interpreters(memory, &self.layout, self.runtime)
    }

    /// The GIL of an interpreter, whose state is at the address given: two reads
    /// in one call must show the same. A free-threaded build does without, unless it
    /// was told to have one.
    ///
    /// # Errors
    /// When it changed hands meanwhile, or cannot be read.
    pub fn gil(&mut self, memory: &dyn Memory, interpreter: u64) -> Result<Option<Gil>, Rejection> {
        if self.gils.len() >= PLANS {
            self.gils.clear();
        }
        let known = self.gils.entry(interpreter).or_default();
        threads::gil(memory, &self.layout, self.runtime, interpreter, known)
    }

    /// The stack of a thread.
    pub fn read(&mut self, memory: &dyn Memory, thread: &Thread, motion: Motion) -> Read {
        let read = self.try_read(memory, thread, motion);
        let count = match read {
            Ok(Stack { moved: false, .. }) => &mut self.counters.accepted,
            Ok(_) | Err(Rejection::Moved) => &mut self.counters.moved,
            Err(Rejection::Gone) => &mut self.counters.gone,
            Err(Rejection::Damaged(_)) => &mut self.counters.damaged,
        };
        *count += 1;
        match read {
            Ok(stack) if stack.moved => Read::Outside(stack),
            Ok(stack) => Read::Accepted(stack),
            Err(rejection) => Read::Rejected(rejection),
        }
    }

    /// The tasks of a thread that runs an event loop, told by what `_asyncio` says of
    /// itself at `debug`, from 3.14 on. To `count` them takes a read for each.
    #[must_use]
    pub fn tasks(
        &self,
        memory: &dyn Memory,
        thread: &Thread,
        debug: u64,
        count: bool,
    ) -> Option<Tasks> {
        tasks::read(memory, &self.layout, thread, debug, count)
    }

    /// How many reads so far were believed.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn try_read(
        &mut self,
        memory: &dyn Memory,
        thread: &Thread,
        motion: Motion,
    ) -> Result<Stack, Rejection> {
        if self.plans.len() >= PLANS {
            self.plans.clear();
        }
        let plan = self.plans.entry(thread.state).or_default();
        plan.next();
        let fetched = &mut self.fetched;
        let attempt = Attempt { memory, layout: &self.layout, plan, fetched, thread };
        let chain = match motion {
            Motion::Running => attempt.twice()?,
            Motion::Blocked => attempt.once()?,
        };
        self.name(memory, &chain).map_err(|trouble| match motion {
            // The object may have been freed before it could be named.
            Motion::Running => Rejection::Moved,
            Motion::Blocked => Rejection::Damaged(trouble),
        })
    }

    fn name(&mut self, memory: &dyn Memory, chain: &Chain) -> Result<Stack, Trouble> {
        let mut frames = Vec::with_capacity(chain.links.len());
        for link in &chain.links {
            let code = self.codes.get(memory, &self.layout, link.code)?;
            let line = code.line(link.byte);
            frames.push(Frame { code, line, entry: link.entry });
        }
        let looped = frames.iter().zip(&chain.links).find_map(|(frame, link)| {
            let variable = frame.code.turn?;
            Some(turn::read(memory, &self.layout, link.frame, variable))
        });
        Ok(Stack { frames, truncated: chain.truncated, moved: chain.moved, turn: looped })
    }
}

/// One read of one thread.
struct Attempt<'a> {
    memory: &'a dyn Memory,
    layout: &'a Layout,
    plan: &'a mut Plan,
    fetched: &'a mut Fetched,
    thread: &'a Thread,
}

impl Attempt<'_> {
    /// The stack of a thread that does not move.
    fn once(mut self) -> Result<Chain, Rejection> {
        self.plan.fetch(self.memory, 1, self.fetched);
        let (chain, _) = self.walk(0);
        self.stood(chain?)
    }

    /// The stack of a thread that may move: all that is needed is read in one
    /// call, and again in the same call, and what both times show is the chain.
    /// That both make no sense may be by chance; when the next two say
    /// the same, it is the memory.
    fn twice(mut self) -> Result<Chain, Rejection> {
        let mut before = None;
        for _ in 0..ATTEMPTS {
            self.plan.fetch(self.memory, 2, self.fetched);
            let (first, complete) = self.walk(0);
            if !complete {
                continue;
            }
            let (second, complete) = self.walk(1);
            match (first, second) {
                (Ok(first), Ok(second)) if first.is_same_as(&second) => return self.stood(second),
                (Err(first), Err(second)) if first == second && before == Some(first) => {
                    return Err(first.into());
                }
                (Err(first), Err(second)) if first == second => before = Some(first),
                // Who tries again until it stands still sees slow code alone.
                (first, second) if complete => {
                    return self.outside(&first, &second).ok_or(Rejection::Moved);
                }
                _ => break,
            }
        }
        Err(Rejection::Moved)
    }

    /// The whole chain of a thread that stood still, which tells where its calls begin.
    fn stood(self, chain: Chain) -> Result<Chain, Rejection> {
        self.plan.root = chain.root();
        Ok(chain)
    }

    /// Of one of two chains, which differ, what was there both times. A chain that does not
    /// begin where the thread's calls do was torn. Before 3.11 each frame is an object, whose
    /// memory the next call takes over: what it was shows too long.
    fn outside(
        &mut self,
        first: &Result<Chain, Trouble>,
        second: &Result<Chain, Trouble>,
    ) -> Option<Chain> {
        if matches!(self.layout.frame.entry, Entry::Every) {
            return None;
        }
        let mut found: Option<Chain> = None;
        for (chain, other) in [(second, 0), (first, 1)] {
            let root = self.plan.root;
            let Some(chain) = chain
                .as_ref()
                .ok()
                .filter(|chain| !chain.truncated && root.is_some() && chain.root() == root)
            else {
                continue;
            };
            let mut view = View::new(self.memory, self.plan, self.fetched, other);
            let chain = chain.outside(self.layout, &mut view);
            if chain.links.len() > found.as_ref().map_or(0, |found| found.links.len()) {
                found = Some(chain);
            }
        }
        found
    }

    /// The chain as it was the first or the second time, and whether the plan
    /// covered it.
    fn walk(&mut self, time: usize) -> (Result<Chain, Trouble>, bool) {
        let mut view = View::new(self.memory, self.plan, self.fetched, time);
        let chain = chain::walk(self.layout, &mut view, self.thread);
        (chain, view.finish())
    }
}

impl From<Trouble> for Rejection {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Gone => Rejection::Gone,
            trouble => Rejection::Damaged(trouble),
        }
    }
}

#[cfg(test)]
mod tests;
