//! Where in the interpreter's structures the fields lie that are read: one
//! table for each minor version up to 3.12, and from 3.13 on what the
//! interpreter says of itself.

mod offsets;
mod table;
#[cfg(test)]
mod tests;

use crate::memory::Memory;
use crate::version::{Unsupported, Version};

/// Offsets in bytes, of one version on a 64-bit little-endian machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// In `_PyRuntimeState`: the first interpreter.
    pub(crate) interpreters: u64,
    pub(crate) interpreter: InterpreterLayout,
    pub(crate) thread: ThreadLayout,
    pub(crate) frame: FrameLayout,
    pub(crate) code: CodeLayout,
    pub(crate) text: TextLayout,
    pub(crate) gil: GilLayout,
    /// `PyObject.ob_type`.
    pub(crate) object_type: u64,
    /// `PyTypeObject.tp_name`.
    pub(crate) type_name: u64,
    /// `PyVarObject.ob_size`: the length of `bytes`, and of bytecode from 3.11.
    pub(crate) size: u64,
    /// `PyBytesObject.ob_sval`.
    pub(crate) bytes: u64,
    /// `PyTupleObject.ob_item`.
    pub(crate) items: u64,
    /// `PyFloatObject.ob_fval`.
    pub(crate) float: u64,
}

/// `PyInterpreterState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InterpreterLayout {
    pub(crate) next: u64,
    pub(crate) id: u64,
    /// The first thread.
    pub(crate) threads: u64,
}

/// `PyThreadState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadLayout {
    pub(crate) next: u64,
    pub(crate) interpreter: u64,
    /// `thread_id`, a `pthread_t`.
    pub(crate) pthread: u64,
    /// `native_thread_id`, from 3.11.
    pub(crate) native: Option<u64>,
    /// The innermost frame; in 3.11 and 3.12 the `_PyCFrame` that has it.
    pub(crate) frame: u64,
    /// In `_PyCFrame`: the innermost frame.
    pub(crate) within_cframe: Option<u64>,
}

/// `PyFrameObject` up to 3.10, `_PyInterpreterFrame` from 3.11.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameLayout {
    pub(crate) previous: u64,
    pub(crate) code: u64,
    pub(crate) instruction: u64,
    pub(crate) counts: Instruction,
    pub(crate) entry: Entry,
    /// The first local variable.
    pub(crate) locals: u64,
    /// Which copy of the bytecode it runs, in free-threaded builds from 3.14 on.
    pub(crate) copy: Option<u64>,
}

/// How a frame says which instruction it is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instruction {
    /// Its byte in the bytecode.
    Bytes,
    /// Its number; each has two bytes.
    Units,
    /// Its address.
    Address,
}

/// How one tells the frame that begins a new evaluation in C from one that was
/// called by the frame outside it without leaving the evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Every call is an evaluation of its own.
    Every,
    /// A flag here says so.
    Flag(u64),
    /// A frame that no Python code belongs to stands outside it. Such a shim
    /// has a number of [`FIRST_SHIM`] or more as `owner`, here.
    Shim(u64),
}

/// `FRAME_OWNED_BY_CSTACK` of 3.12 and 3.13, `FRAME_OWNED_BY_INTERPRETER` of
/// 3.14 and 3.15; 3.14 has `FRAME_OWNED_BY_CSTACK` above it.
pub(crate) const FIRST_SHIM: u8 = 3;

/// `PyCodeObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CodeLayout {
    pub(crate) first_line: u64,
    pub(crate) file: u64,
    pub(crate) name: u64,
    /// From 3.11.
    pub(crate) qualified_name: Option<u64>,
    pub(crate) lines: u64,
    /// The tuple with the names of the local variables.
    pub(crate) locals: u64,
    pub(crate) line_format: LineFormat,
    /// The bytecode itself, from 3.11.
    pub(crate) instructions: Option<u64>,
    /// In free-threaded builds from 3.14 on, where each thread has a copy of the bytecode:
    /// the array of these. The first is the bytecode itself.
    pub(crate) copies: Option<u64>,
}

