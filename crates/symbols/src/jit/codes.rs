//! Pieces of compiled code by address, and when they were there: the last one
//! written over a byte wins, from that moment on.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

/// What one piece costs beside its name: a node of a tree and a counted string.
const OVERHEAD: usize = 128;

/// Bytes of a name that are kept: more than a reader would read.
const NAME_LIMIT: usize = 4 << 10;

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
    /// When it was written, ns.
    since: u64,
    code: Code,
}

/// Code that is there no more.
#[derive(Debug)]
struct Past {
    at: Range<u64>,
    piece: Piece,
    until: u64,
}

/// Memory that code of all processes may still take.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: usize,
    /// There was not enough for something.
    full: bool,
}

impl Room {
    pub(crate) fn new(bytes: usize) -> Room {
        Room { bytes, full: false }
    }

    /// Whether something was left out for want of room.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    fn take(&mut self, bytes: usize) -> bool {
        let left = self.bytes.checked_sub(bytes);
        self.full |= left.is_none();
        self.bytes = left.unwrap_or(self.bytes);
        left.is_some()
    }

    /// Takes back what `piece` took. The last one with a name gives the name.
    fn give_back(&mut self, piece: &Piece) {
        let last = Rc::strong_count(&piece.code.name) == 1;
        self.bytes += OVERHEAD + if last { piece.code.size() } else { 0 };
    }
}

/// All code of a process.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    by_start: BTreeMap<u64, Piece>,
    past: Vec<Past>,
    /// Of `past`, what was past at the last [`Codes::forget`].
    old: usize,
}

impl Codes {
    /// Puts code over whatever is there, from `since` on. What is empty, ends
    /// behind the last address, or has no room is left out.
    pub(crate) fn insert(
        &mut self,
        start: u64,
        size: u64,
        code: Code,
        since: u64,
        room: &mut Room,
    ) {
        let Some(end) = start.checked_add(size).filter(|end| *end > start) else { return };
        if room.take(OVERHEAD + code.size()) {
            self.put(start, Piece { end, origin: start, since, code }, room);
        }
    }

    /// Moves the code that begins at `from`.
    pub(crate) fn shift(&mut self, from: u64, to: u64, since: u64, room: &mut Room) {
        let Some(piece) = self.by_start.remove(&from) else { return };
        let size = piece.end - from;
        let moved = Piece { end: to.saturating_add(size), origin: to, since, ..piece.clone() };
        self.past.push(Past { at: from..piece.end, piece, until: since });
        if moved.end > to && room.take(OVERHEAD) {
            self.put(to, moved, room);
        }
    }

    /// The code at `address` at `time`, and where in it. Code that is known only
    /// from later stands for itself: runtimes may tell of it late.
    pub(crate) fn find(&self, address: u64, time: u64) -> Option<(&Code, u64)> {
        let now = self.by_start.range(..=address).next_back().map(|(_, piece)| piece);
        let now = now.filter(|piece| address < piece.end);
        let piece = match now {
            Some(piece) if piece.since <= time => piece,
            _ => {
                let over = || self.past.iter().filter(|past| past.at.contains(&address));
                let then = over().rev().find(|past| past.piece.since <= time && time < past.until);
                let later = || over().find(|past| past.piece.since > time);
                then.or_else(later).map(|past| &past.piece).or(now)?
            }
        };
        Some((&piece.code, address - piece.origin))
    }

    /// The code that was written over `address` after a time: when, and where in it.
    pub(crate) fn later(&self, address: u64, time: u64) -> Vec<(u64, &Code, u64)> {
        let now = self.by_start.range(..=address).next_back().map(|(_, piece)| piece);
        let Some(now) = now.filter(|now| address < now.end && now.since > time) else {
            return Vec::new();
        };
        let over = self.past.iter().filter(|past| past.at.contains(&address));
        let pieces = over.map(|past| &past.piece).chain([now]).filter(|piece| piece.since > time);
        pieces.map(|piece| (piece.since, &piece.code, address - piece.origin)).collect()
    }

    /// Forgets what was past already when this was last called: whoever asked for
    /// it has been answered.
    pub(crate) fn forget(&mut self, room: &mut Room) {
        for Past { piece, .. } in self.past.drain(..self.old) {
            room.give_back(&piece);
        }
        self.old = self.past.len();
    }

    /// Gives back the room of all of it.
    pub(crate) fn end(self, room: &mut Room) {
        let past = self.past.into_iter().map(|past| past.piece);
        self.by_start.into_values().chain(past).for_each(|piece| room.give_back(&piece));
    }

    fn put(&mut self, start: u64, piece: Piece, room: &mut Room) {
        self.clear(start, piece.end, piece.since, room);
        self.by_start.insert(start, piece);
    }

    fn clear(&mut self, start: u64, end: u64, until: u64, room: &mut Room) {
        let before = self.by_start.range_mut(..start).next_back();
        if let Some((_, piece)) = before.filter(|(_, piece)| piece.end > start) {
            let whole = piece.clone();
            piece.end = start;
            self.keep_rest(start, end, whole, until, room);
        }
        let inside: Vec<u64> = self.by_start.range(start..end).map(|(at, _)| *at).collect();
        for at in inside {
            if let Some(piece) = self.by_start.remove(&at) {
                if piece.end > end && room.take(OVERHEAD) {
                    self.by_start.insert(end, piece.clone());
                }
                self.past.push(Past { at: at..piece.end.min(end), piece, until });
            }
        }
    }

