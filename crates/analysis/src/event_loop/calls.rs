//! What a stack says of an event loop: that it polls, that it is about itself,
//! or that a callback runs, and which.

use rustc_hash::{FxHashMap, FxHashSet};
use whyslow_events::{Entry, Object, ScriptFrame, SiteId, StackId};

use super::uvloop::Uvloop;
use crate::frames::base;
use crate::library;
use crate::tables::{Stack, Tables};
use crate::timeline::{Doing, Thread};

/// Whose loop it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Asyncio,
    Uvloop,
    /// Of a program that is not Python.
    Native,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Kind::Asyncio => "asyncio",
            Kind::Uvloop => "uvloop",
            Kind::Native => "native",
        }
    }
}

/// What the thread does in a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It waits for whatever comes, in this call of the program if in any.
    Poll(Option<ScriptFrame>),
    /// The loop's own work.
    Loop(ScriptFrame),
    /// A callback, or a step of a task.
    Callback {
        /// The outermost call in it: the coroutine of a task.
        outermost: ScriptFrame,
        /// The innermost.
        innermost: ScriptFrame,
    },
    /// Nothing tells.
    Unknown,
}

impl Part {
    fn is_poll(self) -> bool {
        matches!(self, Part::Poll(_))
    }
}

/// The system calls with which loops poll.
const POLLS: &[&str] =
    &["poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2"];
/// Functions of loops in C that poll: of libuv (Node), Redis, nginx.
const NATIVE_POLLS: &[&str] = &["uv__io_poll", "aeApiPoll", "ngx_epoll_process_events"];

/// Reads the stacks of one loop.
#[derive(Debug)]
pub(super) struct Calls<'a> {
    tables: &'a Tables,
    kind: Kind,
    parts: FxHashMap<StackId, Part>,
    uvloop: Option<Uvloop>,
}

impl<'a> Calls<'a> {
    /// The loop that `thread` runs, if a stack shows one.
    pub(super) fn of(tables: &'a Tables, thread: &Thread) -> Option<Self> {
        let polls: FxHashSet<StackId> = polling(tables, thread)
            .filter_map(|(_, index)| thread.intervals[index].stack)
            .collect();
        let mut stacks: Vec<StackId> = thread.samples.iter().filter_map(|s| s.stack).collect();
        stacks.extend(thread.intervals.iter().filter_map(|interval| interval.stack));
        stacks.sort_unstable();
        stacks.dedup();
        let of = |id: &StackId| Some((*id, tables.stacks.get(id)?));
        let known = || stacks.iter().filter_map(of);
        let seen = || known().filter(|(id, _)| polls.contains(id));
        let (kind, uvloop) = if known().any(|(_, stack)| turning(tables, &stack.script).is_some()) {
            (Kind::Asyncio, None)
        } else if let Some(uvloop) = Uvloop::of(tables, thread.pid, known().map(|(_, it)| it)) {
            (Kind::Uvloop, Some(uvloop))
        } else if seen().any(|(_, stack)| polls_in_c(tables, stack)) {
            (Kind::Native, None)
        } else {
            return None;
        };
        let mut calls = Calls { tables, kind, parts: FxHashMap::default(), uvloop };
        let parts: Vec<_> =
            known().map(|(id, stack)| (id, calls.read(stack, polls.contains(&id)))).collect();
        calls.parts.extend(parts);
        Some(calls)
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn tables(&self) -> &'a Tables {
        self.tables
    }

    pub(super) fn part(&self, stack: Option<StackId>) -> Part {
        stack.and_then(|stack| self.parts.get(&stack)).copied().unwrap_or(Part::Unknown)
    }

    /// Whether a stack is in a callback.
    pub(super) fn calls_back(&self, stack: Option<StackId>) -> bool {
        matches!(self.part(stack), Part::Callback { .. })
    }

    /// `function (file:line)` of a call.
    pub(super) fn place(&self, call: ScriptFrame) -> Option<String> {
        self.tables.place_of_call(call)
    }

