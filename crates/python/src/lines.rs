//! From an instruction to its source line: the three forms of line table that
//! code objects have had since 3.8.

use crate::layout::LineFormat;

/// The line at each byte of the bytecode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines {
    /// First byte of each stretch and its line, in order of the bytes.
    stretches: Vec<(u32, Option<u32>)>,
}

impl Lines {
    /// Reads a table as far as it makes sense.
    pub(crate) fn decode(format: LineFormat, table: &[u8], first_line: u32) -> Lines {
        let mut lines = Lines { stretches: Vec::new() };
        let first = i64::from(first_line);
        match format {
            LineFormat::Increments => lines.increments(table, first),
            LineFormat::Ranges => lines.ranges(table, first),
            LineFormat::Locations => {
                lines.locations(table, first);
            }
        }
        lines
    }

    /// The line of the instruction at `byte`; an instruction before the first
    /// belongs to a call that has not begun.
    pub(crate) fn at(&self, byte: i64) -> Option<u32> {
        let after = self.stretches.partition_point(|(start, _)| i64::from(*start) <= byte.max(0));
        self.stretches.get(after.checked_sub(1)?)?.1
    }

    /// `lnotab`, up to 3.9: pairs of an increment of the address and a signed
    /// one of the line (`Objects/lnotab_notes.txt`).
    fn increments(&mut self, table: &[u8], first: i64) {
        let (mut byte, mut line) = (0, first);
        self.push(byte, Some(line));
        for pair in table.chunks_exact(2) {
            byte += u32::from(pair[0]);
            line += i64::from(pair[1].cast_signed());
            self.push(byte, Some(line));
        }
    }

    /// `linetable` of 3.10: pairs of a length and a signed increment of the
    /// line, -128 for no line.
    fn ranges(&mut self, table: &[u8], first: i64) {
        const NO_LINE: i8 = -128;
        let (mut byte, mut line) = (0, first);
        for pair in table.chunks_exact(2) {
            let change = pair[1].cast_signed();
            if change == NO_LINE {
                self.push(byte, None);
            } else {
                line += i64::from(change);
                self.push(byte, Some(line));
            }
            byte += u32::from(pair[0]);
        }
    }

    /// `linetable` from 3.11 (`Objects/locations.md`, later
    /// `InternalDocs/code_objects.md`): entries that begin with a byte whose
    /// top bit is set, then four bits of code and three of length in code
    /// units. The columns are of no interest. `None` where the table ends
    /// within an entry.
    fn locations(&mut self, table: &[u8], first: i64) -> Option<()> {
        const SHORT: std::ops::RangeInclusive<u8> = 0..=9;
        const ONE_LINE: std::ops::RangeInclusive<u8> = 10..=12;
        const NO_COLUMNS: u8 = 13;
        const LONG: u8 = 14;
        let mut bytes = table.iter().copied();
        let (mut byte, mut line) = (0_u32, first);
        while let Some(head) = bytes.next() {
            let code = head >> 3 & 15;
            let mut found = Some(());
            if SHORT.contains(&code) {
                bytes.next()?;
            } else if ONE_LINE.contains(&code) {
                line += i64::from(code - 10);
                bytes.nth(1)?;
            } else if code == NO_COLUMNS || code == LONG {
                line = line.saturating_add(signed(&mut bytes)?);
                let columns = if code == LONG { 3 } else { 0 };
                for _ in 0..columns {
                    unsigned(&mut bytes)?;
                }
            } else {
                found = None;
            }
            self.push(byte, found.map(|()| line));
            byte = byte.saturating_add(2 * (u32::from(head & 7) + 1));
        }
        Some(())
    }

    /// A later statement about the same byte replaces the one before.
    fn push(&mut self, byte: u32, line: Option<i64>) {
        let line = line.and_then(|line| u32::try_from(line).ok());
        match self.stretches.last_mut() {
            Some(last) if last.0 == byte => last.1 = line,
            Some(last) if last.1 == line => {}
            _ => self.stretches.push((byte, line)),
        }
    }
}

/// Six bits a byte, the lowest first; bit 6 says that more follow.
fn unsigned(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut value = 0;
    let mut shift = 0;
    loop {
        let byte = bytes.next()?;
        let bits = u64::from(byte & 0x3f);
        value |= bits.checked_shl(shift).filter(|_| shift < 48)?;
        shift += 6;
        if byte & 0x40 == 0 {
            return Some(value);
        }
    }
}

/// The sign is the lowest bit.
fn signed(bytes: &mut impl Iterator<Item = u8>) -> Option<i64> {
    let value = unsigned(bytes)?;
    let magnitude = i64::try_from(value >> 1).ok()?;
    Some(if value & 1 == 1 { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(format: LineFormat, table: &[u8], bytes: &[i64]) -> Vec<Option<u32>> {
        let lines = Lines::decode(format, table, 10);
        bytes.iter().map(|byte| lines.at(*byte)).collect()
    }

    #[test]
    fn increments_of_the_same_address_add_up() {
        let table = [0, 1, 6, 1, 0, 127, 0, 3, 4, 0xff];
        let found = at(LineFormat::Increments, &table, &[-1, 0, 5, 6, 9, 10, 999]);
        let lines = [11, 11, 11, 142, 142, 141, 141];
        assert_eq!(found, lines.map(Some));
    }

    #[test]
    fn a_range_may_have_no_line() {
        let table = [4, 1, 2, 0x80, 2, 2];
        let found = at(LineFormat::Ranges, &table, &[-2, 3, 4, 6]);
        assert_eq!(found, [Some(11), Some(11), None, Some(13)]);
    }

    #[test]
    fn every_form_of_location_is_understood() {
        let entry = |code: u8, units: u8| 0x80 | code << 3 | (units - 1);
        let table = [
            [entry(13, 1), 0b10].as_slice(),                      // + 1
            &[entry(11, 2), 4, 8],                                // + 1
            &[entry(0, 1), 0],                                    // the same
            &[entry(15, 1)],                                      // none
            &[entry(14, 8), 0x40 | 0b11, 0b10, 5, 0x41, 0x01, 2], // - 65
        ]
        .concat();
        let lines = Lines::decode(LineFormat::Locations, &table, 100);
        let found = [-2, 0, 2, 5, 6, 8, 10, 25].map(|byte| lines.at(byte));
        let expected = [101, 101, 102, 102, 102, 0, 37, 37];
        assert_eq!(found, expected.map(|line| (line != 0).then_some(line)));
    }

    #[test]
    fn a_table_that_breaks_off_is_read_up_to_there() {
        for table in [&[0x80 | 13 << 3, 0x02, 0x80 | 14 << 3][..], &[0xe8, 0x02, 0xe8, 0x7f]] {
            assert_eq!(at(LineFormat::Locations, table, &[0]), [Some(11)]);
        }
        let endless = [[0xe8].as_slice(), &[0x7f; 100]].concat();
        assert_eq!(at(LineFormat::Locations, &endless, &[0]), [None]);
    }

    #[test]
    fn lines_before_the_first_and_beyond_all_numbers_are_none() {
        assert_eq!(at(LineFormat::Ranges, &[2, 0x81], &[0]), [None]);
    }
}
