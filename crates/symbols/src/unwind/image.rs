//! What unwinding needs of an ELF image: where its code is linked, and its
//! unwind information. Bytes in; opening is elsewhere.

use object::LittleEndian;
use object::elf::{EM_X86_64, FileHeader64, NT_GNU_BUILD_ID, PF_X, PT_LOAD};
use object::read::ReadRef;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable};

use crate::unwind::contents::contents;
use crate::unwind::table::{Section, Sections, Table};

pub(crate) type Header = FileHeader64<LittleEndian>;

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
    pub(crate) links: Links,
}

/// How a file names the one that has its debug information.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Links {
    /// Its GNU build id, which the other repeats; empty when it has none.
    pub(crate) build_id: Vec<u8>,
    /// The other's name, and the checksum of its bytes.
    pub(crate) debug_link: Option<(Vec<u8>, u32)>,
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
            links: links(&sections, data),
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

fn links<'data, R: ReadRef<'data>>(sections: &SectionTable<'data, Header, R>, data: R) -> Links {
    let named = |name: &[u8]| sections.section_by_name(LittleEndian, name).map(|(_, found)| found);
    let build_id = named(b".note.gnu.build-id").and_then(|section| {
        let mut notes = section.notes(LittleEndian, data).ok()??;
        let note = notes.next().ok()??;
        (note.n_type(LittleEndian) == NT_GNU_BUILD_ID).then(|| note.desc().to_vec())
    });
    let link = named(b".gnu_debuglink").and_then(|section| contents(section, data));
    Links {
        build_id: build_id.unwrap_or_default(),
        debug_link: link.and_then(|link| debug_link(&link)),
    }
}

/// A name, zero bytes up to a multiple of four, and a checksum.
fn debug_link(link: &[u8]) -> Option<(Vec<u8>, u32)> {
    let (name, checksum) = link.split_last_chunk()?;
    let end = name.iter().position(|byte| *byte == 0)?;
    Some((name[..end].to_vec(), u32::from_le_bytes(*checksum)))
}
