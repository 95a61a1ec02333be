//! A running interpreter: started with a program of ours, its runtime found as
//! in a recording, its memory read as the recorder reads it.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, IoSliceMut, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::{Pid, SysconfVar, sysconf};
use tempfile::TempDir;
use whyslow_events::{Event, SpaceId, SystemFacts};
use whyslow_python::{Memory, Reader, Thread, Unsupported, Version, kernel_ids};
use whyslow_symbols::Symbolizer;

use crate::interpreters::Interpreter;

/// A process that ends with this value.
pub(crate) struct Running {
    pub(crate) child: Child,
    /// What it prints.
    pub(crate) lines: Lines<BufReader<ChildStdout>>,
    /// Its own directory, as we name it.
    pub(crate) directory: TempDir,
}

impl Running {
    /// Runs `text` as a program of `name`, with the path of a file of two
    /// zeros, `note`, as its argument.
    pub(crate) fn start(interpreter: &Interpreter, name: &str, text: &str) -> Running {
        let (directory, inside) = directory(interpreter);
        fs::write(directory.path().join(name), text).unwrap();
        fs::write(directory.path().join("note"), [0; 2]).unwrap();
        let mut command = interpreter.command();
        command.arg(inside.join(name)).arg(inside.join("note"));
        Running::spawn(command, directory)
    }

    /// Runs `text` without a file.
    pub(crate) fn text(interpreter: &Interpreter, text: &str) -> Running {
        let (directory, _) = directory(interpreter);
        let mut command = interpreter.command();
        command.args(["-c", text]);
        Running::spawn(command, directory)
    }

    fn spawn(mut command: Command, directory: TempDir) -> Running {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { child, lines, directory }
    }

    /// The next line it prints.
    pub(crate) fn line(&mut self) -> String {
        self.lines.next().expect("it prints another line").unwrap()
    }

    pub(crate) fn memory(&self) -> ProcessMemory {
        memory(self.child.id())
    }

    /// Where `_PyRuntime` is, and the version.
    pub(crate) fn runtime(&self) -> (u64, Version) {
        let (start, version) = runtime(self.child.id()).expect("the process is an interpreter");
        // 2.7 has no such thing.
        (start.unwrap_or(0), version.parse().unwrap())
    }

    pub(crate) fn reader(&self) -> Result<Reader, Unsupported> {
        let (runtime, version) = self.runtime();
        Reader::new(&self.memory(), runtime, Some(version))
    }

    /// The thread states and their numbers, of all interpreters.
    pub(crate) fn threads(&self, reader: &Reader) -> Vec<(u64, Thread)> {
        let memory = self.memory();
        let interpreters = reader.interpreters(&memory).unwrap();
        assert!(interpreters.iter().all(|found| found.trouble.is_none()), "{interpreters:?}");
        let threads: Vec<_> = interpreters.into_iter().flat_map(|found| found.threads).collect();
        let numbers: Vec<u64> = match threads.iter().map(|thread| thread.native).collect() {
            Some(numbers) => numbers,
            None => {
                let tasks = format!("/proc/{}/task", self.child.id());
                let is_thread = |id: u64| Path::new(&tasks).join(id.to_string()).exists();
                kernel_ids(&memory, &threads, is_thread).expect("numbers are found")
            }
        };
        numbers.into_iter().zip(threads).collect()
    }

    /// The state of the thread that the process began with.
    pub(crate) fn main_thread(&self, reader: &Reader) -> Thread {
        let is_main = |(number, _): &(u64, Thread)| *number == u64::from(self.child.id());
        let mut threads = self.threads(reader).into_iter().filter(is_main);
        threads.next().expect("the first thread has a state").1
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A new directory, as we name it and as the interpreter does.
fn directory(interpreter: &Interpreter) -> (TempDir, PathBuf) {
    let base = interpreter.root.as_ref().map_or(env::temp_dir(), |root| root.join("tmp"));
    let directory = tempfile::tempdir_in(base).unwrap();
    let inside = match &interpreter.root {
        None => directory.path().to_owned(),
        Some(root) => Path::new("/").join(directory.path().strip_prefix(root).unwrap()),
    };
    (directory, inside)
}

/// The memory of a process.
pub(crate) fn memory(pid: u32) -> ProcessMemory {
    ProcessMemory(Pid::from_raw(pid.cast_signed()))
}

/// Where `_PyRuntime` of a process is, and its version, as its files tell.
pub(crate) fn runtime(pid: u32) -> Option<(Option<u64>, String)> {
    let page_size = sysconf(SysconfVar::PAGE_SIZE).unwrap().unwrap().cast_unsigned();
    let mut symbolizer = Symbolizer::new(SystemFacts { page_size, clock_ticks: 100, cpus: 1 });
    let space = SpaceId(0);
    symbolizer.observe(&Event::Space { space, pid: whyslow_events::Pid(pid) });
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    for mapping in maps.lines().filter_map(|line| mapping(space, line)) {
        symbolizer.observe(&mapping);
    }
    symbolizer.resolve().into_iter().find_map(|event| match event {
        Event::Runtime { name, gil, .. } => {
            let version = name.strip_prefix("cpython")?.trim().to_owned();
            Some((gil.map(|(start, _)| start), version))
        }
        _ => None,
    })
}

/// A line of `/proc/PID/maps` about code in a file.
fn mapping(space: SpaceId, line: &str) -> Option<Event> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let executable = fields.next()?.contains('x');
    let hexadecimal = |text| u64::from_str_radix(text, 16).ok();
    let file_offset = hexadecimal(fields.next()?)?;
    let path = fields.nth(2).filter(|_| executable)?.to_owned();
    let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
    Some(Event::Mapping { space, start, end, file_offset, path, build_id: Vec::new() })
}

/// The memory of a process, each call one system call.
pub(crate) struct ProcessMemory(Pid);

impl Memory for ProcessMemory {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        self.read_many(&mut [(address, into)])
    }

    fn read_many(&self, ranges: &mut [(u64, &mut [u8])]) -> bool {
        /// `UIO_MAXIOV`.
        const MOST: usize = 1024;
        ranges.chunks_mut(MOST).all(|ranges| {
            let remote = |(base, into): &(u64, &mut [u8])| RemoteIoVec {
                base: *base as usize,
                len: into.len(),
            };
            let remote: Vec<_> = ranges.iter().map(remote).collect();
            let wanted: usize = remote.iter().map(|range| range.len).sum();
            let mut local: Vec<_> =
                ranges.iter_mut().map(|(_, into)| IoSliceMut::new(into)).collect();
            process_vm_readv(self.0, &mut local, &remote) == Ok(wanted)
        })
    }
}