    /// The waits of `thread` that are polls of its loop, by their index. A wait
    /// whose calls are not known is one when it is where others are.
    pub(super) fn polls(&self, thread: &Thread) -> Vec<usize> {
        let places: FxHashSet<(&str, u64)> = polling(self.tables, thread)
            .filter(|(_, index)| self.part(thread.intervals[*index].stack).is_poll())
            .filter_map(|(site, _)| self.place_of(site))
            .collect();
        let is_poll = |site: SiteId, index: usize| match self.part(thread.intervals[index].stack) {
            Part::Poll(_) => true,
            Part::Loop(_) | Part::Callback { .. } => false,
            Part::Unknown => self.place_of(site).is_some_and(|place| places.contains(&place)),
        };
        polling(self.tables, thread)
            .filter(|(site, index)| is_poll(*site, *index))
            .map(|(_, index)| index)
            .collect()
    }

    /// Call and instruction; none of a mere timer, which loops wait on, too, but
    /// not they alone.
    fn place_of(&self, site: SiteId) -> Option<(&'a str, u64)> {
        let site = self.tables.sites.get(&site)?;
        match (&site.entry, &site.object) {
            (_, Object::None) => None,
            (Entry::Syscall(name), _) => Some((name, site.pc)),
            _ => None,
        }
    }

    fn read(&self, stack: &Stack, polls: bool) -> Part {
        match &self.uvloop {
            Some(uvloop) => uvloop.part(self.tables, stack, polls),
            None if self.kind == Kind::Asyncio => part(self.tables, &stack.script),
            None if polls && polls_in_c(self.tables, stack) => Part::Poll(None),
            None => Part::Unknown,
        }
    }
}

/// The waits in a call with which loops poll, and their sites.
fn polling(tables: &Tables, thread: &Thread) -> impl Iterator<Item = (SiteId, usize)> {
    thread.intervals.iter().enumerate().filter_map(|(index, interval)| {
        let Doing::Blocked(wait) = interval.doing else { return None };
        let site = wait.site?;
        match &tables.sites.get(&site)?.entry {
            Entry::Syscall(name) if POLLS.contains(&name.as_str()) => Some((site, index)),
            _ => None,
        }
    })
}

/// A turn of asyncio's loop and the calls that it made, innermost first.
fn turning<'s>(
    tables: &Tables,
    script: &'s [ScriptFrame],
) -> Option<(&'s [ScriptFrame], ScriptFrame)> {
    let turn = |call: &ScriptFrame| tables.is_of(call.code, library::TURN);
    script.iter().position(turn).map(|at| (&script[..at], script[at]))
}

/// The part of asyncio's loop that calls are in.
fn part(tables: &Tables, script: &[ScriptFrame]) -> Part {
    let Some((inside, turn)) = turning(tables, script) else { return Part::Unknown };
    let selects = |call: &ScriptFrame| tables.is_of(call.code, library::SELECT);
    match inside {
        [] => Part::Loop(turn),
        [.., call] if selects(call) => Part::Poll(Some(*call)),
        [inside @ .., handle] if tables.is_of(handle.code, library::CALLBACK) => {
            // A function in C that the loop calls has no call of its own.
            let outermost = inside.last().unwrap_or(handle);
            let innermost = inside.first().unwrap_or(handle);
            Part::Callback { outermost: *outermost, innermost: *innermost }
        }
        [innermost, ..] => Part::Loop(*innermost),
    }
}

/// Whether the innermost code outside the C library is the poll of a loop in C.
fn polls_in_c(tables: &Tables, stack: &Stack) -> bool {
    let library = |address: &&u64| {
        let module = tables.module(stack.space, **address).map_or("", base);
        !module.starts_with("libc.") && !module.starts_with("libc-")
    };
    let Some(address) = stack.user.iter().find(library) else { return false };
    let functions = tables.symbols(Some(stack.space), *address, stack.named_at);
    functions.iter().any(|frame| NATIVE_POLLS.contains(&frame.function.as_str()))
}
