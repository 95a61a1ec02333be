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

use crate::jit::codes::{Code, Codes, Line, Room};

/// Bytes before the body of a record: kind, length, time.
const FRAME: usize = 16;

/// Bytes of the smallest source line in a record.
const SMALLEST_LINE: usize = 17;

/// Bytes of a name that are kept.
const NAME_LIMIT: usize = 4096;

/// A file that is being read, piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Dump {
    endian: Option<Endianness>,
    /// Source lines of the code at this address, which comes next.
    lines: Option<(u64, Vec<Line>)>,
    broken: bool,
}

impl Dump {
    /// Takes in the whole records at the beginning of `bytes`, and gives their
    /// length.
    pub(crate) fn read(&mut self, bytes: &[u8], codes: &mut Codes, room: &mut Room) -> usize {
        if self.broken {
            return bytes.len();
        }
        let mut read = 0;
        while let Some(length) = self.step(&bytes[read..], codes, room) {
            read += length;
        }
        if self.broken { bytes.len() } else { read }
    }

    /// The length of the header or record that `bytes` begin with; `None` when
    /// it is not there as a whole.
    fn step(&mut self, bytes: &[u8], codes: &mut Codes, room: &mut Room) -> Option<usize> {
        let Some(endian) = self.endian else { return self.header(bytes) };
        let kind = JitDumpRecordType(word(endian, bytes, 0)?);
        let length = word(endian, bytes, 4)? as usize;
        if length < FRAME {
            self.broken = true;
            return None;
        }
        let body = RawData::Single(bytes.get(FRAME..length)?);
        self.record(kind, endian, body, codes, room);
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
        self.endian = Some(if little { Endianness::LittleEndian } else { Endianness::BigEndian });
        Some(header.total_size as usize)
    }

    fn record(
        &mut self,
        kind: JitDumpRecordType,
        endian: Endianness,
        body: RawData<'_>,
        codes: &mut Codes,
        room: &mut Room,
    ) {
        match kind {
            JitDumpRecordType::JIT_CODE_LOAD => {
                let Ok(load) = JitCodeLoadRecord::parse(endian, body) else { return };
                let lines = self.lines.take().filter(|(address, _)| *address == load.code_addr);
                let lines = lines.map_or(Rc::default(), |(_, lines)| lines.into());
                let code = Code { name: text(load.function_name), lines };
                codes.insert(load.code_addr, load.code_bytes.len() as u64, code, room);
            }
            JitDumpRecordType::JIT_CODE_MOVE => {
                let Ok(shift) = JitCodeMoveRecord::parse(endian, body) else { return };
                codes.shift(shift.old_code_addr, shift.new_code_addr, room);
            }
            JitDumpRecordType::JIT_CODE_DEBUG_INFO => self.lines = lines(endian, body),
            _ => {}
        }
    }
}

fn lines(endian: Endianness, body: RawData<'_>) -> Option<(u64, Vec<Line>)> {
    // The library makes room for as many as the record claims to have.
    let count = body.as_slice().get(8..16).and_then(|it| it.first_chunk().copied());
    let count = match endian {
        Endianness::LittleEndian => u64::from_le_bytes(count?),
        Endianness::BigEndian => u64::from_be_bytes(count?),
    };
    if count > (body.len() / SMALLEST_LINE) as u64 {
        return None;
    }
    let info = JitCodeDebugInfoRecord::parse(endian, body).ok()?;
    let mut file: Rc<str> = Rc::default();
    let mut lines = Vec::with_capacity(info.entries.len());
    for entry in &info.entries {
        let path = entry.file_path.as_slice();
        if path.as_ref() != file.as_bytes() {
            file = text(entry.file_path);
        }
        let offset = entry.code_addr.saturating_sub(info.code_addr);
        lines.push(Line { offset, file: Rc::clone(&file), line: entry.line });
    }
    lines.sort_by_key(|line| line.offset);
    Some((info.code_addr, lines))
}

fn text(name: RawData<'_>) -> Rc<str> {
    let name = name.as_slice();
    String::from_utf8_lossy(&name[..name.len().min(NAME_LIMIT)]).as_ref().into()
}

fn word(endian: Endianness, bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = *bytes.get(at..)?.first_chunk()?;
    Some(match endian {
        Endianness::LittleEndian => u32::from_le_bytes(bytes),
        Endianness::BigEndian => u32::from_be_bytes(bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with the records of these kinds and bodies.
    fn file(records: &[(u32, Vec<u8>)]) -> Vec<u8> {
        let mut file = b"DTiJ".to_vec();
        for word in [1u32, 40, 62, 0, 7, 0, 0, 0, 0] {
            file.extend(word.to_le_bytes());
        }
        for (kind, body) in records {
            file.extend(kind.to_le_bytes());
            file.extend(u32::try_from(FRAME + body.len()).unwrap().to_le_bytes());
            file.extend(0u64.to_le_bytes());
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
        let (code, offset) = codes.find(address)?;
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
            let taken = dump.read(&pending, &mut codes, &mut room);
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
            assert_eq!(dump.read(bytes, &mut codes, &mut room), bytes.len());
            assert_eq!(found(&codes, 0x1000), Some(("kept".to_owned(), None)));
        }
        let mut dump = Dump::default();
        assert_eq!(dump.read(&[7; 99], &mut Codes::default(), &mut Room::new(9)), 99);
    }
}
