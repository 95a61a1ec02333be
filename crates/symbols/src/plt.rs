//! Stubs through which code calls functions of other files: no symbol covers
//! them. Each jumps to an address that the loader has put into a slot of the
//! global offset table, and the relocation of that slot has the name.
//!
//! Known are those of x86-64.

use std::collections::HashMap;
use std::io::{Read, Seek};

use crate::elf::ElfFile;

/// Sections of stubs. Those that come first refer to the later ones by number.
const SECTIONS: [&str; 4] = [".plt", ".plt.got", ".plt.sec", ".plt.bnd"];

const STUB: usize = 16;

/// Bytes of an entry of `.rela.plt`, the first of which are the slot's address.
const RELOCATION: usize = 24;

/// `jmp *disp32(%rip)`
const JUMP: [u8; 2] = [0xff, 0x25];

/// `push imm32`
const PUSH: u8 = 0x68;

/// Each instruction that may come before: `endbr64` and `bnd`.
const PREFIXES: [&[u8]; 2] = [&[0xf3, 0x0f, 0x1e, 0xfa], &[0xf2]];

/// The stubs of a file.
#[derive(Debug, Default)]
pub(crate) struct Plt {
    /// By address, none overlapping: first address, one past the last, name.
    stubs: Vec<(u64, u64, String)>,
}

impl Plt {
    /// Those of `file`.
    pub(crate) fn read<R: Read + Seek>(file: &ElfFile<'_, R>) -> Plt {
        let mut stubs = Vec::new();
        if file.is_x86_64() {
            let slots = file.slots();
            let numbered = file.section_bytes(".rela.plt").unwrap_or_default();
            for section in SECTIONS {
                let Some((address, _)) = file.section(section) else { continue };
                let code = file.section_bytes(section).unwrap_or_default();
                // The linker writes half as much where nothing is lazy.
                let short = section == ".plt.got" && code.starts_with(&JUMP);
                let size = if short { STUB / 2 } else { STUB };
                for (index, stub) in code.chunks_exact(size).enumerate() {
                    let start = address.wrapping_add((index * size) as u64);
                    let name = target(stub, start, &slots, numbered);
                    let name = name.map_or(section.to_owned(), |name| format!("{name}@plt"));
                    stubs.push((start, start.saturating_add(size as u64), name));
                }
            }
        }
        stubs.sort_unstable();
        Plt { stubs }
    }

    /// The name of the stub at `address` of the file.
    pub(crate) fn find(&self, address: u64) -> Option<&str> {
        let behind = self.stubs.partition_point(|(start, ..)| *start <= address);
        let (_, end, name) = self.stubs.get(behind.checked_sub(1)?)?;
        (address < *end).then_some(name)
    }
}

/// The function behind a stub.
fn target<'data>(
    stub: &[u8],
    start: u64,
    slots: &HashMap<u64, &'data str>,
    numbered: &[u8],
) -> Option<&'data str> {
    let mut code = stub;
    for prefix in PREFIXES {
        code = code.strip_prefix(prefix).unwrap_or(code);
    }
    let slot = if let Some(rest) = code.strip_prefix(&JUMP) {
        let distance = i32::from_le_bytes(*rest.first_chunk()?);
        let next = start.wrapping_add((stub.len() - rest.len() + 4) as u64);
        next.wrapping_add_signed(distance.into())
    } else {
        // Before the first call: it tells the loader the number of its slot.
        let number = u32::from_le_bytes(*code.strip_prefix(&[PUSH])?.first_chunk()?);
        let entry = usize::try_from(number).ok()?.checked_mul(RELOCATION)?;
        u64::from_le_bytes(*numbered.get(entry..)?.first_chunk()?)
    };
    slots.get(&slot).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_stub_lead_to_their_slot() {
        let slots = HashMap::from([(0x4000, "write"), (0x4008, "read")]);
        let numbered = [[0; RELOCATION], {
            let mut entry = [0; RELOCATION];
            entry[..8].copy_from_slice(&0x4008u64.to_le_bytes());
            entry
        }]
        .concat();
        let target = |stub: &[u8]| target(stub, 0x1030, &slots, &numbered);
        let jump = [0xff, 0x25, 0xca, 0x2f, 0, 0, 0x68, 0, 0, 0, 0, 0xe9, 0, 0, 0, 0];
        assert_eq!(target(&jump), Some("write"));
        let bound = [0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25, 0xc5, 0x2f, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(target(&bound), Some("write"));
        let lazy = [0xf3, 0x0f, 0x1e, 0xfa, 0x68, 1, 0, 0, 0, 0xe9, 0, 0, 0, 0, 0x66, 0x90];
        assert_eq!(target(&lazy), Some("read"));
        for nonsense in [&[0xff, 0x25, 1][..], &[0x68, 0xff, 0xff, 0xff, 0xff], &[], &[0x90; 16]] {
            assert_eq!(target(nonsense), None);
        }
    }
}
