//! Pieces of compiled code by address: the last one written over a byte wins.

use std::collections::BTreeMap;
use std::rc::Rc;

/// What one piece costs beside its name: a node of a tree and a counted string.
const OVERHEAD: usize = 96;

/// A piece of compiled code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    /// The runtime's text for it.
    pub(crate) name: Rc<str>,
    /// Source lines, by the offset of their first instruction.
    pub(crate) lines: Rc<[Line]>,
}

/// The instructions from an offset on belong to a source line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) offset: u64,
    pub(crate) file: Rc<str>,
    pub(crate) line: u32,
}

#[derive(Clone, Debug)]
struct Piece {
    end: u64,
    /// Where the code began before something was written over its beginning.
    origin: u64,
    code: Code,
}

/// Memory that code of all processes may still take.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: usize,
}

impl Room {
    pub(crate) fn new(bytes: usize) -> Room {
        Room { bytes }
    }

    fn take(&mut self, bytes: usize) -> bool {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.unwrap_or(self.bytes);
        left.is_some()
    }
}

/// All code of a process.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    by_start: BTreeMap<u64, Piece>,
}

impl Codes {
    /// Puts code over whatever is there. What is empty, ends behind the last
    /// address, or has no room is left out.
    pub(crate) fn insert(&mut self, start: u64, size: u64, code: Code, room: &mut Room) {
        let Some(end) = start.checked_add(size).filter(|end| *end > start) else { return };
        let lines = code.lines.len() * size_of::<Line>();
        if room.take(OVERHEAD + code.name.len() + lines) {
            self.clear(start, end, room);
            self.by_start.insert(start, Piece { end, origin: start, code });
        }
    }

    /// Moves the code that begins at `from`.
    pub(crate) fn shift(&mut self, from: u64, to: u64, room: &mut Room) {
        if let Some(piece) = self.by_start.remove(&from) {
            self.insert(to, piece.end - from, piece.code, room);
        }
    }

    /// The code at `address`, and where in it.
    pub(crate) fn find(&self, address: u64) -> Option<(&Code, u64)> {
        let (_, piece) = self.by_start.range(..=address).next_back()?;
        (address < piece.end).then(|| (&piece.code, address - piece.origin))
    }

    fn clear(&mut self, start: u64, end: u64, room: &mut Room) {
        let before = self.by_start.range_mut(..start).next_back();
        if let Some((_, piece)) = before.filter(|(_, piece)| piece.end > start) {
            let whole = piece.clone();
            piece.end = start;
            self.keep_behind(end, whole, room);
        }
        let inside: Vec<u64> = self.by_start.range(start..end).map(|(at, _)| *at).collect();
        for at in inside {
            if let Some(piece) = self.by_start.remove(&at) {
                self.keep_behind(end, piece, room);
            }
        }
    }

    /// Keeps what of `piece` lies behind `end`.
    fn keep_behind(&mut self, end: u64, piece: Piece, room: &mut Room) {
        if piece.end > end && room.take(OVERHEAD) {
            self.by_start.insert(end, piece);
        }
    }
}

impl Code {
    /// The source line of the instruction at `offset`.
    pub(crate) fn line(&self, offset: u64) -> Option<&Line> {
        let behind = self.lines.partition_point(|line| line.offset <= offset);
        self.lines.get(behind.checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(name: &str) -> Code {
        Code { name: name.into(), lines: [].into() }
    }

    fn at(codes: &Codes, address: u64) -> Option<(String, u64)> {
        codes.find(address).map(|(code, offset)| (code.name.to_string(), offset))
    }

    #[test]
    fn the_last_code_over_a_byte_wins() {
        let ranges = [(10, 10), (40, 20), (15, 30), (20, 10), (0, 12), (44, 6), (10, 50), (25, 1)];
        let mut codes = Codes::default();
        let mut room = Room::new(1 << 20);
        for (count, (start, size)) in ranges.iter().enumerate() {
            codes.insert(*start, *size, code(&count.to_string()), &mut room);
            for address in 0..70 {
                let over = |range: &(u64, u64)| (range.0..range.0 + range.1).contains(&address);
                let last = ranges[..=count].iter().rposition(over);
                let expected = last.map(|index| (index.to_string(), address - ranges[index].0));
                assert_eq!(at(&codes, address), expected, "{address} after {count} more");
            }
        }
    }

    #[test]
    fn code_that_moves_is_found_where_it_is_now() {
        let (mut codes, mut room) = (Codes::default(), Room::new(1 << 20));
        codes.insert(10, 5, code("a"), &mut room);
        codes.shift(10, 100, &mut room);
        codes.shift(77, 200, &mut room);
        assert_eq!(at(&codes, 12), None);
        assert_eq!(at(&codes, 104), Some(("a".to_owned(), 4)));
        assert_eq!(at(&codes, 200), None);
    }

    #[test]
    fn nonsense_and_what_has_no_room_is_left_out() {
        let (mut codes, mut room) = (Codes::default(), Room::new(2 * OVERHEAD));
        codes.insert(10, 0, code("empty"), &mut room);
        codes.insert(u64::MAX - 1, 9, code("endless"), &mut room);
        codes.insert(1, 1, code(&"x".repeat(OVERHEAD + 1)), &mut room);
        codes.insert(20, 1, code("kept"), &mut room);
        codes.insert(30, 1, code("late"), &mut room);
        assert_eq!(codes.by_start.len(), 1);
        assert_eq!(at(&codes, 20), Some(("kept".to_owned(), 0)));
    }

    #[test]
    fn a_line_reaches_to_the_next_one() {
        let line = |offset, line| Line { offset, file: "f".into(), line };
        let code = Code { lines: [line(4, 1), line(8, 2)].into(), ..code("c") };
        let at = |offset| code.line(offset).map(|line| line.line);
        assert_eq!(
            (at(3), at(4), at(7), at(8), at(99)),
            (None, Some(1), Some(1), Some(2), Some(2))
        );
    }
}
