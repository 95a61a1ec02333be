//! An interpreter made of bytes, for tests: its structures laid out as those of
//! 3.11, and then bent.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::image::Image;
use crate::layout::Layout;
use crate::memory::Memory;
use crate::threads::Thread;
use crate::version::Version;

/// The version that is imitated.
pub(crate) const VERSION: Version = Version(0x030b_07f0);

/// The number of its only thread.
pub(crate) const NUMBER: u64 = 4321;

/// Room for each object.
const ROOM: u64 = 256;

/// One interpreter with one thread.
pub(crate) struct Fake {
    pub(crate) layout: Layout,
    memory: BTreeMap<u64, Vec<u8>>,
    next: u64,
    pub(crate) runtime: u64,
    pub(crate) interpreter: u64,
    pub(crate) thread: u64,
    cframe: u64,
    kind: u64,
    /// The innermost frame.
    pub(crate) frame: u64,
    /// Done to memory at each bulk read, between its two halves.
    pub(crate) meanwhile: Cell<Option<(u64, u64)>>,
}

impl Fake {
    /// A thread that runs no Python code.
    pub(crate) fn new() -> Fake {
        let unknown = Image { parts: BTreeMap::from([(0, vec![0; 64])]), ..Image::default() };
        let (_, layout) = Layout::find(&unknown, 0, Some(VERSION)).unwrap();
        let mut fake = Fake {
            layout,
            memory: BTreeMap::new(),
            next: 0x7f00_0000_0000,
            runtime: 0,
            interpreter: 0,
            thread: 0,
            cframe: 0,
            kind: 0,
            frame: 0,
            meanwhile: Cell::new(None),
        };
        let at = layout;
        (fake.runtime, fake.interpreter) = (fake.object(), fake.object());
        (fake.thread, fake.cframe, fake.kind) = (fake.object(), fake.object(), fake.object());
        fake.set(fake.runtime + at.interpreters, fake.interpreter);
        fake.set(fake.interpreter + at.interpreter.threads, fake.thread);
        fake.set(fake.thread + at.thread.interpreter, fake.interpreter);
        fake.set(fake.thread + at.thread.native.unwrap(), NUMBER);
        fake.set(fake.thread + at.thread.frame, fake.cframe);
        let name = fake.object();
        fake.put(name, b"code\0");
        fake.set(fake.kind + at.type_name, name);
        fake
    }

    /// Calls `code` at an instruction, with what was innermost outside it.
    pub(crate) fn call(&mut self, code: u64, instruction: u64) {
        let (at, frame) = (self.layout.frame, self.object());
        self.set(frame + at.previous, self.frame);
        self.set(frame + at.code, code);
        let start = code + self.layout.code.instructions.unwrap();
        self.set(frame + at.instruction, start + 2 * instruction);
        self.frame = frame;
        self.set(self.cframe + self.layout.thread.within_cframe.unwrap(), frame);
    }

    /// A function that begins at `line`, with four instructions, each on the
    /// next line.
    pub(crate) fn code(&mut self, function: &str, line: u32) -> u64 {
        let (at, code) = (self.layout, self.object());
        let (name, file, lines) = (self.text(function), self.text("file.py"), self.object());
        self.set(code + at.object_type, self.kind);
        self.set(code + at.size, 4);
        self.put(code + at.code.first_line, &line.to_le_bytes());
        self.set(code + at.code.name, name);
        self.set(code + at.code.qualified_name.unwrap(), name);
        self.set(code + at.code.file, file);
        self.set(code + at.code.lines, lines);
        let table = [0x80 | 11 << 3, 0, 0].repeat(4);
        self.set(lines + at.size, table.len() as u64);
        self.put(lines + at.bytes, &table);
        code
    }

    /// An ASCII string.
    pub(crate) fn text(&mut self, text: &str) -> u64 {
        let (at, string) = (self.layout.text, self.object());
        let state = 1_u32 << at.kind_bit | 1 << at.compact_bit | 1 << at.ascii_bit;
        self.set(string + at.length, text.len() as u64);
        self.put(string + at.state, &state.to_le_bytes());
        self.put(string + at.ascii_data, text.as_bytes());
        string
    }

    /// Zeros.
    pub(crate) fn object(&mut self) -> u64 {
        let object = self.next;
        self.next += ROOM;
        self.memory.insert(object, vec![0; ROOM as usize]);
        object
    }

    pub(crate) fn set(&mut self, address: u64, value: u64) {
        self.put(address, &value.to_le_bytes());
    }

    pub(crate) fn put(&mut self, address: u64, bytes: &[u8]) {
        let (start, object) = self.memory.range_mut(..=address).next_back().unwrap();
        object[(address - start) as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn thread(&self) -> Thread {
        let (state, interpreter) = (self.thread, self.interpreter);
        Thread { state, interpreter, native: Some(NUMBER), pthread: 0 }
    }

    pub(crate) fn image(&self) -> Image {
        let parts = self.memory.clone();
        Image { version: Some(VERSION), runtime: self.runtime, parts }
    }
}

impl Memory for Fake {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        self.image().read(address, into)
    }

    fn read_many(&self, ranges: &mut [(u64, &mut [u8])]) -> bool {
        let mut image = self.image();
        let half = ranges.len() / 2;
        for (number, (address, into)) in ranges.iter_mut().enumerate() {
            if let Some((at, value)) = self.meanwhile.get().filter(|_| number == half) {
                let (start, object) = image.parts.range_mut(..=at).next_back().unwrap();
                let at = (at - start) as usize;
                object[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
            if !image.read(*address, into) {
                return false;
            }
        }
        true
    }
}
