//! The parsers of outside bytes, as the fuzz targets call them: each takes
//! anything, and what it makes of it is dropped.

use std::io::Cursor;

use object::read::ReadCache;
use whyslow_events::KernelFunctions;

use crate::elf::{self, ElfFile};
use crate::jit::codes::{Codes, Room};
use crate::jit::dump::Dump;
use crate::jit::written::Written;
use crate::jit::{frame, perf_map as map};
use crate::kallsyms::Kallsyms;
use crate::plt::Plt;
use crate::runtime::python;
pub use crate::unwind::fuzzing as unwinding;

/// Enough for any input that is fed.
const MEMORY: usize = 1 << 24;

/// Addresses that are looked up in what was read.
const ADDRESSES: [u64; 4] = [0, 0x1000, 0x7f00_0000_1008, u64::MAX];

/// The kernel's table of its functions.
pub fn kallsyms(bytes: &[u8]) {
    let functions = Kallsyms::read(bytes);
    for address in ADDRESSES {
        functions.find(address);
        functions.holds(address);
    }
    functions.all(&mut |_, _| ());
}

/// A file of lines that name compiled code, which comes in two pieces.
pub fn perf_map(bytes: &[u8]) {
    in_two_pieces(bytes, map::read);
}

/// A jitdump file, which comes in two pieces.
pub fn jitdump(bytes: &[u8]) {
    let mut dump = Dump::default();
    in_two_pieces(bytes, |piece, into| dump.read(piece, into));
}

fn in_two_pieces(bytes: &[u8], mut read: impl FnMut(&[u8], &mut Written<'_>) -> usize) {
    let (mut codes, mut room) = (Codes::default(), Room::new(MEMORY));
    let half = &bytes[..bytes.len() / 2];
    let taken = read(half, &mut Written::at(1, &mut codes, &mut room).long_ago());
    assert!(taken <= half.len(), "more was taken than there is");
    read(&bytes[taken..], &mut Written::at(2, &mut codes, &mut room));
    for address in ADDRESSES {
        if let Some((code, offset)) = codes.find(address, 1) {
            frame::of(&code.name, code.line(offset));
        }
    }
    codes.end(&mut room);
}

/// An ELF file that says it is Python.
pub fn elf(bytes: &[u8]) {
    let bytes = ReadCache::new(Cursor::new(bytes));
    let Some(file) = ElfFile::parse(&bytes) else { return };
    let stubs = Plt::read(&file);
    let segments = file.segments();
    for address in ADDRESSES {
        stubs.find(address);
        elf::address_at(&segments, address);
    }
    let _ = (file.build_id(), file.debug_link(), file.has_debug_info());
    let _ = (file.has_modest_sections(), file.has_modest_symbols());
    if let Some(name) = python::file_name("python3.8") {
        python::look_inside(&file, &name);
    }
}
