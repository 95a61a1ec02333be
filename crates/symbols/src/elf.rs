//! What an ELF file says of itself: symbols, segments, sections. Reads the
//! parts asked for and maps nothing, so that a file that shrinks meanwhile is
//! an error and no signal.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::Range;
use std::path::Path;

use object::read::{ReadCache, ReadRef};
use object::{
    BinaryFormat, Object, ObjectSection, ObjectSegment, ObjectSymbol, ObjectSymbolTable,
    RelocationTarget, SectionFlags, SegmentFlags,
    elf::{PF_X, SHF_EXECINSTR},
};
use xz2::read::XzDecoder;
use xz2::stream::Stream;

use crate::mappings::Mapping;

/// No section we search is larger in an honest file.
const SECTION_LIMIT: u64 = 64 << 20;

/// Entries of the global offset table that are looked at.
const SLOT_LIMIT: usize = 1 << 20;

/// What all compressed sections of an honest file hold, together.
const UNPACKED_LIMIT: u64 = 4 << 30;

/// What a packed symbol table of an honest file holds.
const SYMBOLS_LIMIT: u64 = 256 << 20;

/// How often a compressed section of an honest file holds its size: as often
/// as zlib can.
const RATIO_LIMIT: u64 = 1032;

/// An ELF file that can be asked.
#[derive(Debug)]
pub(crate) struct ElfFile<'data, R: Read + Seek = File> {
    bytes: &'data ReadCache<R>,
    object: object::File<'data, &'data ReadCache<R>>,
}

/// A loadable part of an ELF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) address: u64,
    pub(crate) file_offset: u64,
    pub(crate) file_size: u64,
    pub(crate) executable: bool,
}

/// The bytes of a file that was checked to be a regular one.
pub(crate) fn open(path: &Path) -> Option<ReadCache<File>> {
    Some(ReadCache::new(File::open(path).ok()?))
}

impl<'data, R: Read + Seek> ElfFile<'data, R> {
    /// `None` when it is not ELF.
    pub(crate) fn parse(bytes: &'data ReadCache<R>) -> Option<Self> {
        let object = object::File::parse(bytes).ok()?;
        (object.format() == BinaryFormat::Elf).then_some(ElfFile { bytes, object })
    }

    /// Address and size of a symbol the file defines, among the dynamic ones
    /// first: they survive stripping.
    pub(crate) fn symbol(&self, name: &str) -> Option<(u64, u64)> {
        let mut all = self.object.dynamic_symbols().chain(self.object.symbols());
        let found = all.find(|symbol| symbol.is_definition() && symbol.name() == Ok(name))?;
        Some((found.address(), found.size()))
    }

