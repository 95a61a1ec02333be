//! The unwind information of one file: `.eh_frame` and `.debug_frame`, and
//! the rule for an address in it. Bytes in, rules out.

use std::sync::OnceLock;

use gimli::{
    BaseAddresses, CieOrFde, DebugFrame, EhFrame, EndianSlice, LittleEndian, UnwindContext,
    UnwindOffset, UnwindSection,
};

use crate::unwind::rule::{Rule, Stop};

/// Bytes of an address on the one architecture we unwind.
const ADDRESS_SIZE: u8 = 8;

/// Version 1; a place 4 bytes from here, a count of 4 bytes, and rows of 4 and
/// 4 bytes counted from the header.
const HEADER_FORM: [u8; 4] = [1, 0x1b, 0x03, 0x3b];

/// No honest function needs more bytes of instructions to be unwound.
const ENTRY_LIMIT: usize = 1 << 20;

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// Contents of a section, and where its file wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) address: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The sections that say how to unwind; an absent one is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sections {
    pub(crate) eh_frame: Section,
    pub(crate) eh_frame_hdr: Section,
    pub(crate) debug_frame: Section,
    /// Addresses of `.text` and `.got`, which entries may be relative to.
    pub(crate) text: u64,
    pub(crate) got: u64,
}

/// Those of one file, and where in them to look.
#[derive(Debug, Default)]
pub(crate) struct Table {
    sections: Sections,
    eh_index: OnceLock<Index>,
    debug_index: OnceLock<Index>,
}

/// Entries of a section by the address of their function.
type Index = Vec<(u64, usize)>;

impl Table {
    pub(crate) fn new(sections: Sections) -> Self {
        Table { sections, ..Table::default() }
    }

    /// Takes a `.debug_frame` from elsewhere, if the file has none.
    pub(crate) fn add(&mut self, debug_frame: Section) {
        if self.sections.debug_frame.bytes.is_empty() {
            self.sections.debug_frame = debug_frame;
        }
    }

    /// Gives up the `.debug_frame`.
    pub(crate) fn into_debug_frame(self) -> Section {
        self.sections.debug_frame
    }

    /// Bytes of memory it takes, indexes left out.
    pub(crate) fn size(&self) -> usize {
        let Sections { eh_frame, eh_frame_hdr, debug_frame, .. } = &self.sections;
        [eh_frame, eh_frame_hdr, debug_frame].iter().map(|section| section.bytes.len()).sum()
    }

    /// The rule at an address as the file counts; `None` where it says nothing.
    pub(crate) fn rule(
        &self,
        address: u64,
        context: &mut UnwindContext<usize>,
    ) -> Result<Option<Rule>, Stop> {
        let bases = self.bases();
        let eh_frame = self.eh_frame();
        let entry = self.entry(&eh_frame, &bases, address);
        let found = entry.map(|entry| rule_in(&eh_frame, &bases, entry, address, context));
        if let Some(rule) = found.transpose()?.flatten() {
            return Ok(Some(rule));
        }
        let mut debug_frame = DebugFrame::new(&self.sections.debug_frame.bytes, LittleEndian);
        debug_frame.set_address_size(ADDRESS_SIZE);
        let index = self.debug_index.get_or_init(|| index(&debug_frame, &bases));
        let found = find(index, address)
            .map(|entry| rule_in(&debug_frame, &bases, entry, address, context));
        Ok(found.transpose()?.flatten())
    }

    /// Where the function begins that has an address as the file counts.
    pub(crate) fn function(&self, address: u64) -> Option<u64> {
        let bases = self.bases();
        let eh_frame = self.eh_frame();
        let entry = self.entry(&eh_frame, &bases, address)?;
        let function = eh_frame.fde_from_offset(&bases, entry.into(), EhFrame::cie_from_offset);
        function.ok().filter(|it| it.contains(address)).map(|it| it.initial_address())
    }

