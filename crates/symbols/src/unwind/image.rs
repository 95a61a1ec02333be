//! What unwinding needs of an ELF image: where its code is linked, and its
//! unwind information. Bytes in; opening is elsewhere.

use std::ops::Range;

use object::LittleEndian;
use object::elf::{EM_X86_64, FileHeader64, PF_X, PT_LOAD, SHT_SYMTAB, Sym64};
use object::read::ReadRef;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable, Sym};

use crate::unwind::contents::contents;
use crate::unwind::table::{Section, Sections, Table};

pub(crate) type Header = FileHeader64<LittleEndian>;

/// Bytes of code behind the entry of a file that belong to it: a few calls.
const ENTRY: u64 = 128;

/// A run of code: where it is in the file, and where the file is linked to
/// have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) size: u64,
}

/// A file's code and how to unwind it.
#[derive(Debug, Default)]
pub(crate) struct Image {
    pub(crate) segments: Vec<Segment>,
    pub(crate) table: Table,
    /// The first instruction of a program, or of the loader.
    entry: u64,
    /// Functions on which stacks begin, whatever their unwind information says.
    beginnings: Vec<Range<u64>>,
}

impl Image {
    /// `None` when it is no ELF file of our architecture.
    pub(crate) fn parse<'data, R: ReadRef<'data>>(data: R) -> Option<Image> {
        let header = Header::parse(data).ok()?;
        let endian = header.endian().ok()?;
        if header.e_machine(endian) != EM_X86_64 {
            return None;
        }
        let parts = header.program_headers(endian, data).ok()?.iter();
        let code =
            parts.filter(|part| part.p_type(endian) == PT_LOAD && part.p_flags(endian) & PF_X != 0);
        let segments = code.map(|part| {
            let (offset, size) = part.file_range(endian);
            Segment { offset, address: part.p_vaddr(endian), size }
        });
        let sections = header.sections(endian, data).unwrap_or_default();
        Some(Image {
            segments: segments.collect(),
            table: table(&sections, data),
            entry: header.e_entry(endian),
            beginnings: beginnings(&sections, data),
        })
    }

    /// Whether the code at an address as the file counts is the first of a
    /// stack. Only the rule for it, `has_rule`, can make that doubtful.
    pub(crate) fn begins_at(&self, address: u64, has_rule: bool) -> bool {
        let from_entry = address.checked_sub(self.entry);
        let by_entry = !has_rule && from_entry.is_some_and(|from| from < ENTRY);
        by_entry || self.beginnings.iter().any(|function| function.contains(&address))
    }

    /// Where in the file the function begins that has an address as the file counts.
    pub(crate) fn function(&self, address: u64) -> Option<u64> {
        let begin = self.table.function(address)?;
        self.segments.iter().find_map(|segment| {
            let inside = begin.checked_sub(segment.address)?;
            (inside < segment.size).then(|| segment.offset.wrapping_add(inside))
        })
    }

    /// The address for which the code at an offset of the file is linked.
    pub(crate) fn address_of(&self, offset: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let inside = offset.checked_sub(segment.offset)?;
            (inside < segment.size).then(|| segment.address.wrapping_add(inside))
        })
    }
}

/// Go's runtime and its goroutines begin here, or the runtime goes on with another
/// stack: what the unwind information leads to on it was left long ago.
fn beginnings<'data, R: ReadRef<'data>>(
    sections: &SectionTable<'data, Header, R>,
    data: R,
) -> Vec<Range<u64>> {
    const NAMES: [&[u8]; 5] = [
        b"runtime.goexit",
        b"runtime.mcall",
        b"runtime.morestack",
        b"runtime.rt0_go",
        b"runtime.systemstack",
    ];
    if sections.section_by_name(LittleEndian, b".gopclntab").is_none() {
        return Vec::new();
    }
    let Ok(symbols) = sections.symbols(LittleEndian, data, SHT_SYMTAB) else { return Vec::new() };
    let name = |symbol: &Sym64<LittleEndian>| symbol.name(LittleEndian, symbols.strings());
    let begins = |symbol: &&Sym64<LittleEndian>| {
        name(symbol).is_ok_and(|name| NAMES.contains(&name.strip_suffix(b".abi0").unwrap_or(name)))
    };
    let range = |symbol: &Sym64<LittleEndian>| {
        let start = symbol.st_value(LittleEndian);
        start..start.saturating_add(symbol.st_size(LittleEndian))
    };
    symbols.iter().filter(begins).map(range).collect()
}

fn table<'data, R: ReadRef<'data>>(sections: &SectionTable<'data, Header, R>, data: R) -> Table {
    let named = |name: &[u8]| sections.section_by_name(LittleEndian, name).map(|(_, found)| found);
    let address = |name| named(name).map_or(0, |section| section.sh_addr(LittleEndian));
    let section = |name| Section {
        address: address(name),
        bytes: named(name).and_then(|section| contents(section, data)).unwrap_or_default(),
    };
    Table::new(Sections {
        eh_frame: section(b".eh_frame"),
        eh_frame_hdr: section(b".eh_frame_hdr"),
        debug_frame: section(b".debug_frame"),
        text: address(b".text"),
        got: address(b".got"),
    })
}
