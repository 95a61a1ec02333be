//! Nonsense must cost names, never more: no panic, no hang.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use object::{Object, ObjectSection, ObjectSymbol};
use whyslow_events::{Event, Frame};

use crate::program::{SPACE, compile, frames_at, resolve, stack};

const START: u64 = 0x10_0000;
const END: u64 = 0x20_0000;

fn mapping(start: u64, end: u64, file_offset: u64, path: &str) -> Event {
    Event::Mapping {
        space: SPACE,
        start,
        end,
        file_offset,
        path: path.to_owned(),
        build_id: vec![],
    }
}

/// What stands at `START + 0x10` when `path` is mapped there.
fn frame_in(path: &Path) -> Frame {
    let path = path.to_str().expect("a UTF-8 path");
    let address = START + 0x10;
    let resolved = resolve(&[mapping(START, END, 0, path), stack(&[], &[address])]);
    let frames = frames_at(&resolved, address);
    assert_eq!(frames.len(), 1, "{frames:?}");
    frames[0].clone()
}

#[test]
fn what_is_no_regular_file_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("python3");
    // Opening a FIFO that nobody writes to would block this test for ever.
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let socket = directory.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    assert_eq!(frame_in(&fifo).function, "python3+0x10");
    assert_eq!(frame_in(&socket).function, "socket+0x10");
    assert_eq!(frame_in(Path::new("/dev/zero")).function, "zero+0x10");
    assert_eq!(frame_in(Path::new("/dev/tty")).function, "tty+0x10");
    assert_eq!(
        frame_in(directory.path()).module,
        directory.path().file_name().unwrap().to_str().unwrap()
    );
    assert_eq!(frame_in(&directory.path().join("missing")).function, "missing+0x10");
}

#[test]
fn memory_without_a_file_keeps_its_addresses() {
    for (path, name) in [
        ("//anon", "[anon]+0x100010"),
        ("", "[anon]+0x100010"),
        ("[stack]", "[stack]+0x100010"),
        ("[vdso]", "[vdso]+0x10"),
        ("/memfd:code (deleted)", "memfd:code+0x10"),
        ("/", "+0x10"),
    ] {
        assert_eq!(frame_in(Path::new(path)).function, name, "{path:?}");
    }
}

#[test]
fn an_address_without_a_mapping_is_unknown() {
    let upside_down = mapping(END, START, 0, "/bin/sh");
    let overflowing = mapping(u64::MAX - 1, u64::MAX, u64::MAX, "/bin/sh");
    let addresses = [START, 0, u64::MAX, u64::MAX - 1];
    let resolved = resolve(&[upside_down, overflowing, stack(&[], &addresses)]);
    assert_eq!(frames_at(&resolved, START)[0].function, "[unknown]+0x100000");
    assert_eq!(frames_at(&resolved, 0)[0].function, "[unknown]+0x0");
    assert_eq!(frames_at(&resolved, u64::MAX)[0].module, "sh");
}

#[test]
fn a_space_that_was_never_defined_is_no_obstacle() {
    let resolved = resolve(&[stack(&[], &[5])]);
    assert_eq!(frames_at(&resolved, 5)[0].function, "[unknown]+0x5");
}

/// Where the entry of `symbol` begins in the file's `.symtab`.
fn symbol_entry(elf: &[u8], symbol: &str) -> usize {
    const ENTRY: u64 = 24;
    let file = object::File::parse(elf).unwrap();
    let index = file.symbol_by_name(symbol).expect("a symbol").index().0 as u64;
    let (start, _) = file.section_by_name(".symtab").unwrap().file_range().unwrap();
    usize::try_from(start + index * ENTRY).unwrap()
}

/// The name of the first instruction of `lonely` in a program whose symbol
/// table was changed by `damage`, which gets the entry of `lonely`.
fn damaged(damage: fn(&mut [u8])) -> Option<String> {
    const SOURCE: &str = "int lonely(void) { return 1; } int main(void) { return lonely(); }";
    let directory = tempfile::tempdir().unwrap();
    let path = compile(directory.path(), "cc", SOURCE, &["-O0"])?;
    let mut bytes = fs::read(&path).unwrap();
    let entry = symbol_entry(&bytes, "lonely");
    let value = bytes[entry + 8..entry + 16].try_into().unwrap();
    let address = START + u64::from_le_bytes(value);
    damage(&mut bytes[entry..entry + 24]);
    fs::write(&path, bytes).unwrap();
    let path = path.to_str().unwrap();
    let resolved = resolve(&[mapping(START, END, 0, path), stack(&[], &[address])]);
    Some(frames_at(&resolved, address)[0].function.clone())
}

#[test]
fn a_symbol_table_that_lies_costs_the_names_in_it() {
    let Some(whole) = damaged(|_| {}) else { return };
    assert_eq!(whole, "lonely");
    let nameless = damaged(|entry| entry[..4].fill(0)).unwrap();
    assert!(nameless.starts_with("program+0x"), "{nameless}");
    // Start plus size overflows.
    let endless = damaged(|entry| entry[16..].fill(0xff)).unwrap();
    assert!(endless == "lonely" || endless.starts_with("program+0x"), "{endless}");
}

/// A small generator of numbers, the same on every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).unwrap_or(0) % below
    }
}

/// Names some addresses in a broken file that also claims to be Python.
fn survive(directory: &Path, bytes: &[u8]) {
    let path = directory.join("python3.8");
    fs::write(&path, bytes).unwrap();
    let addresses: Vec<u64> = (START..START + 0x5000).step_by(0x95).collect();
    let path = path.to_str().unwrap();
    let resolved =
        resolve(&[mapping(START, END, 0, path), stack(&[], &addresses), stack(&[], &[START])]);
    for address in addresses {
        assert!(!frames_at(&resolved, address)[0].function.is_empty());
    }
}

#[test]
fn broken_elf_files_cost_their_names_only() {
    const SOURCE: &str = "
        int _PyRuntime[50] = {1}; const long Py_Version = 0x030b07f0;
        static inline int twice(int n) { return n * 2 + _PyRuntime[n]; }
        int Py_Initialize(int n) { return twice(n) + twice(n + 1); }
        int main(int argc, char **argv) { return Py_Initialize(argc); }
    ";
    let directory = tempfile::tempdir().unwrap();
    let flags = ["-g", "-O2", "-rdynamic"];
    let Some(path) = compile(directory.path(), "cc", SOURCE, &flags) else { return };
    let whole = fs::read(path).unwrap();
    survive(directory.path(), &whole);
    for length in (0..whole.len()).step_by(whole.len() / 40) {
        survive(directory.path(), &whole[..length]);
    }
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for _ in 0..300 {
        let mut broken = whole.clone();
        for _ in 0..=numbers.next(20) {
            // Half of the damage goes where the headers are.
            let reach = if numbers.next(2) == 0 { broken.len() } else { 0x400 };
            let at = numbers.next(reach);
            broken[at] = u8::try_from(numbers.next(256)).unwrap_or(0);
        }
        survive(directory.path(), &broken);
    }
}