    /// Keeps what of `piece`, whose beginning stays, lies behind `end`, and what
    /// was between as past.
    fn keep_rest(&mut self, start: u64, end: u64, piece: Piece, until: u64, room: &mut Room) {
        if piece.end > end && room.take(OVERHEAD) {
            self.by_start.insert(end, piece.clone());
        }
        if room.take(OVERHEAD) {
            self.past.push(Past { at: start..piece.end.min(end), piece, until });
        }
    }
}

impl Code {
    /// A name, cut to what is kept of it, and source lines.
    pub(crate) fn new(name: &[u8], lines: Rc<[Line]>) -> Code {
        Code { name: text(name), lines }
    }

    fn size(&self) -> usize {
        self.name.len() + self.lines.len() * size_of::<Line>()
    }

    /// The source line of the instruction at `offset`.
    pub(crate) fn line(&self, offset: u64) -> Option<&Line> {
        let behind = self.lines.partition_point(|line| line.offset <= offset);
        self.lines.get(behind.checked_sub(1)?)
    }
}

/// As much of a text as is kept.
pub(crate) fn text(bytes: &[u8]) -> Rc<str> {
    String::from_utf8_lossy(&bytes[..bytes.len().min(NAME_LIMIT)]).as_ref().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(name: &str) -> Code {
        Code { name: name.into(), lines: [].into() }
    }

    fn at(codes: &Codes, address: u64) -> Option<(String, u64)> {
        codes.find(address, u64::MAX).map(|(code, offset)| (code.name.to_string(), offset))
    }

    #[test]
    fn the_last_code_over_a_byte_wins() {
        let ranges = [(10, 10), (40, 20), (15, 30), (20, 10), (0, 12), (44, 6), (10, 50), (25, 1)];
        let mut codes = Codes::default();
        let mut room = Room::new(1 << 20);
        for (count, (start, size)) in ranges.iter().enumerate() {
            codes.insert(*start, *size, code(&count.to_string()), 0, &mut room);
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
        codes.insert(10, 5, code("a"), 0, &mut room);
        codes.shift(10, 100, 0, &mut room);
        codes.shift(77, 200, 0, &mut room);
        assert_eq!(at(&codes, 12), None);
        assert_eq!(at(&codes, 104), Some(("a".to_owned(), 4)));
        assert_eq!(at(&codes, 200), None);
    }

    #[test]
    fn nonsense_and_what_has_no_room_is_left_out() {
        let (mut codes, mut room) = (Codes::default(), Room::new(2 * OVERHEAD));
        codes.insert(10, 0, code("empty"), 0, &mut room);
        codes.insert(u64::MAX - 1, 9, code("endless"), 0, &mut room);
        codes.insert(1, 1, code(&"x".repeat(OVERHEAD + 1)), 0, &mut room);
        codes.insert(20, 1, code("kept"), 0, &mut room);
        codes.insert(30, 1, code("late"), 0, &mut room);
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

    #[test]
    fn each_moment_has_the_code_that_was_there_then() {
        let (mut codes, mut room) = (Codes::default(), Room::new(1 << 20));
        codes.insert(10, 10, code("a"), 100, &mut room);
        codes.insert(15, 10, code("b"), 200, &mut room);
        codes.shift(15, 50, 300, &mut room);
        codes.insert(10, 20, code("c"), 400, &mut room);
        let at = |address, time| {
            codes.find(address, time).map(|(code, offset)| format!("{}{offset}", code.name))
        };
        let a_to_c = [0, 150, 250, 350, 450].map(|time| at(16, time));
        let name = |text: &str| Some(text.to_owned());
        // At 0 nothing was there yet, at 350 no more.
        assert_eq!(a_to_c, [name("a6"), name("a6"), name("b1"), name("c6"), name("c6")]);
        assert_eq!([250, 350].map(|time| at(12, time)), [name("a2"), name("a2")]);
        assert_eq!([250, 350].map(|time| at(51, time)), [name("b1"), name("b1")]);
        let later = |time| {
            let later = codes.later(16, time).into_iter();
            later.map(|(since, code, at)| format!("{}{at} {since}", code.name)).collect::<Vec<_>>()
        };
        assert_eq!(later(150), ["b1 200", "c6 400"]);
        assert_eq!((later(200), later(400)), (vec!["c6 400".to_owned()], vec![]));
    }

    #[test]
    fn room_is_given_back_when_code_is_forgotten_and_at_the_end() {
        let (mut codes, mut room) = (Codes::default(), Room::new(1 << 20));
        for (round, since) in (0..1000u64).zip(1..) {
            codes.insert(10 + round % 7, 20, code(&"x".repeat(1000)), since, &mut room);
            codes.shift(10 + round % 7, 100, since, &mut room);
            codes.forget(&mut room);
        }
        assert!(!room.is_full() && codes.past.len() < 20, "{room:?}");
        codes.end(&mut room);
        assert_eq!(room.bytes, 1 << 20);
    }
}
