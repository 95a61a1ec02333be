//! `_Py_DebugOffsets`, with which `_PyRuntime` begins from 3.13 on: the
//! interpreter's own description of its structures
//! (`Include/internal/pycore_runtime.h` of 3.13, `pycore_debug_offsets.h` from
//! 3.14). It is a list of 64-bit numbers behind a cookie, in groups of one
//! structure each; newer minor versions have more fields and more groups.

use super::{
    CodeLayout, Entry, FrameLayout, GilLayout, GilPlace, Instruction, InterpreterLayout, Layout,
    LineFormat, TextLayout, ThreadLayout,
};
use crate::memory::{self, Memory, word};
use crate::version::{Unsupported, Version};

/// The newest release whose list is known.
pub(super) const NEWEST: (u8, u8) = (3, 15);

const COOKIE: &[u8] = b"xdebugpy";

/// The cookie, the version and whether it is free-threaded.
const HEAD: u64 = 24;

/// Bytes of the list that hold all that is read of it.
const SPAN: u64 = 760;

/// Fields that lie at the same place in every version.
const INTERPRETERS: u64 = 40;
const INTERPRETER_ID: u64 = 56;
const INTERPRETER_NEXT: u64 = 64;
const INTERPRETER_THREADS: u64 = 72;

/// Where those groups begin that moved, by the first of their fields we read.
struct Positions {
    /// `interpreter_state.ceval_gil`.
    gil: u64,
    /// `thread_state.next`.
    thread: u64,
    /// `thread_state.thread_id`.
    thread_id: u64,
    /// `interpreter_frame.previous`.
    frame: u64,
    /// `code_object.filename`.
    code: u64,
    /// `pyobject.ob_type`.
    object: u64,
    /// `tuple_object.ob_item`.
    items: u64,
    /// `bytes_object.ob_size`.
    bytes: u64,
    /// Free-threaded builds have copies of the bytecode, and other bits in the state of
    /// a string.
    copies: bool,
}

const V3_13: Positions = Positions {
    gil: 112,
    thread: 168,
    thread_id: 192,
    frame: 232,
    code: 280,
    object: 360,
    items: 408,
    bytes: 520,
    copies: false,
};
const V3_14: Positions = Positions {
    gil: 120,
    thread: 192,
    thread_id: 216,
    frame: 256,
    code: 320,
    object: 408,
    items: 456,
    bytes: 600,
    copies: true,
};
const V3_15: Positions = Positions {
    gil: 120,
    thread: 192,
    thread_id: 240,
    frame: 320,
    code: 384,
    object: 472,
    items: 552,
    bytes: 696,
    copies: true,
};

/// What the interpreter says of itself. `None` when it is one that does not.
pub(super) fn read(
    memory: &dyn Memory,
    runtime: u64,
) -> Result<Option<(Version, Layout)>, Unsupported> {
    let head = memory::bytes(memory, runtime, HEAD).ok_or(Unsupported::Unreadable)?;
    if !head.starts_with(COOKIE) {
        return Ok(None);
    }
    let version = u32::try_from(word(&head, 8)).map_or(Version(0), Version);
    let positions = positions(version)?;
    let list = memory::bytes(memory, runtime, SPAN).ok_or(Unsupported::Unreadable)?;
    let layout = decode(&list, positions, word(&head, 16) != 0);
    if !is_sane(&layout) {
        return Err(Unsupported::Absurd(version));
    }
    Ok(Some((version, layout)))
}

fn positions(version: Version) -> Result<&'static Positions, Unsupported> {
    let known = match version.release() {
        (3, 13) => &V3_13,
        (3, 14) => &V3_14,
        NEWEST => &V3_15,
        release if release > NEWEST => return Err(Unsupported::New(version)),
        _ => return Err(Unsupported::Absurd(version)),
    };
    if version.is_fixed() { Ok(known) } else { Err(Unsupported::Unfinished(version)) }
}

