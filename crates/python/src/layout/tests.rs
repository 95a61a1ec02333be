//! The tables against the headers of each interpreter at hand, and what an
//! interpreter says of itself against its headers.

#[path = "../../tests/truth/interpreters.rs"]
mod interpreters;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::image::Image;
use interpreters::Interpreter;

/// Prints what an interpreter of 3.13 or later says of itself.
const OWN_WORDS: &str = "
import ctypes
runtime = ctypes.c_char.in_dll(ctypes.pythonapi, '_PyRuntime')
print(ctypes.string_at(ctypes.addressof(runtime), 760).hex())
";

#[test]
fn the_layout_of_each_version_is_that_of_its_headers() {
    for interpreter in interpreters::all() {
        let Some(mut headers) = from_headers(&interpreter, &[]) else {
            println!("SKIP {interpreter:?}: no headers, or no C compiler");
            continue;
        };
        headers.retain(|name, _| !name.starts_with("word."));
        let version = format!("3.{}", interpreter.minor).parse().unwrap();
        let runtime = if interpreter.minor < 13 { vec![0; 64] } else { own_words(&interpreter) };
        let memory = Image { parts: BTreeMap::from([(0, runtime)]), ..Image::default() };
        let (_, layout) = Layout::find(&memory, 0, Some(version)).unwrap();
        assert_eq!(fields(&layout), headers, "{interpreter:?}");
    }
}

/// From 3.14 on a header has the words that an interpreter will say of itself, those of a
/// free-threaded build, too.
#[test]
fn the_layout_of_a_free_threaded_build_is_that_of_its_headers() {
    for interpreter in (14..=15).flat_map(interpreters::of) {
        let Some(mut said) = from_headers(&interpreter, &["-DPy_GIL_DISABLED=1"]) else {
            println!("NOTE {interpreter:?}: no headers, or no C compiler");
            continue;
        };
        let words = (0..95).map(|word| said.remove(&format!("word.{word}")).unwrap());
        let runtime: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let memory = Image { parts: BTreeMap::from([(0, runtime)]), ..Image::default() };
        let (_, layout) = Layout::find(&memory, 0, None).unwrap();
        assert_eq!(fields(&layout), said, "{interpreter:?}");
    }
}

