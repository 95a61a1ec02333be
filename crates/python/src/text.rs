//! Python strings in the target: `PyUnicodeObject` in its compact forms, the
//! only ones that names in code objects have.

use crate::layout::Layout;
use crate::memory::{self, Memory, half, word};
use crate::trouble::Trouble;

/// Characters of a string that are kept; no honest name or path is longer.
const LONGEST: u64 = 8192;

/// The string at `address`; its beginning and `…` when it is longer than any
/// name.
pub(crate) fn read(memory: &dyn Memory, layout: &Layout, address: u64) -> Result<String, Trouble> {
    let text = &layout.text;
    let head = text.data.max(text.length + 8).max(text.state + 4);
    let head = memory::bytes(memory, address, head).ok_or(Trouble::Unreadable(address))?;
    let state = half(&head, text.state);
    let bit = |number: u32| state >> number & 1 == 1;
    let kind = state >> text.kind_bit & 7;
    if !bit(text.compact_bit) || !matches!(kind, 1 | 2 | 4) {
        return Err(Trouble::Nonsense(address));
    }
    let length = word(&head, text.length);
    let kept = length.min(LONGEST);
    let data = if bit(text.ascii_bit) { text.ascii_data } else { text.data };
    let data = address.wrapping_add(data);
    let units = memory::bytes(memory, data, kept * u64::from(kind));
    let mut string = decode(&units.ok_or(Trouble::Unreadable(data))?, kind);
    if kept < length {
        string.push('…');
    }
    Ok(string)
}

/// Code points of `kind` bytes each. A half of a surrogate pair, which stands
/// for a byte of a file name that is not UTF-8, has no character.
fn decode(units: &[u8], kind: u32) -> String {
    let points = units.chunks_exact(kind as usize).map(|unit| match *unit {
        [a] => u32::from(a),
        [a, b] => u32::from(u16::from_le_bytes([a, b])),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
        _ => u32::MAX,
    });
    points.map(|point| char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_is_decoded() {
        assert_eq!(decode(b"caf\xe9", 1), "café");
        assert_eq!(decode(&[0x87, 0x65, 0x57, 0x5b], 2), "文字");
        assert_eq!(decode(&[0x0d, 0xf4, 0x01, 0x00], 4), "🐍");
    }

    #[test]
    fn what_is_no_character_is_replaced() {
        assert_eq!(decode(&[0x80, 0xdc], 2), "\u{fffd}");
        assert_eq!(decode(&[0xff; 4], 4), "\u{fffd}");
    }
}
