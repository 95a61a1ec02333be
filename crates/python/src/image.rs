//! Target memory that was kept: what some reads of a process saw, so that they
//! can be done again without it.

use std::collections::BTreeMap;

use crate::memory::Memory;
use crate::version::Version;

/// Parts of the memory of an interpreter, and what its file said of it.
///
/// In bytes: the version in 32 bits, 0 when it is not known; the address of
/// `_PyRuntime` in 64; and for each part its address in 64, its length in 16,
/// and what is there. All little-endian.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The version.
    pub version: Option<Version>,
    /// Where `_PyRuntime` is.
    pub runtime: u64,
    /// Parts, by address.
    pub parts: BTreeMap<u64, Vec<u8>>,
}

impl Image {
    /// Takes any bytes; a part that breaks off is as long as it is.
    #[must_use]
    pub fn parse(mut bytes: &[u8]) -> Image {
        let version = u32::from_le_bytes(take(&mut bytes));
        let version = (version != 0).then_some(Version(version));
        let runtime = u64::from_le_bytes(take(&mut bytes));
        let mut parts = BTreeMap::new();
        while !bytes.is_empty() {
            let address = u64::from_le_bytes(take(&mut bytes));
            let length = u16::from_le_bytes(take(&mut bytes)).into();
            let (part, rest) = bytes.split_at(bytes.len().min(length));
            parts.insert(address, part.to_owned());
            bytes = rest;
        }
        Image { version, runtime, parts }
    }

    /// As [`parse`](Image::parse) takes it. No part may be longer than 16 bits
    /// can say; the rest of such a part is lost.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let version = self.version.map_or(0, |version| version.0);
        let mut bytes = version.to_le_bytes().to_vec();
        bytes.extend(self.runtime.to_le_bytes());
        for (address, part) in &self.parts {
            let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
            bytes.extend(address.to_le_bytes());
            bytes.extend(length.to_le_bytes());
            bytes.extend(&part[..length.into()]);
        }
        bytes
    }
}

impl Memory for Image {
    /// What lies in one part can be read, or in several without a gap.
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        let mut filled = 0;
        while filled < into.len() {
            let Some(wanted) = address.checked_add(filled as u64) else { return false };
            let Some((start, part)) = self.parts.range(..=wanted).next_back() else { return false };
            let skipped = usize::try_from(wanted - start).unwrap_or(usize::MAX);
            let Some(found) = part.get(skipped..).filter(|found| !found.is_empty()) else {
                return false;
            };
            let length = found.len().min(into.len() - filled);
            into[filled..][..length].copy_from_slice(&found[..length]);
            filled += length;
        }
        true
    }
}

/// The first bytes; zeros where there are too few.
fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (taken, rest) = bytes.split_at(bytes.len().min(N));
    *bytes = rest;
    let mut number = [0; N];
    number[..taken.len()].copy_from_slice(taken);
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_again() {
        let parts = BTreeMap::from([(16, vec![1, 2, 3]), (19, vec![4]), (30, vec![5])]);
        let image = Image { version: Some(Version(0x030b_07f0)), runtime: 16, parts };
        let again = Image::parse(&image.to_bytes());
        assert_eq!(again, image);
        let mut into = [0; 3];
        assert!(again.read(17, &mut into));
        assert_eq!(into, [2, 3, 4]);
        assert!(!again.read(18, &mut into));
        assert!(!again.read(0, &mut into));
        assert!(!again.read(u64::MAX, &mut into));
    }

    #[test]
    fn any_bytes_are_an_image() {
        assert_eq!(Image::parse(&[]), Image::default());
        let broken_off = Image::parse(&[[0; 12].as_slice(), &[9; 10], &[1, 2]].concat());
        assert_eq!(broken_off.parts.into_values().next(), Some(vec![1, 2]));
    }
}
