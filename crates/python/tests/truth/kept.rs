//! Memory kept from a process of each version, read again without it: the
//! stacks must be those that the interpreter itself printed. The memory is also
//! what the fuzz target bends.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};

use whyslow_python::{Image, Memory, Motion, Read, Reader};

use crate::interpreters;
use crate::process::{ProcessMemory, Running};
use crate::shapes;

const PROGRAM: &str = include_str!("../programs/kept.py");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kept")
}

#[test]
fn memory_that_was_kept_is_read_as_the_interpreter_saw_it() {
    let mut versions = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "image") {
            continue;
        }
        let image = Image::parse(&fs::read(&path).unwrap());
        let expected = fs::read_to_string(path.with_extension("txt")).unwrap();
        let mut reader = Reader::new(&image, image.runtime, image.version).unwrap();
        for motion in [Motion::Blocked, Motion::Running] {
            assert_eq!(everything(&mut reader, &image, motion), expected, "{}", path.display());
        }
        versions += 1;
    }
    // One free-threaded build, too.
    assert_eq!(versions, interpreters::MINORS.count() + 1);
}

/// The stack of the only thread, but for the function that waits.
fn everything(reader: &mut Reader, memory: &dyn Memory, motion: Motion) -> String {
    let interpreters = reader.interpreters(memory).unwrap();
    let [interpreter] = interpreters.as_slice() else { panic!("{interpreters:?}") };
    reader.gil(memory, interpreter.state).unwrap();
    let [thread] = interpreter.threads.as_slice() else { panic!("{interpreters:?}") };
    match reader.read(memory, thread, motion) {
        Read::Accepted(stack) => shapes::lines(&stack)[1..].join("\n") + "\n",
        rejected => panic!("{rejected:?}"),
    }
}

#[test]
#[ignore = "keeps memory anew: WHYSLOW_BLESS=1 and an interpreter of every version"]
fn keep() {
    assert!(std::env::var_os("WHYSLOW_BLESS").is_some(), "set WHYSLOW_BLESS=1");
    fs::create_dir_all(folder()).unwrap();
    for interpreter in interpreters::all() {
        let mut target = Running::text(&interpreter, PROGRAM);
        let lines = iter::from_fn(|| Some(target.line()).filter(|line| !line.is_empty()));
        let expected: String = lines.map(|line| line + "\n").collect();
        std::thread::sleep(std::time::Duration::from_millis(200));
        let keeping = Keeping { memory: target.memory(), parts: RefCell::default() };
        let (runtime, version) = target.runtime();
        let mut reader = Reader::new(&keeping, runtime, Some(version)).unwrap();
        for motion in [Motion::Blocked, Motion::Running] {
            assert_eq!(everything(&mut reader, &keeping, motion), expected);
        }
        let parts = keeping.parts.into_inner();
        let image = Image { version: Some(version), runtime, parts };
        let kind = if interpreter.free_threaded { "t" } else { "" };
        let path = folder().join(format!("3.{}{kind}.image", interpreter.minor));
        fs::write(&path, image.to_bytes()).unwrap();
        fs::write(path.with_extension("txt"), expected).unwrap();
    }
}

/// Keeps what is read.
struct Keeping {
    memory: ProcessMemory,
    parts: RefCell<BTreeMap<u64, Vec<u8>>>,
}

impl Memory for Keeping {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        let read = self.memory.read(address, into);
        if read {
            join(&mut self.parts.borrow_mut(), address, into);
        }
        read
    }
}

/// Adds `bytes` at `address`, joined with all parts that they touch.
fn join(parts: &mut BTreeMap<u64, Vec<u8>>, mut address: u64, bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    let end = address + bytes.len() as u64;
    let touching = |(start, part): &(&u64, &Vec<u8>)| **start + part.len() as u64 >= address;
    let touching: Vec<u64> =
        parts.range(..=end).filter(touching).map(|(start, _)| *start).collect();
    for start in touching {
        let part = parts.remove(&start).unwrap();
        let first = start.min(address);
        let last = (start + part.len() as u64).max(address + bytes.len() as u64);
        let mut joined = vec![0; (last - first) as usize];
        joined[(start - first) as usize..][..part.len()].copy_from_slice(&part);
        joined[(address - first) as usize..][..bytes.len()].copy_from_slice(&bytes);
        (address, bytes) = (first, joined);
    }
    parts.insert(address, bytes);
}