/// How a code object maps bytecode to lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineFormat {
    /// Up to 3.9: increments of address and line.
    Increments,
    /// 3.10: ranges, some without a line.
    Ranges,
    /// From 3.11: locations with columns.
    Locations,
}

/// `PyASCIIObject` and `PyCompactUnicodeObject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextLayout {
    pub(crate) length: u64,
    pub(crate) state: u64,
    /// Where the characters of an ASCII string begin.
    pub(crate) ascii_data: u64,
    /// Where those of any other compact string begin.
    pub(crate) data: u64,
    /// The lowest bit of each field of the state.
    pub(crate) kind_bit: u32,
    pub(crate) compact_bit: u32,
    pub(crate) ascii_bit: u32,
}

/// `struct _gil_runtime_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GilLayout {
    pub(crate) place: GilPlace,
    /// In free-threaded builds: not 0 while threads need it all the same.
    pub(crate) enabled: Option<u64>,
    pub(crate) holder: u64,
    pub(crate) locked: u64,
    /// The condition that those wait on who want it.
    pub(crate) queue: u64,
    pub(crate) size: u64,
}

impl GilLayout {
    /// Where the condition ends: a `pthread_cond_t` has 48 bytes.
    pub(crate) fn queue_end(&self) -> u64 {
        self.queue.saturating_add(48)
    }
}

/// Where the GIL is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GilPlace {
    /// One for all, at this offset in `_PyRuntimeState`.
    Runtime(u64),
    /// At this offset in `PyInterpreterState` is its address.
    Interpreter(u64),
}

impl Layout {
    /// The layout of the interpreter whose `_PyRuntime` is at `runtime`. Its own
    /// word on its version weighs more than `told`.
    pub(crate) fn find(
        memory: &dyn Memory,
        runtime: u64,
        told: Option<Version>,
    ) -> Result<(Version, Layout), Unsupported> {
        // Before 3.7 there is no runtime that could be read.
        if let Some(old) = told.filter(|version| version.release() < (3, 8)) {
            return Err(Unsupported::Old(old));
        }
        if let Some((version, layout)) = offsets::read(memory, runtime)? {
            return Ok((version, layout));
        }
        let version = told.ok_or(Unsupported::Unknown)?;
        match version.release() {
            (3, minor) if minor <= 12 => {
                table::of(minor).map(|layout| (version, *layout)).ok_or(Unsupported::Unknown)
            }
            release if release > offsets::NEWEST => Err(Unsupported::New(version)),
            // It would have described itself.
            _ => Err(Unsupported::Absurd(version)),
        }
    }

    /// Bytes of a thread state that are read.
    pub(crate) fn thread_span(&self) -> u64 {
        let thread = &self.thread;
        let last = thread.pthread.max(thread.native.unwrap_or(0)).max(thread.frame);
        last.max(thread.next).max(thread.interpreter).saturating_add(8)
    }

    /// Bytes of a frame that are read.
    pub(crate) fn frame_span(&self) -> u64 {
        let frame = &self.frame;
        let entry = match frame.entry {
            Entry::Every => 0,
            Entry::Flag(at) | Entry::Shim(at) => at,
        };
        let last = frame.previous.max(frame.code).max(frame.instruction).max(entry);
        last.max(frame.copy.unwrap_or(0)).saturating_add(8)
    }

    /// Bytes of a code object that tell whether it is still the one we know.
    pub(crate) fn identity_span(&self) -> u64 {
        let last = self.code.name.max(self.code.first_line).max(self.object_type);
        last.max(self.size).max(self.code.copies.unwrap_or(0)).saturating_add(8)
    }

    /// Bytes of a code object that are read to name it.
    pub(crate) fn code_span(&self) -> u64 {
        let code = &self.code;
        let last = code.file.max(code.qualified_name.unwrap_or(0)).max(code.lines).max(code.locals);
        last.saturating_add(8).max(self.identity_span())
    }
}
