//! The layouts of 3.8 to 3.12, which do not describe themselves. Taken from the
//! headers of each (`Include/cpython/pystate.h`, `frameobject.h`, `code.h`,
//! `unicodeobject.h`, `Include/internal/pycore_{frame,gil,interp,runtime}.h`),
//! and tested against them.

use super::{
    CodeLayout, Entry, FrameLayout, GilLayout, GilPlace, Instruction, InterpreterLayout, Layout,
    LineFormat, TextLayout, ThreadLayout,
};

/// The layout of 3.`minor`.
pub(super) fn of(minor: u8) -> Option<&'static Layout> {
    match minor {
        8 => Some(&V3_8),
        9 => Some(&V3_9),
        10 => Some(&V3_10),
        11 => Some(&V3_11),
        12 => Some(&V3_12),
        _ => None,
    }
}

const V3_8: Layout = Layout {
    interpreters: 32,
    interpreter: InterpreterLayout { next: 0, id: 16, threads: 8 },
    thread: ThreadLayout {
        next: 8,
        interpreter: 16,
        pthread: 176,
        native: None,
        frame: 24,
        within_cframe: None,
    },
    frame: FrameLayout {
        previous: 24,
        code: 32,
        instruction: 104,
        counts: Instruction::Bytes,
        entry: Entry::Every,
        locals: 360,
        copy: None,
    },
    code: CodeLayout {
        first_line: 40,
        file: 104,
        name: 112,
        qualified_name: None,
        lines: 120,
        locals: 72,
        line_format: LineFormat::Increments,
        instructions: None,
        copies: None,
    },
    text: TextLayout {
        length: 16,
        state: 32,
        ascii_data: 48,
        data: 72,
        kind_bit: 2,
        compact_bit: 5,
        ascii_bit: 6,
    },
    gil: GilLayout {
        place: GilPlace::Runtime(1152),
        enabled: None,
        holder: 8,
        locked: 16,
        queue: 32,
        size: 208,
    },
    object_type: 8,
    type_name: 24,
    size: 16,
    bytes: 32,
    items: 24,
    float: 16,
};

const V3_9: Layout = Layout {
    interpreter: InterpreterLayout { id: 24, ..V3_8.interpreter },
    gil: GilLayout { place: GilPlace::Runtime(352), ..V3_8.gil },
    ..V3_8
};

const V3_10: Layout = Layout {
    frame: FrameLayout { instruction: 96, counts: Instruction::Units, locals: 352, ..V3_9.frame },
    code: CodeLayout { line_format: LineFormat::Ranges, ..V3_9.code },
    ..V3_9
};

const V3_11: Layout = Layout {
    interpreters: 40,
    interpreter: InterpreterLayout { next: 0, id: 48, threads: 16 },
    thread: ThreadLayout {
        pthread: 152,
        native: Some(160),
        frame: 56,
        within_cframe: Some(8),
        ..V3_10.thread
    },
    frame: FrameLayout {
        previous: 48,
        code: 32,
        instruction: 56,
        counts: Instruction::Address,
        entry: Entry::Flag(68),
        locals: 72,
        copy: None,
    },
    code: CodeLayout {
        first_line: 72,
        file: 112,
        name: 120,
        qualified_name: Some(128),
        lines: 136,
        locals: 96,
        line_format: LineFormat::Locations,
        instructions: Some(184),
        copies: None,
    },
    gil: GilLayout { place: GilPlace::Runtime(360), ..V3_10.gil },
    ..V3_10
};

const V3_12: Layout = Layout {
    interpreter: InterpreterLayout { next: 0, id: 8, threads: 72 },
    thread: ThreadLayout {
        pthread: 136,
        native: Some(144),
        within_cframe: Some(0),
        ..V3_11.thread
    },
    frame: FrameLayout { previous: 8, code: 0, entry: Entry::Shim(70), ..V3_11.frame },
    code: CodeLayout { first_line: 68, instructions: Some(192), ..V3_11.code },
    text: TextLayout { ascii_data: 40, data: 56, ..V3_11.text },
    gil: GilLayout { place: GilPlace::Interpreter(384), ..V3_11.gil },
    ..V3_11
};
