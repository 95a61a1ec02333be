//! What an ELF file says of itself: symbols, segments, sections. Reads the
//! parts asked for and maps nothing, so that a file that shrinks meanwhile is
//! an error and no signal.

use std::fs::File;
use std::path::Path;

use object::read::{ReadCache, ReadRef};
use object::{
    BinaryFormat, Object, ObjectSection, ObjectSegment, ObjectSymbol, SegmentFlags, elf::PF_X,
};

use crate::mappings::Mapping;

/// No section we search is larger in an honest file.
const SECTION_LIMIT: u64 = 64 << 20;

/// An ELF file that can be asked.
#[derive(Debug)]
pub(crate) struct ElfFile<'data> {
    bytes: &'data ReadCache<File>,
    object: object::File<'data, &'data ReadCache<File>>,
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

impl<'data> ElfFile<'data> {
    /// `None` when it is not ELF.
    pub(crate) fn parse(bytes: &'data ReadCache<File>) -> Option<Self> {
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

    /// Address and size of a section.
    pub(crate) fn section(&self, name: &str) -> Option<(u64, u64)> {
        let section = self.object.section_by_name(name)?;
        Some((section.address(), section.size()))
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