fn own_words(interpreter: &Interpreter) -> Vec<u8> {
    let text = interpreter.ask(OWN_WORDS).expect("it has ctypes");
    let digits = text.trim().as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

/// The folder of its own headers, if they are installed.
fn headers(interpreter: &Interpreter) -> Option<PathBuf> {
    let prefix = interpreter.program.parent()?.parent()?;
    let kind = if interpreter.free_threaded { "t" } else { "" };
    let inside = prefix.join(format!("include/python3.{}{kind}", interpreter.minor));
    let outside = match &interpreter.root {
        None => inside,
        Some(root) => root.join(inside.strip_prefix("/").ok()?),
    };
    outside.join("internal").is_dir().then_some(outside)
}

/// What the program made with its headers prints.
fn from_headers(interpreter: &Interpreter, flags: &[&str]) -> Option<BTreeMap<String, u64>> {
    let headers = headers(interpreter)?;
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("layout");
    let compiled = Command::new("cc")
        .arg("-w")
        .args(flags)
        .arg("-I")
        .arg(&headers)
        .arg("-I")
        .arg(headers.join("internal"))
        // Debian has a part of the headers in a folder beside them.
        .arg("-idirafter")
        .arg(headers.parent()?)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c/layout.c"))
        .arg("-o")
        .arg(&program)
        .output()
        .ok()?;
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let printed = String::from_utf8(Command::new(program).output().unwrap().stdout).unwrap();
    let field = |line: &str| {
        let (name, value) = line.split_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    Some(printed.lines().map(field).collect())
}

/// All of a layout, under the names that the program prints.
fn fields(layout: &Layout) -> BTreeMap<String, u64> {
    let Layout { interpreter, thread, frame, code, text, gil, .. } = layout;
    let mut fields = vec![
        ("runtime.interpreters", layout.interpreters),
        ("interpreter.next", interpreter.next),
        ("interpreter.id", interpreter.id),
        ("interpreter.threads", interpreter.threads),
        ("thread.next", thread.next),
        ("thread.interpreter", thread.interpreter),
        ("thread.pthread", thread.pthread),
        ("thread.frame", thread.frame),
        ("frame.previous", frame.previous),
        ("frame.code", frame.code),
        ("frame.instruction", frame.instruction),
        ("frame.locals", frame.locals),
        ("code.locals", code.locals),
        ("code.first_line", code.first_line),
        ("code.file", code.file),
        ("code.name", code.name),
        ("code.lines", code.lines),
        ("object.type", layout.object_type),
        ("type.name", layout.type_name),
        ("sized.length", layout.size),
        ("bytes.data", layout.bytes),
        ("tuple.items", layout.items),
        ("float.value", layout.float),
        ("text.length", text.length),
        ("text.state", text.state),
        ("text.ascii_data", text.ascii_data),
        ("text.data", text.data),
        ("text.kind", text.kind_bit.into()),
        ("text.compact", text.compact_bit.into()),
        ("text.ascii", text.ascii_bit.into()),
        ("gil.holder", gil.holder),
        ("gil.locked", gil.locked),
        ("gil.queue", gil.queue),
        ("gil.size", gil.size),
    ];
    fields.push(match gil.place {
        GilPlace::Runtime(at) => ("runtime.gil", at),
        GilPlace::Interpreter(at) => ("interpreter.gil", at),
    });
    fields.extend(thread.native.map(|at| ("thread.native_id", at)));
    fields.extend(thread.within_cframe.map(|at| ("cframe.frame", at)));
    fields.extend(code.qualified_name.map(|at| ("code.qualified_name", at)));
    fields.extend(code.instructions.map(|at| ("code.instructions", at)));
    fields.extend(code.copies.map(|at| ("code.copies", at)));
    fields.extend(frame.copy.map(|at| ("frame.copy", at)));
    fields.extend(gil.enabled.map(|at| ("gil.enabled", at)));
    match frame.entry {
        Entry::Every => {}
        Entry::Flag(at) => fields.push(("frame.entry", at)),
        Entry::Shim(at) => {
            fields.push(("frame.owner", at));
            fields.push(("frame.first_shim", FIRST_SHIM.into()));
        }
    }
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What a runtime at 0 with these bytes is taken for.
fn find(bytes: &[u8], told: Option<&str>) -> Result<(Version, Layout), Unsupported> {
    let memory = Image { parts: BTreeMap::from([(0, bytes.to_vec())]), ..Image::default() };
    Layout::find(&memory, 0, told.map(|text| text.parse().unwrap()))
}

fn described(version: u32, free_threaded: u64, rest: u64) -> Vec<u8> {
    let head = [u64::from_le_bytes(*b"xdebugpy"), version.into(), free_threaded];
    let words = head.into_iter().chain([rest; 100]);
    words.flat_map(u64::to_le_bytes).collect()
}

#[test]
fn what_is_not_supported_says_why() {
    let plain = [0; 64];
    for old in ["2.7.18", "3.6.15", "3.7.16"] {
        assert!(matches!(find(&plain, Some(old)), Err(Unsupported::Old(_))), "{old}");
    }
    assert!(matches!(find(&plain, Some("3.16.0")), Err(Unsupported::New(_))));
    assert!(matches!(find(&plain, Some("3.14.0")), Err(Unsupported::Absurd(_))));
    assert_eq!(find(&plain, None), Err(Unsupported::Unknown));
    assert_eq!(find(&[], Some("3.11.7")), Err(Unsupported::Unreadable));
    assert!(find(&plain, Some("3.11.7")).is_ok());
}

#[test]
fn what_describes_itself_oddly_says_why() {
    let find = |version, free_threaded, rest| {
        let bytes = described(version, free_threaded, rest);
        find(&bytes, Some("3.11.7")).map(|(version, _)| version.release())
    };
    assert_eq!(find(0x030d_00f0, 0, 16), Ok((3, 13)));
    assert_eq!(find(0x030d_00f0, 1, 16), Ok((3, 13)));
    assert!(matches!(find(0x030e_00a2, 0, 16), Err(Unsupported::Unfinished(_))));
    assert!(matches!(find(0x0310_00f0, 0, 16), Err(Unsupported::New(_))));
    assert!(matches!(find(0x030c_00f0, 0, 16), Err(Unsupported::Absurd(_))));
    assert!(matches!(find(0x030f_02f0, 0, u64::MAX), Err(Unsupported::Absurd(_))));
    assert!(matches!(find(0x030f_02f0, 0, 1 << 30), Err(Unsupported::Absurd(_))));
}