fn decode(list: &[u8], at: &Positions, free_threaded: bool) -> Layout {
    let field = |position: u64| word(list, position);
    let text = at.bytes + 16;
    let copies = free_threaded && at.copies;
    // Whether a string is interned takes 2 bits, or a byte that can be written alone.
    let kind_bit = if copies { 8 } else { 2 };
    Layout {
        interpreters: field(INTERPRETERS),
        interpreter: InterpreterLayout {
            next: field(INTERPRETER_NEXT),
            id: field(INTERPRETER_ID),
            threads: field(INTERPRETER_THREADS),
        },
        thread: ThreadLayout {
            next: field(at.thread),
            interpreter: field(at.thread + 8),
            pthread: field(at.thread_id),
            native: Some(field(at.thread_id + 8)),
            frame: field(at.thread + 16),
            within_cframe: None,
        },
        frame: FrameLayout {
            previous: field(at.frame),
            code: field(at.frame + 8),
            instruction: field(at.frame + 16),
            counts: Instruction::Address,
            entry: Entry::Shim(field(at.frame + 32)),
            locals: field(at.frame + 24),
            copy: copies.then(|| field(at.frame + 48)),
        },
        code: CodeLayout {
            first_line: field(at.code + 32),
            file: field(at.code),
            name: field(at.code + 8),
            qualified_name: Some(field(at.code + 16)),
            lines: field(at.code + 24),
            locals: field(at.code + 48),
            line_format: LineFormat::Locations,
            instructions: Some(field(at.code + 64)),
            copies: copies.then(|| field(at.code + 72)),
        },
        text: TextLayout {
            length: field(text + 16),
            state: field(text + 8),
            ascii_data: field(text + 24),
            // `PyUnicodeObject` is the compact structure and one pointer.
            data: field(text).wrapping_sub(8),
            kind_bit,
            compact_bit: kind_bit + 3,
            ascii_bit: kind_bit + 4,
        },
        gil: gil(list, at.gil, free_threaded),
        object_type: field(at.object),
        type_name: field(at.object + 16),
        size: field(at.bytes),
        bytes: field(at.bytes + 8),
        items: field(at.items),
        float: field(at.bytes - 40),
    }
}

fn gil(list: &[u8], at: u64, free_threaded: bool) -> GilLayout {
    let field = |position: u64| word(list, position);
    // The fields are told as they lie in an interpreter that has its own.
    let own = field(at + 8);
    let locked = field(at + 24).wrapping_sub(own);
    // The counter of switches is between.
    let queue = locked.wrapping_add(16);
    GilLayout {
        place: GilPlace::Interpreter(field(at)),
        enabled: free_threaded.then(|| field(at + 16)),
        holder: field(at + 32).wrapping_sub(own),
        locked,
        queue,
        // Two conditions and two mutexes.
        size: queue.wrapping_add(176),
    }
}

/// Offsets that memory could have. What is read by them is small.
fn is_sane(layout: &Layout) -> bool {
    const STRUCTURE: u64 = 1 << 12;
    /// `_PyRuntimeState` and `PyInterpreterState` are large.
    const STATE: u64 = 1 << 24;
    let GilPlace::Interpreter(gil) = layout.gil.place else { return false };
    let interpreter = &layout.interpreter;
    let large = [layout.interpreters, interpreter.next, interpreter.id, interpreter.threads, gil];
    let spans = [layout.thread_span(), layout.frame_span(), layout.code_span()];
    let small = [
        layout.text.length,
        layout.text.state,
        layout.text.ascii_data,
        layout.text.data,
        layout.gil.holder,
        layout.gil.locked,
        layout.gil.enabled.unwrap_or(0),
        layout.gil.queue,
        layout.type_name,
        layout.bytes,
        layout.items,
        layout.float,
        layout.frame.locals,
        layout.code.instructions.unwrap_or(0),
    ];
    large.iter().all(|offset| *offset < STATE)
        && spans.iter().chain(&small).all(|offset| *offset < STRUCTURE)
}
