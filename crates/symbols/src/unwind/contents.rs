//! The contents of an ELF section, decompressed.

use std::io::Read;

use object::LittleEndian;
use object::elf::{ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD, SHT_NOBITS};
use object::read::ReadRef;
use object::read::elf::SectionHeader as _;

/// No section we read is larger in an honest file, packed or not.
const LIMIT: u64 = 64 << 20;

type SectionHeader = object::elf::SectionHeader64<LittleEndian>;

/// The bytes of `section`; `None` where they cannot be had.
pub(crate) fn contents<'data, R: ReadRef<'data>>(
    section: &SectionHeader,
    data: R,
) -> Option<Vec<u8>> {
    if section.sh_type(LittleEndian) == SHT_NOBITS || section.sh_size(LittleEndian) > LIMIT {
        return None;
    }
    let Some((header, offset, size)) = section.compression(LittleEndian, data).ok()? else {
        return Some(section.data(LittleEndian, data).ok()?.to_vec());
    };
    let packed = data.read_bytes_at(offset, size).ok()?;
    match header.ch_type.get(LittleEndian) {
        ELFCOMPRESS_ZLIB => all(flate2::read::ZlibDecoder::new(packed)),
        ELFCOMPRESS_ZSTD => all(zstd::Decoder::new(packed).ok()?),
        _ => None,
    }
}

fn all(unpacked: impl Read) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    unpacked.take(LIMIT).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
