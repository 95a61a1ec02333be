//! Stacks as lists of named frames, root first.

use std::collections::HashMap;

use whyslow_events::{Frame, StackEnd, StackId};

use crate::interpreter;
use crate::tables::Tables;

/// Kernel functions carry it in flamegraphs.
const KERNEL_SUFFIX: &str = "_[k]";

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

/// All frames of the recording, each named once.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    tables: &'a Tables,
    /// An interpreter's own frames stay beside the calls of its program.
    native: bool,
    all: Vec<Named>,
    ids: HashMap<Named, FrameId>,
    stacks: HashMap<StackId, Vec<FrameId>>,
}

impl<'a> Frames<'a> {
    pub(crate) fn new(tables: &'a Tables, native: bool) -> Self {
        let (ids, stacks) = (HashMap::new(), HashMap::new());
        Frames { tables, native, all: Vec::new(), ids, stacks }
    }

    pub(crate) fn get(&self, id: FrameId) -> &Named {
        &self.all[id.0 as usize]
    }

    /// The frames of a stack, outermost first, the kernel's last.
    pub(crate) fn of(&mut self, stack: StackId) -> Vec<FrameId> {
        if let Some(known) = self.stacks.get(&stack) {
            return known.clone();
        }
        let named = self.name(stack);
        let ids: Vec<FrameId> = named.into_iter().map(|frame| self.intern(frame)).collect();
        self.stacks.insert(stack, ids.clone());
        ids
    }

    /// How flamegraphs show a frame: calls of interpreted programs with their place,
    /// and inlined functions with their mark.
    pub(crate) fn shown(&self, id: FrameId) -> String {
        let frame = self.get(id);
        match (&frame.file, frame.line) {
            (Some(file), Some(line)) if frame.script => {
                format!("{} ({}:{line})", frame.name, base(file))
            }
            _ if frame.inlined => format!("{}{INLINED_SUFFIX}", frame.name),
            _ => frame.name.clone(),
        }
    }

    /// The innermost call of an interpreted program in a stack.
    pub(crate) fn innermost_call(&mut self, stack: StackId) -> Option<FrameId> {
        let ids = self.of(stack);
        ids.into_iter().rev().find(|id| self.get(*id).script)
    }

    /// `function (file:line)` of the innermost call of an interpreted program, else of
    /// the innermost user frame with a name, those of the C library passed over when
    /// there is another.
    pub(crate) fn place(&mut self, stack: StackId) -> Option<String> {
        let ids = self.of(stack);
        let real = || {
            let innermost_first = ids.iter().rev().map(|id| self.get(*id));
            innermost_first.filter(|frame| frame.real && !frame.kernel)
        };
        let frame = real()
            .find(|frame| frame.script && !self.native)
            .or_else(|| real().find(|frame| !is_system(&frame.module)))
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

    fn name(&self, id: StackId) -> Vec<Named> {
        let Some(stack) = self.tables.stacks.get(&id) else { return Vec::new() };
        let credible = match stack.end {
            StackEnd::FramePointers => self.tables.credible(stack.space, &stack.user),
            _ => stack.user.len(),
        };
        let user = &stack.user[..credible];
        let user = user.iter().rev().flat_map(|address| {
            let known = self.tables.symbols(Some(stack.space), *address, stack.named_at);
            let unknown = || self.tables.place(stack.space, *address);
            named(known, unknown, false)
        });
        let kernel = stack.kernel.iter().rev().flat_map(|address| {
            named(self.tables.symbols(None, *address, 0), || format!("{address:#x}"), true)
        });
        let kernel = kernel.flat_map(labelled);
        if stack.script.is_empty() {
            return user.chain(kernel).collect();
        }
        let user = user.filter(|frame| !is_trampoline(frame));
        interpreter::merge(self.tables, user.collect(), &stack.script, self.native)
            .into_iter()
            .chain(kernel)
            .collect()
    }

    fn intern(&mut self, frame: Named) -> FrameId {
        if let Some(id) = self.ids.get(&frame) {
            return *id;
        }
        // A recording cannot hold four thousand million different frames.
        let id = FrameId(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        self.all.push(frame.clone());
        self.ids.insert(frame, id);
        id
    }
}

/// The functions at one address, outermost first.
fn named(known: &[Frame], unknown: impl Fn() -> String, kernel: bool) -> Vec<Named> {
    let suffix = if kernel { KERNEL_SUFFIX } else { "" };
    if known.is_empty() {
        let name = format!("{}{suffix}", unknown());
        return vec![Named { name, kernel, ..Named::default() }];
    }
    known
        .iter()
        .rev()
        .map(|frame| Named {
            name: format!("{}{suffix}", frame.function),
            file: frame.file.clone(),
            line: frame.line,
            module: base(&frame.module).to_owned(),
            kernel,
            real: !frame.function.contains("+0x") && !frame.function.starts_with("0x"),
            inlined: frame.inlined,
            ..Named::default()
        })
        .collect()
}

/// Kernel code that runs in a thread's time but is none of its doing, or gets
/// nowhere, by the function that it begins with, and what to call it.
const LABELS: &[(&str, &str)] = &[
    ("handle_softirqs", "softirq"),
    ("__do_softirq", "softirq"),
    ("asm_common_interrupt", "interrupt"),
    ("asm_sysvec_", "interrupt"),
    ("native_queued_spin_lock_slowpath", "spin"),
    ("queued_read_lock_slowpath", "spin"),
    ("queued_write_lock_slowpath", "spin"),
    ("osq_lock", "spin"),
];

/// A kernel frame, after a label where one begins.
fn labelled(frame: Named) -> impl Iterator<Item = Named> {
    let label = LABELS.iter().find(|(begin, _)| {
        let rest = frame.name.strip_prefix(begin);
        rest.is_some_and(|rest| begin.ends_with('_') || rest == KERNEL_SUFFIX)
    });
    let label = label.map(|(_, label)| Named {
        name: format!("[{label}]{KERNEL_SUFFIX}"),
        kernel: true,
        ..Named::default()
    });
    label.into_iter().chain([frame])
}

/// The last part of a path.
pub(crate) fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Python's trampoline for a function (`-X perf`): the call it makes stands for itself.
fn is_trampoline(frame: &Named) -> bool {
    frame.module == "[jit]" && frame.file.is_some() && frame.line.is_none()
}

/// The C library and the loader wait on behalf of their callers.
pub(crate) fn is_system(module: &str) -> bool {
    const SYSTEM: &[&str] = &["libc.", "libc-", "libpthread", "ld-linux", "ld-musl", "[vdso]"];
    SYSTEM.iter().any(|prefix| module.starts_with(prefix))
}
