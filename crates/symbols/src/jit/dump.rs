//! jitdump: a header, and then a record for each piece of code, for its
//! source lines, and for each move.
//!
//! The frame around the records is read here, for it may be cut and it may
//! lie; the records themselves by the library.

use std::rc::Rc;

use linux_perf_data::Endianness;
use linux_perf_data::jitdump::{
    JitCodeDebugInfoRecord, JitCodeLoadRecord, JitCodeMoveRecord, JitDumpHeader, JitDumpRecordType,
};
use linux_perf_data::linux_perf_event_reader::RawData;

use crate::jit::codes::{Code, Line, text};
use crate::jit::written::Written;

/// Bytes before the body of a record: kind, length, time.
const FRAME: usize = 16;

/// Bytes of the smallest source line in a record.
const SMALLEST_LINE: usize = 17;

/// Flag of a file whose times are those of a CPU's counter.
const CPU_CLOCK: u64 = 1;

/// A file that is being read, piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Dump {
    endian: Option<Endianness>,
    /// Its times are not on the clock of our events.
    other_clock: bool,
    /// Source lines of the code at this address, which comes next.
    lines: Option<(u64, Vec<Line>)>,
    broken: bool,
}

impl Dump {
    /// Of a process that may have another clock than ours.
    pub(crate) fn new(other_clock: bool) -> Self {
        Dump { other_clock, ..Dump::default() }
    }

    /// Takes in the whole records at the beginning of `bytes`, and gives their
    /// length.
    pub(crate) fn read(&mut self, bytes: &[u8], into: &mut Written<'_>) -> usize {
        if self.broken {
            return bytes.len();
        }
        let mut read = 0;
        while let Some(length) = self.step(&bytes[read..], into) {
            read += length;
        }
        if self.broken { bytes.len() } else { read }
    }

    /// The length of the header or record that `bytes` begin with; `None` when
    /// it is not there as a whole.
    fn step(&mut self, bytes: &[u8], into: &mut Written<'_>) -> Option<usize> {
        let Some(endian) = self.endian else { return self.header(bytes) };
        let kind = JitDumpRecordType(word(endian, bytes, 0)?);
        let length = word(endian, bytes, 4)? as usize;
        if length < FRAME {
            self.broken = true;
            return None;
        }
        let body = RawData::Single(bytes.get(FRAME..length)?);
        let time = long(endian, bytes, 8).filter(|_| !self.other_clock);
        self.record((kind, time), endian, body, into);
        Some(length)
    }

    fn header(&mut self, bytes: &[u8]) -> Option<usize> {
        // The library reads the length as part of the header.
        bytes.get(..JitDumpHeader::SIZE)?;
        let Ok(header) = JitDumpHeader::parse(RawData::Single(bytes)) else {
            self.broken = true;
            return None;
        };
        let little = header.magic == *b"DTiJ";
        self.other_clock |= header.flags & CPU_CLOCK != 0;
        self.endian = Some(if little { Endianness::LittleEndian } else { Endianness::BigEndian });
        Some(header.total_size as usize)
    }

    fn record(
        &mut self,
        (kind, time): (JitDumpRecordType, Option<u64>),
        endian: Endianness,
        body: RawData<'_>,
        into: &mut Written<'_>,
    ) {
        match kind {
            JitDumpRecordType::JIT_CODE_LOAD => {
                let Ok(load) = JitCodeLoadRecord::parse(endian, body) else { return };
                let lines = self.lines.take().filter(|(address, _)| *address == load.code_addr);
                let lines = lines.map_or(Rc::default(), |(_, lines)| lines.into());
                let code = Code::new(&load.function_name.as_slice(), lines);
                into.load(load.code_addr, load.code_bytes.len() as u64, code, time);
            }
            JitDumpRecordType::JIT_CODE_MOVE => {
                let Ok(shift) = JitCodeMoveRecord::parse(endian, body) else { return };
                into.shift(shift.old_code_addr, shift.new_code_addr, time);
            }
            JitDumpRecordType::JIT_CODE_DEBUG_INFO => self.lines = lines(endian, body),
            _ => {}
        }
    }
}

fn lines(endian: Endianness, body: RawData<'_>) -> Option<(u64, Vec<Line>)> {
    // The library makes room for as many as the record claims to have.
    let count = long(endian, &body.as_slice(), 8)?;
    if count > (body.len() / SMALLEST_LINE) as u64 {
        return None;
    }
    let info = JitCodeDebugInfoRecord::parse(endian, body).ok()?;
    let mut file: Rc<str> = Rc::default();
    let mut lines = Vec::with_capacity(info.entries.len());
    for entry in &info.entries {
        let path = entry.file_path.as_slice();
        if path.as_ref() != file.as_bytes() {
            file = text(&path);
        }
        let offset = entry.code_addr.saturating_sub(info.code_addr);
        lines.push(Line { offset, file: Rc::clone(&file), line: entry.line });
    }
    lines.sort_by_key(|line| line.offset);
    Some((info.code_addr, lines))
}

fn word(endian: Endianness, bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = *bytes.get(at..)?.first_chunk()?;
    Some(match endian {
        Endianness::LittleEndian => u32::from_le_bytes(bytes),
        Endianness::BigEndian => u32::from_be_bytes(bytes),
    })
}

