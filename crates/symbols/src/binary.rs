//! What must be known of a file before addresses in it can be named.

use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use crate::elf::{self, ElfFile, Segment};
use crate::plt::Plt;

/// A program or library.
#[derive(Debug)]
pub(crate) struct Binary {
    segments: Vec<Segment>,
    plt: Plt,
    /// Its debug information is not in another file.
    pub(crate) has_debug_info: bool,
}

/// By what the debug information of a file is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DebugLink {
    pub(crate) build_id: Option<Rc<[u8]>>,
    /// Name and checksum of the file it was moved to.
    pub(crate) file: Option<(String, u32)>,
}

impl Binary {
    /// `None` when the file is not ELF.
    pub(crate) fn read(path: &Path) -> Option<Binary> {
        let bytes = elf::open(path)?;
        let file = ElfFile::parse(&bytes)?;
        Some(Binary {
            segments: file.segments(),
            plt: Plt::read(&file),
            has_debug_info: file.has_debug_info(),
        })
    }

    /// The address in the file of what is at `offset` of it.
    pub(crate) fn address_at(&self, offset: u64) -> Option<u64> {
        elf::address_at(&self.segments, offset)
    }

    /// The stub at an address in the file.
    pub(crate) fn stub(&self, address: u64) -> Option<&str> {
        self.plt.find(address)
    }
}

/// What can be read of a file without making room for absurd amounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Modest {
    pub(crate) symbols: bool,
    pub(crate) debug_info: bool,
    /// Its sections of code.
    code: Vec<Range<u64>>,
}

impl Modest {
    /// Nothing, when it is not ELF.
    pub(crate) fn read(path: &Path) -> Modest {
        let Some(bytes) = elf::open(path) else { return Modest::default() };
        let Some(file) = ElfFile::parse(&bytes) else { return Modest::default() };
        Modest {
            symbols: file.has_modest_symbols(),
            debug_info: file.has_modest_sections(),
            code: file.code(),
        }
    }

    /// Whether a symbol that does not say how far it reaches may name an address: not
    /// beyond its section.
    pub(crate) fn may_name(&self, symbol: u64, address: u64) -> bool {
        self.code.iter().any(|code| code.contains(&symbol) && code.contains(&address))
    }
}

impl DebugLink {
    /// `None` when the file holds its debug information itself, or is not ELF.
    pub(crate) fn read(path: &Path) -> Option<DebugLink> {
        let bytes = elf::open(path)?;
        let file = ElfFile::parse(&bytes)?;
        let link = || DebugLink {
            build_id: file.build_id().map(Rc::from),
            file: file.debug_link().map(|(name, checksum)| (name.to_owned(), checksum)),
        };
        (!file.has_debug_info()).then(link)
    }
}
