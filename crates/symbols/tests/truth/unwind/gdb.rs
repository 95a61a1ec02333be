//! What gdb sees of a program, and what we are given of it: registers and a
//! copy of the stack.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use whyslow_events::{StackMemory, Unwind, UserRegisters};
use whyslow_symbols::Unwinder;

use crate::program::{Program, SPACE, events_of};

/// Registers in the order in which `frames.py` prints them, which is that of
/// DWARF but for the last, the program counter.
const REGISTERS: usize = UserRegisters::COUNT + 1;

/// A thread of a stopped program.
pub(super) struct Thread {
    pub(super) registers: UserRegisters,
    /// As a call chain has them: innermost first, then return addresses. Where no
    /// call led, the program counter is one higher than it was.
    pub(super) chain: Vec<u64>,
    /// What gdb calls them.
    pub(super) names: Vec<String>,
    /// The memory from the stack pointer up.
    pub(super) stack: Vec<u8>,
}

/// All threads of `program` by TID; `None`, with the reason printed, where
/// there is no gdb that may look.
pub(super) fn threads(program: &Program) -> Option<Vec<Thread>> {
    let mut gdb = Command::new("gdb");
    let text = said(gdb.args(["-nx", "-batch", "-p", &program.pid().to_string()]))?;
    let mut threads: Vec<Thread> = text.split("thread ").skip(1).map(thread).collect();
    for thread in &mut threads {
        thread.stack = stack(program.pid(), thread.registers.sp());
    }
    Some(threads)
}

/// The maps of a program that gdb runs, and its first thread at each of so many
/// instructions from `main` on. `None` as for [`threads`].
pub(super) fn steps(path: &Path, steps: usize) -> Option<(String, Vec<Thread>)> {
    let mut gdb = Command::new("gdb");
    let count = format!("python STEPS = {steps}");
    let text = said(gdb.args(["-nx", "-batch", "-ex", &count]).arg(path))?;
    let (maps, threads) = text.split_once("maps ")?.1.split_once("\nthread ")?;
    Some((maps.trim_end().to_owned(), threads.split("\nthread ").map(thread).collect()))
}

fn said(gdb: &mut Command) -> Option<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/truth/unwind/frames.py");
    let told = match gdb.args(["-x", script]).output() {
        Ok(told) => told,
        Err(error) => {
            println!("skipped: no gdb: {error}");
            return None;
        }
    };
    let complaints = String::from_utf8_lossy(&told.stderr);
    if complaints.contains("ptrace: Operation not permitted") {
        println!("skipped: no privilege to trace");
        return None;
    }
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(text.contains("thread "), "gdb says {text} {complaints}");
    Some(text)
}

fn thread(text: &str) -> Thread {
    let lines = |key| text.lines().filter_map(move |line| line.strip_prefix(key));
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("no number: {text}"));
    let values: Vec<u64> = lines("register ").map(number).collect();
    assert_eq!(values.len(), REGISTERS, "{text}");
    let mut registers = UserRegisters::new(values[UserRegisters::COUNT], values[UserRegisters::SP]);
    for (number, value) in values.iter().take(UserRegisters::COUNT).enumerate() {
        registers.set(number, *value);
    }
    let frames: Vec<Vec<&str>> =
        lines("frame ").map(|frame| frame.splitn(3, ' ').collect()).collect();
    let chain = frames.iter().map(|frame| number(frame[0]) + u64::from(frame[1] == "exact"));
    let byte = |digits: &[u8]| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok();
    let stack = lines("stack ").next().unwrap_or_default().as_bytes().chunks(2);
    Thread {
        registers,
        chain: chain.collect(),
        names: frames.iter().map(|frame| frame[2].to_owned()).collect(),
        stack: stack.map(|digits| byte(digits).expect("hexadecimal")).collect(),
    }
}

/// The memory from `sp` to the end of the mapping it is in.
fn stack(pid: u32, sp: u64) -> Vec<u8> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a live process");
    let ranges = maps.lines().filter_map(|line| line.split(' ').next()?.split_once('-'));
    let hex = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
    let mut ranges = ranges.map(|(start, end)| hex(start)..hex(end));
    let range = ranges.find(|range| range.contains(&sp)).expect("a mapped stack");
    let mut bytes = vec![0; usize::try_from(range.end - sp).expect("a stack in memory")];
    let memory = File::open(format!("/proc/{pid}/mem")).expect("readable memory");
    memory.read_exact_at(&mut bytes, sp).expect("readable memory");
    bytes
}

impl Thread {
    /// The copy of its stack.
    pub(super) fn memory(&self) -> StackMemory<'_> {
        StackMemory { start: self.registers.sp(), bytes: &self.stack, whole: true, later: None }
    }

    /// As one that was found asleep: only program counter and stack pointer
    /// are known.
    pub(super) fn found_asleep(&self) -> UserRegisters {
        UserRegisters::new(self.registers.pc, self.registers.sp())
    }
}

/// An unwinder that knows `program`.
pub(super) fn unwinder(program: &Program) -> Unwinder {
    let mut unwinder = Unwinder::default();
    for event in events_of(program.pid(), SPACE) {
        unwinder.observe(&event);
    }
    unwinder
}