    /// Its GNU build id.
    pub(crate) fn build_id(&self) -> Option<&'data [u8]> {
        self.object.build_id().ok().flatten()
    }

    /// Name and checksum of the file its debug information was moved to.
    pub(crate) fn debug_link(&self) -> Option<(&'data str, u32)> {
        let (name, checksum) = self.object.gnu_debuglink().ok().flatten()?;
        Some((str::from_utf8(name).ok()?, checksum))
    }

    /// It holds debug information itself.
    pub(crate) fn has_debug_info(&self) -> bool {
        [".debug_info", ".zdebug_info"].iter().any(|name| {
            self.object.section_by_name(name).is_some_and(|it| it.file_range().is_some())
        })
    }

    /// What it claims to hold in compressed sections is not absurd: others
    /// make room for all of it.
    pub(crate) fn has_modest_sections(&self) -> bool {
        let mut unpacked = 0u64;
        self.object.sections().all(|section| {
            let Ok(range) = section.compressed_file_range() else { return true };
            unpacked = unpacked.saturating_add(range.uncompressed_size);
            unpacked <= UNPACKED_LIMIT
                && range.uncompressed_size / RATIO_LIMIT <= range.compressed_size
        })
    }

    /// The same of the symbol table that stands packed in a section of its own,
    /// and does not tell its size.
    pub(crate) fn has_modest_symbols(&self) -> bool {
        let packed = self.section_bytes(".gnu_debugdata").unwrap_or_default();
        let Ok(stream) = Stream::new_stream_decoder(SYMBOLS_LIMIT, 0) else { return false };
        let mut unpacked = XzDecoder::new_stream(packed, stream).take(SYMBOLS_LIMIT);
        let whole = io::copy(&mut unpacked, &mut io::sink());
        packed.is_empty() || whole.is_ok_and(|length| length < SYMBOLS_LIMIT)
    }

    /// Which dynamic symbol the loader puts where.
    pub(crate) fn slots(&self) -> HashMap<u64, &'data str> {
        let relocations = self.object.dynamic_relocations().into_iter().flatten();
        let symbols = self.object.dynamic_symbol_table();
        let slot = |(address, relocation): (u64, object::Relocation)| {
            let RelocationTarget::Symbol(index) = relocation.target() else { return None };
            let name = symbols.as_ref()?.symbol_by_index(index).ok()?.name().ok()?;
            (!name.is_empty()).then_some((address, name))
        };
        relocations.take(SLOT_LIMIT).filter_map(slot).collect()
    }

    /// It is for this instruction set.
    pub(crate) fn is_x86_64(&self) -> bool {
        self.object.architecture() == object::Architecture::X86_64
    }

    /// Address and size of a section.
    pub(crate) fn section(&self, name: &str) -> Option<(u64, u64)> {
        let section = self.object.section_by_name(name)?;
        Some((section.address(), section.size()))
    }

    /// Where the sections with code are. A debug file knows where, and has none in it.
    pub(crate) fn code(&self) -> Vec<Range<u64>> {
        let code = self.object.sections().filter(|section| match section.flags() {
            SectionFlags::Elf { sh_flags } => sh_flags & u64::from(SHF_EXECINSTR) != 0,
            _ => false,
        });
        code.map(|it| it.address()..it.address().saturating_add(it.size())).collect()
    }

    /// The contents of a section, unless absurdly large.
    pub(crate) fn section_bytes(&self, name: &str) -> Option<&'data [u8]> {
        let section = self.object.section_by_name(name)?;
        let (offset, size) = section.file_range()?;
        (size <= SECTION_LIMIT).then(|| self.bytes.read_bytes_at(offset, size).ok())?
    }

    /// The 32-bit number the file holds for `address`.
    pub(crate) fn u32_at(&self, address: u64) -> Option<u32> {
        let segment = self.segments().into_iter().find(|segment| segment.holds(address, 4))?;
        let offset = (address - segment.address).checked_add(segment.file_offset)?;
        let bytes = self.bytes.read_bytes_at(offset, 4).ok()?.first_chunk().copied()?;
        Some(if self.object.is_little_endian() {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    }

    pub(crate) fn segments(&self) -> Vec<Segment> {
        let segment = |segment: object::Segment<'_, '_, _>| {
            let (file_offset, file_size) = segment.file_range();
            let executable =
                matches!(segment.flags(), SegmentFlags::Elf { p_flags } if p_flags & PF_X != 0);
            Segment { address: segment.address(), file_offset, file_size, executable }
        };
        self.object.segments().map(segment).collect()
    }
}

impl Segment {
    fn holds(&self, address: u64, length: u64) -> bool {
        let inside =
            address.checked_sub(self.address).and_then(|inside| inside.checked_add(length));
        inside.is_some_and(|end| end <= self.file_size)
    }
}

/// The address in the file of what is at `offset` of it.
pub(crate) fn address_at(segments: &[Segment], offset: u64) -> Option<u64> {
    let at = |segment: &Segment| {
        let inside = offset.checked_sub(segment.file_offset)?;
        (inside < segment.file_size).then(|| segment.address.wrapping_add(inside))
    };
    // A page at the border of two segments is mapped twice.
    let code = segments.iter().filter(|segment| segment.executable).find_map(at);
    code.or_else(|| segments.iter().find_map(at))
}

/// What must be added to an address in the file to get the address in memory,
/// given one executable mapping of that file.
pub(crate) fn load_bias(segments: &[Segment], mapping: &Mapping, page_size: u64) -> Option<u64> {
    let shown = |segment: &&Segment| {
        // The kernel maps whole pages: up to a page before the segment begins.
        let first = segment.file_offset - segment.file_offset % page_size.max(1);
        let end = segment.file_offset.saturating_add(segment.file_size);
        segment.executable && (first..end).contains(&mapping.file_offset)
    };
    let segment = segments.iter().find(shown)?;
    let linked =
        segment.address.wrapping_sub(segment.file_offset).wrapping_add(mapping.file_offset);
    Some(mapping.start.wrapping_sub(linked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_mapping(start: u64, file_offset: u64) -> Mapping {
        Mapping {
            start,
            end: start + 0x1000,
            file_offset,
            path: "/lib".into(),
            build_id: [].into(),
        }
    }

    /// Segments of a typical shared object: text begins inside a page, and
    /// the page before belongs to two segments.
    const SEGMENTS: [Segment; 3] = [
        Segment { address: 0, file_offset: 0, file_size: 0x1234, executable: false },
        Segment { address: 0x2240, file_offset: 0x1240, file_size: 0x5000, executable: true },
        Segment { address: 0x8000, file_offset: 0x6800, file_size: 0x100, executable: false },
    ];

    #[test]
    fn the_bias_comes_from_the_executable_segment_of_the_page() {
        let mapping = text_mapping(0x7f00_0000_2000, 0x1000);
        assert_eq!(load_bias(&SEGMENTS, &mapping, 0x1000), Some(0x7f00_0000_0000));
    }

    #[test]
    fn a_later_part_of_the_text_gives_the_same_bias() {
        let mapping = text_mapping(0x7f00_0000_4000, 0x3000);
        assert_eq!(load_bias(&SEGMENTS, &mapping, 0x1000), Some(0x7f00_0000_0000));
    }

    #[test]
    fn a_mapping_that_shows_no_text_gives_none() {
        assert_eq!(load_bias(&SEGMENTS, &text_mapping(0x1000, 0x9000), 0x1000), None);
        assert_eq!(load_bias(&[], &text_mapping(0x1000, 0), 0x1000), None);
    }

    #[test]
    fn nonsense_wraps_and_does_not_panic() {
        let absurd = Segment {
            address: 3,
            file_offset: u64::MAX - 1,
            file_size: u64::MAX,
            executable: true,
        };
        assert_eq!(load_bias(&[absurd], &text_mapping(0, u64::MAX - 5), 0), None);
        load_bias(&[absurd], &text_mapping(0, u64::MAX - 1), 0x1000);
        assert!(!absurd.holds(u64::MAX, u64::MAX));
    }
}
