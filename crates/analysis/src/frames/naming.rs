//! From the addresses and calls of a stack to named frames. What is at an address is
//! named once, however many stacks pass it.

use std::rc::Rc;

use rustc_hash::FxHashMap;
use whyslow_events::{CodeId, Frame, ScriptFrame, SpaceId, StackEnd};

use super::{FrameId, Named, base};
use crate::interpreter;
use crate::numbers::Numbers;
use crate::tables::{Stack, Tables};

/// Kernel functions carry it in flamegraphs.
pub(crate) const KERNEL_SUFFIX: &str = "_[k]";

/// An address, in the kernel or a process, with the names of some moment, ns.
type Address = (Option<SpaceId>, u64, u64);

/// The frames named so far.
pub(crate) struct Naming<'a> {
    tables: &'a Tables,
    /// An interpreter's own frames stay beside the calls of its program.
    native: bool,
    numbers: Numbers<Rc<Named>>,
    /// The functions at an address, outermost first.
    addresses: FxHashMap<Address, Rc<[FrameId]>>,
    calls: FxHashMap<(CodeId, u32), FrameId>,
}

impl<'a> Naming<'a> {
    pub(super) fn new(tables: &'a Tables, native: bool) -> Self {
        let (addresses, calls) = (FxHashMap::default(), FxHashMap::default());
        Naming { tables, native, numbers: Numbers::default(), addresses, calls }
    }

    pub(super) fn into_all(self) -> Vec<Rc<Named>> {
        self.numbers.into_all()
    }

    /// The frames of a stack, outermost first, the kernel's last.
    pub(super) fn stack(&mut self, stack: &Stack) -> Vec<FrameId> {
        let credible = match stack.end {
            StackEnd::FramePointers => self.tables.credible(stack.space, &stack.user),
            _ => stack.user.len(),
        };
        let mut frames = Vec::with_capacity(credible + stack.kernel.len());
        for address in stack.user[..credible].iter().rev() {
            frames.extend_from_slice(&self.at((Some(stack.space), *address, stack.named_at)));
        }
        if !stack.script.is_empty() {
            frames.retain(|frame| !is_trampoline(self.get(*frame)));
            frames = interpreter::merge(self, frames, &stack.script, self.native);
        }
        for address in stack.kernel.iter().rev() {
            frames.extend_from_slice(&self.at((None, *address, 0)));
        }
        frames
    }

    pub(crate) fn get(&self, id: FrameId) -> &Named {
        self.numbers.get(id.0)
    }

    pub(crate) fn frame(&mut self, frame: Named) -> FrameId {
        FrameId(self.numbers.of(Rc::new(frame)))
    }

    /// A call of an interpreted program.
    pub(crate) fn call(&mut self, call: ScriptFrame) -> FrameId {
        if let Some(known) = self.calls.get(&(call.code, call.line)) {
            return *known;
        }
        let code = self.tables.codes.get(&call.code);
        let frame = self.frame(Named {
            name: code.map_or_else(|| "?".to_owned(), |code| code.function.clone()),
            file: code.map(|code| code.file.clone()),
            line: (call.line != 0).then_some(call.line),
            defined: code.and_then(|code| code.line),
            real: true,
            script: true,
            ..Named::default()
        });
        self.calls.insert((call.code, call.line), frame);
        frame
    }

    fn at(&mut self, address: Address) -> Rc<[FrameId]> {
        if let Some(known) = self.addresses.get(&address) {
            return Rc::clone(known);
        }
        let (space, place, time) = address;
        let known = self.tables.symbols(space, place, time);
        let named = match space {
            Some(space) => named(known, || self.tables.place(space, place)),
            None => named(known, || format!("{place:#x}")).into_iter().flat_map(kernel).collect(),
        };
        let frames: Rc<[FrameId]> = named.into_iter().map(|frame| self.frame(frame)).collect();
        self.addresses.insert(address, Rc::clone(&frames));
        frames
    }
}

/// The functions at one address, outermost first.
fn named(known: &[Frame], unknown: impl Fn() -> String) -> Vec<Named> {
    if known.is_empty() {
        return vec![Named { name: unknown(), ..Named::default() }];
    }
    known
        .iter()
        .rev()
        .map(|frame| Named {
            name: frame.function.clone(),
            file: frame.file.clone(),
            line: frame.line,
            module: base(&frame.module).to_owned(),
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

/// A frame as one of the kernel's, after a label where one begins.
fn kernel(frame: Named) -> impl Iterator<Item = Named> {
    let label = LABELS.iter().find(|(begin, _)| {
        let rest = frame.name.strip_prefix(begin);
        rest.is_some_and(|rest| begin.ends_with('_') || rest.is_empty())
    });
    let marked = |name: String, rest: Named| Named {
        name: format!("{name}{KERNEL_SUFFIX}"),
        kernel: true,
        ..rest
    };
    let label = label.map(|(_, label)| marked(format!("[{label}]"), Named::default()));
    let name = frame.name.clone();
    label.into_iter().chain([marked(name, frame)])
}

/// Python's trampoline for a function (`-X perf`): the call it makes stands for itself.
fn is_trampoline(frame: &Named) -> bool {
    frame.module == "[jit]" && frame.file.is_some() && frame.line.is_none()
}