fn long(endian: Endianness, bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = *bytes.get(at..)?.first_chunk()?;
    Some(match endian {
        Endianness::LittleEndian => u64::from_le_bytes(bytes),
        Endianness::BigEndian => u64::from_be_bytes(bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jit::codes::{Codes, Room};

    /// A file with the records of these kinds and bodies.
    fn file(records: &[(u32, Vec<u8>)]) -> Vec<u8> {
        let timed: Vec<_> = records.iter().map(|record| (0, record.clone())).collect();
        timed_file(&timed)
    }

    /// The same with the time of each.
    fn timed_file(records: &[(u64, (u32, Vec<u8>))]) -> Vec<u8> {
        let mut file = b"DTiJ".to_vec();
        for word in [1u32, 40, 62, 0, 7, 0, 0, 0, 0] {
            file.extend(word.to_le_bytes());
        }
        for (time, (kind, body)) in records {
            file.extend(kind.to_le_bytes());
            file.extend(u32::try_from(FRAME + body.len()).unwrap().to_le_bytes());
            file.extend(time.to_le_bytes());
            file.extend(body);
        }
        file
    }

    fn numbers(numbers: &[u64]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    fn load(address: u64, size: usize, name: &str) -> (u32, Vec<u8>) {
        let numbers = numbers(&[0, address, address, size as u64, 1]);
        (0, [&numbers, name.as_bytes(), &[0], &vec![0x90; size]].concat())
    }

    fn lines(address: u64, entries: &[(u64, u32, &str)]) -> (u32, Vec<u8>) {
        let mut body = numbers(&[address, entries.len() as u64]);
        for (at, line, path) in entries {
            body.extend(at.to_le_bytes());
            body.extend([line.to_le_bytes(), [0; 4]].concat());
            body.extend([path.as_bytes(), &[0]].concat());
        }
        (2, body)
    }

    fn found(codes: &Codes, address: u64) -> Option<(String, Option<(String, u32)>)> {
        let (code, offset) = codes.find(address, u64::MAX)?;
        let line = code.line(offset).map(|line| (line.file.to_string(), line.line));
        Some((code.name.to_string(), line))
    }

    #[test]
    fn code_is_named_with_its_lines_and_followed_when_it_moves() {
        let shift = (1, numbers(&[0, 0x9000, 0x2000, 0x9000, 0x10, 1]));
        let bytes = file(&[
            lines(0x1000, &[(0x1000, 7, "a.js"), (0x1008, 9, "a.js")]),
            load(0x1000, 0x10, "first"),
            load(0x2000, 0x10, "second"),
            shift,
            (99, vec![1, 2, 3]),
        ]);
        let (mut codes, mut room) = (Codes::default(), Room::new(1 << 20));
        // However the file comes in, a record is read when it is whole.
        let mut dump = Dump::default();
        let (mut pending, mut read) = (Vec::new(), 0);
        for byte in &bytes {
            pending.push(*byte);
            let taken = dump.read(&pending, &mut Written::at(0, &mut codes, &mut room));
            pending.drain(..taken);
            read += taken;
        }
        assert_eq!(read, bytes.len());
        let line = |line| Some(("a.js".to_owned(), line));
        assert_eq!(found(&codes, 0x1004), Some(("first".to_owned(), line(7))));
        assert_eq!(found(&codes, 0x100f), Some(("first".to_owned(), line(9))));
        assert_eq!(found(&codes, 0x2000), None);
        assert_eq!(found(&codes, 0x900f), Some(("second".to_owned(), None)));
    }

    #[test]
    fn records_that_lie_are_passed_over_or_end_the_file() {
        let endless = (2, numbers(&[0x1000, u64::MAX]));
        let short = (0, vec![0; 7]);
        let bytes = file(&[endless, short, load(0x1000, 4, "kept")]);
        let broken = [&bytes[..], &[0; FRAME], &bytes[40..]].concat();
        for bytes in [&bytes, &broken] {
            let (mut codes, mut room) = (Codes::default(), Room::new(1 << 20));
            let mut dump = Dump::default();
            assert_eq!(dump.read(bytes, &mut Written::at(0, &mut codes, &mut room)), bytes.len());
            assert_eq!(found(&codes, 0x1000), Some(("kept".to_owned(), None)));
        }
        let mut dump = Dump::default();
        let (mut codes, mut room) = (Codes::default(), Room::new(9));
        assert_eq!(dump.read(&[7; 99], &mut Written::at(0, &mut codes, &mut room)), 99);
    }

    #[test]
    fn code_is_there_from_the_time_its_record_says() {
        let shift = (1, numbers(&[0, 0x9000, 0x1000, 0x9000, 0x10, 1]));
        let bytes = timed_file(&[
            (100, load(0x1000, 0x10, "first")),
            (200, shift),
            (200, load(0x1000, 0x10, "second")),
            // On no clock of ours: it came when it was read.
            (1 << 60, load(0x1000, 0x10, "third")),
        ]);
        let (mut codes, mut room) = (Codes::default(), Room::new(1 << 20));
        Dump::default().read(&bytes, &mut Written::at(300, &mut codes, &mut room));
        let at = |address, time| codes.find(address, time).map(|(code, _)| code.name.to_string());
        let times = [50, 150, 250, 350].map(|time| at(0x1004, time).unwrap());
        assert_eq!(times, ["first", "first", "second", "third"]);
        assert_eq!(at(0x9004, 250).as_deref(), Some("first"));
    }
}