    #[inline]
    fn eh_frame(&self) -> EhFrame<Bytes<'_>> {
        let mut eh_frame = EhFrame::new(&self.sections.eh_frame.bytes, LittleEndian);
        eh_frame.set_address_size(ADDRESS_SIZE);
        eh_frame
    }

    /// Where in the `.eh_frame` the entry of the function is that an address may be in.
    #[inline]
    fn entry(
        &self,
        eh_frame: &EhFrame<Bytes<'_>>,
        bases: &BaseAddresses,
        address: u64,
    ) -> Option<usize> {
        match self.header_rows() {
            Some(rows) => self.find_row(rows, address),
            None => find(self.eh_index.get_or_init(|| index(eh_frame, bases)), address),
        }
    }

    /// The rows of `.eh_frame_hdr`: address of a function and of its entry,
    /// both counted from the header, in 4 bytes each. `None` where it has
    /// another form, which no linker writes.
    fn header_rows(&self) -> Option<&[[u8; 8]]> {
        let (form, rest) = self.sections.eh_frame_hdr.bytes.split_first_chunk()?;
        let (_eh_frame, rest) = rest.split_first_chunk::<4>()?;
        let (count, rows) = rest.split_first_chunk()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
        (*form == HEADER_FORM).then(|| rows.as_chunks().0.get(..count))?
    }

    fn find_row(&self, rows: &[[u8; 8]], address: u64) -> Option<usize> {
        let base = self.sections.eh_frame_hdr.address;
        let counted = |[a, b, c, d]: [u8; 4]| {
            base.wrapping_add_signed(i32::from_le_bytes([a, b, c, d]).into())
        };
        let begin = |[a, b, c, d, ..]: &[u8; 8]| counted([*a, *b, *c, *d]);
        let after = rows.partition_point(|row| begin(row) <= address);
        let [.., a, b, c, d] = *rows.get(after.checked_sub(1)?)?;
        usize::try_from(counted([a, b, c, d]).checked_sub(self.sections.eh_frame.address)?).ok()
    }

    fn bases(&self) -> BaseAddresses {
        BaseAddresses::default()
            .set_eh_frame(self.sections.eh_frame.address)
            .set_eh_frame_hdr(self.sections.eh_frame_hdr.address)
            .set_text(self.sections.text)
            .set_got(self.sections.got)
    }
}

/// All entries of `section` up to the first that is broken.
fn index<'a, S: UnwindSection<Bytes<'a>>>(section: &S, bases: &BaseAddresses) -> Index {
    let mut index = Index::new();
    let mut entries = section.entries(bases);
    while let Ok(Some(entry)) = entries.next() {
        let CieOrFde::Fde(entry) = entry else { continue };
        // One that cannot be read costs itself only: its length is known.
        if let Ok(entry) = entry.parse(S::cie_from_offset)
            && entry.len() > 0
        {
            index.push((entry.initial_address(), entry.offset()));
        }
    }
    index.sort_unstable();
    index
}

/// The last entry that begins at or before `address`.
fn find(index: &Index, address: u64) -> Option<usize> {
    let after = index.partition_point(|(start, _)| *start <= address);
    Some(index.get(after.checked_sub(1)?)?.1)
}

/// The rule at `address` if `entry` covers it.
fn rule_in<'a, S: UnwindSection<Bytes<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    entry: usize,
    address: u64,
    context: &mut UnwindContext<usize>,
) -> Result<Option<Rule>, Stop>
where
    S::Offset: UnwindOffset<usize>,
{
    let function = section.fde_from_offset(bases, entry.into(), S::cie_from_offset)?;
    if !function.contains(address) {
        return Ok(None);
    }
    if function.entry_len() > ENTRY_LIMIT {
        return Err(Stop::Bad);
    }
    let row = function.unwind_info_for_address(section, bases, context, address)?;
    Rule::of(section, &function, row).map(Some)
}
