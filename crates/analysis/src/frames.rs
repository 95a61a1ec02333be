//! Stacks as lists of named frames, root first.

mod naming;

use std::hash::Hash;
use std::rc::Rc;

use rustc_hash::FxHashMap;
use whyslow_events::StackId;

use crate::numbers::Numbers;
use crate::tables::Tables;

pub(crate) use naming::{KERNEL_SUFFIX, Naming};

/// And functions that were inlined this one.
const INLINED_SUFFIX: &str = "_[i]";

/// A frame of some stack, known by [`Frames::get`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FrameId(u32);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Named {
    /// As flamegraphs show it.
    pub(crate) name: String,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
    /// The line on which its definition begins.
    pub(crate) defined: Option<u32>,
    pub(crate) module: String,
    pub(crate) kernel: bool,
    /// The name is a function's, no mere address.
    pub(crate) real: bool,
    /// A call of an interpreted program.
    pub(crate) script: bool,
    /// The compiler put it into its caller.
    pub(crate) inlined: bool,
    /// It says something of the stack, and is no function.
    pub(crate) marks: bool,
}

impl Named {
    /// How flamegraphs show it: calls of interpreted programs with their place,
    /// and inlined functions with their mark.
    pub(crate) fn shown(&self) -> String {
        match (&self.file, self.line) {
            (Some(file), Some(line)) if self.script => {
                format!("{} ({}:{line})", self.name, base(file))
            }
            _ if self.inlined => format!("{}{INLINED_SUFFIX}", self.name),
            _ => self.name.clone(),
        }
    }
}

/// All stacks of the recording, and their frames, each named once.
#[derive(Debug)]
pub(crate) struct Frames {
    /// An interpreter's own frames stay beside the calls of its program.
    native: bool,
    all: Vec<Rc<Named>>,
    stacks: FxHashMap<StackId, Box<[FrameId]>>,
}

impl Frames {
    pub(crate) fn new(tables: &Tables, native: bool) -> Self {
        let mut naming = Naming::new(tables, native);
        let mut stacks: Vec<_> = tables.stacks.iter().collect();
        // Frames have their numbers in the order in which they came.
        stacks.sort_by_key(|(id, _)| **id);
        let named = stacks.into_iter().map(|(id, stack)| (*id, naming.stack(stack).into()));
        let stacks = named.collect();
        Frames { native, all: naming.into_all(), stacks }
    }

    pub(crate) fn get(&self, id: FrameId) -> &Named {
        &self.all[id.0 as usize]
    }

    /// The frames of a stack, outermost first, the kernel's last.
    pub(crate) fn of(&self, stack: StackId) -> &[FrameId] {
        self.stacks.get(&stack).map_or(&[], |frames| frames)
    }

    /// What `aspect` makes of every frame.
    pub(crate) fn numbered<'a, T: Clone + Eq + Hash>(
        &'a self,
        aspect: impl Fn(&'a Named) -> T,
    ) -> Numbered<T> {
        let mut numbers = Numbers::default();
        let of = self.all.iter().map(|frame| numbers.of(aspect(frame))).collect();
        Numbered { of, all: numbers.into_all() }
    }

    /// The innermost call of an interpreted program in a stack.
    pub(crate) fn innermost_call(&self, stack: StackId) -> Option<FrameId> {
        self.of(stack).iter().rev().copied().find(|id| self.get(*id).script)
    }

    /// The place of a stack, and the program's own call that came to it where that place
    /// is of an interpreter's library: there is something to change.
    pub(crate) fn place_with_caller(&self, stack: StackId) -> Option<String> {
        let place = self.place(stack)?;
        let mut calls = self.of(stack).iter().rev().map(|id| self.get(*id)).filter(|it| it.script);
        let is_own = |call: &&Named| call.file.as_ref().is_some_and(|file| !is_library(file));
        let own = match calls.next() {
            Some(innermost) if !self.native && !is_own(&innermost) => calls.find(is_own),
            _ => None,
        };
        Some(match own {
            Some(own) => format!("{place} for {}", own.shown()),
            None => place,
        })
    }

    /// `function (file:line)` of the innermost call of an interpreted program, else of
    /// the innermost user frame with a name, those of the C library passed over when
    /// there is another.
    pub(crate) fn place(&self, stack: StackId) -> Option<String> {
        let real = || {
            let innermost_first = self.of(stack).iter().rev().map(|id| self.get(*id));
            innermost_first.filter(|frame| frame.real && !frame.kernel)
        };
        let frame = real()
            .find(|frame| frame.script && !self.native)
            .or_else(|| real().find(|frame| !waits_for_callers(frame)))
            .or_else(|| real().next())?;
        let place = match (&frame.file, frame.line) {
            (Some(file), Some(line)) => format!("{}:{line}", base(file)),
            (Some(file), None) => base(file).to_owned(),
            (None, _) => frame.module.clone(),
        };
        Some(if place.is_empty() {
            frame.name.clone()
        } else {
            format!("{} ({place})", frame.name)
        })
    }
}

/// One aspect of all frames: frames for which it is equal have one number.
pub(crate) struct Numbered<T> {
    of: Vec<u32>,
    /// What the numbers stand for.
    pub(crate) all: Vec<T>,
}

impl<T> Numbered<T> {
    /// Which of [`all`](Self::all) it is for `frame`.
    pub(crate) fn of(&self, frame: FrameId) -> usize {
        self.of[frame.0 as usize] as usize
    }
}

/// The last part of a path.
pub(crate) fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether a file of an interpreted program came with the interpreter, or is a package that
/// was installed.
fn is_library(file: &str) -> bool {
    const INSTALLED: &[&str] =
        &["/lib/python", "/lib64/python", "/site-packages/", "/dist-packages/"];
    file.starts_with("<frozen") || INSTALLED.iter().any(|part| file.contains(part))
}

/// PostgreSQL waits for a statement, a lock or a moment by these.
const WAITS: &[&str] = &[
    "WaitEventSetWait",
    "WaitLatch",
    "WaitLatchOrSocket",
    "PGSemaphoreLock",
    "os::PlatformEvent::park",
    "PlatformEvent::park",
];

/// Whether it waits on behalf of its callers, and so tells nothing of the wait.
fn waits_for_callers(frame: &Named) -> bool {
    let name = frame.name.split('(').next().unwrap_or_default();
    is_system(&frame.module) || WAITS.contains(&name)
}

/// The C library and the loader wait on behalf of their callers.
pub(crate) fn is_system(module: &str) -> bool {
    const SYSTEM: &[&str] = &["libc.", "libc-", "libpthread", "ld-linux", "ld-musl", "[vdso]"];
    SYSTEM.iter().any(|prefix| module.starts_with(prefix))
}
