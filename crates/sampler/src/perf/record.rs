//! Ring records, from bytes. Layout: `perf_event_open(2)`, linux/perf_event.h.
//!
//! All events of the engine begin alike, with or without the task, so that one
//! parser serves a ring that several events write into.
//! Bytes come from the kernel, but are treated as anybody's: whatever does not
//! fit is [`Body::Other`], never a panic.

pub(crate) mod told;

use whyslow_events::UserRegisters;

use crate::arch::{GeneralRegisters, Registers};

/// What the records of one event carry after the leading fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The sampling clock: a call chain, and registers and stack where wanted.
    Clock,
    /// `sched_switch`: raw data and user registers.
    Switch,
    /// `sched_switch` at a limited rate: what the clock carries.
    Stack,
    /// `sched_waking`: raw data.
    Waking,
    /// Our program at `sched_switch`: raw data.
    Told,
    /// No samples: what the kernel tells by the way.
    SideRecords,
}

impl Kind {
    /// Whether the leading fields hold the task and the CPU. What happens at
    /// every switch goes without: the raw data and the ring tell both, and to
    /// find and write them takes an eighth of the time of a switch.
    pub(crate) fn tells_task(self) -> bool {
        !matches!(self, Kind::Switch | Kind::Waking | Kind::Told)
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When, on `CLOCK_MONOTONIC`, ns.
    pub time: u64,
    /// The thread that was current.
    pub tid: u32,
    /// What it says.
    pub body: Body,
}

impl Record {
    /// Whether it is about a switch: there is none of these while recording pauses.
    pub(crate) fn is_of_switch(&self) -> bool {
        use Body::{Stack, Switch, SwitchedIn, SwitchedOut, Waking};
        matches!(
            self.body,
            Switch { .. } | Waking { .. } | Stack { .. } | SwitchedIn | SwitchedOut { .. }
        )
    }
}

/// What unwinding needs: the user half of a thread at an instant.
#[derive(Clone, Debug, PartialEq)]
pub struct UserStack {
    /// Its registers.
    pub registers: UserRegisters,
    /// Its memory from the stack pointer up. Where it is less than was asked for, the
    /// stack may have ended, or its next page was never written to.
    pub bytes: Box<[u8]>,
    /// It is of a 32-bit program, whose stack is not that of a 64-bit one.
    pub narrow: bool,
}

/// The content of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// The sampling clock fired.
    Clock {
        /// In the kernel.
        kernel: bool,
        /// The call chain, innermost first, with context marks.
        chain: Box<[u64]>,
        /// The user stack, where it was asked for and there is one.
        user: Option<Box<UserStack>>,
    },
    /// The stack at the switch that follows on the same CPU.
    Stack {
        /// The call chain, innermost first, with context marks.
        chain: Box<[u64]>,
        /// The user stack, where it was asked for; `None` for kernel threads.
        user: Option<Box<UserStack>>,
    },
    /// One thread left the CPU for another.
    Switch {
        /// The thread that leaves. A dying one has no `tid` of its own any more.
        previous: u32,
        /// The state bits of the thread that left.
        state: u64,
        /// The thread that comes; 0 is the idle task.
        next: u32,
        /// User registers of the thread that left; `None` for kernel threads.
        registers: Option<Registers>,
        /// For how long the thread that left has had a CPU since it was born, as the kernel
        /// counts it, ns. Our own program alone tells that.
        ran: Option<u64>,
    },
    /// The current thread has got the CPU.
    SwitchedIn,
    /// The current thread leaves the CPU. Only told of events of single threads.
    SwitchedOut {
        /// It wanted to go on.
        preempted: bool,
    },
    /// A thread is about to be made runnable.
    Waking {
        /// Which.
        woken: u32,
        /// From an interrupt, not by the current thread.
        interrupt: bool,
    },
    /// A thread was born. The record's own `tid` is not set by it.
    Fork {
        /// Process of the new thread.
        pid: u32,
        /// The new thread.
        tid: u32,
        /// Process of the one that made it.
        parent: u32,
    },
    /// A thread began to end.
    Exit {
        /// The thread.
        tid: u32,
    },
    /// A thread has a new name.
    Comm {
        /// The process.
        pid: u32,
        /// The thread.
        tid: u32,
        /// Because the process executed another program.
        exec: bool,
        /// The name.
        name: String,
    },
    /// Executable memory was mapped.
    Mmap {
        /// The process.
        pid: u32,
        /// First address.
        start: u64,
        /// Length in bytes.
        length: u64,
        /// Offset in the file.
        file_offset: u64,
        /// The file.
        path: String,
    },
    /// Records were lost just before this one.
    Lost {
        /// How many.
        records: u64,
    },
    /// The sampling clock was held back.
    Throttled,
    /// By the recorder: switches and what belongs to them are recorded no more.
    Paused {
        /// The kernel tallies them.
        tallied: bool,
    },
    /// They are again.
    Resumed,
    /// Nothing we asked for.
    Other,
}

#[cfg(test)]
impl Body {
    /// A switch of which no more is told.
    pub(crate) fn switch(previous: u32, state: u64, next: u32) -> Body {
        Body::Switch { previous, state, next, registers: None, ran: None }
    }
}

/// Types of records (`enum perf_event_type`).
mod kind {
    pub(super) const LOST: u32 = 2;
    pub(super) const COMM: u32 = 3;
    pub(super) const EXIT: u32 = 4;
    pub(super) const THROTTLE: u32 = 5;
    pub(super) const FORK: u32 = 7;
    pub(super) const SAMPLE: u32 = 9;
    pub(super) const MMAP2: u32 = 10;
    pub(super) const SWITCH: u32 = 14;
    pub(super) const SWITCH_CPU_WIDE: u32 = 15;
}

/// `PERF_RECORD_MISC_COMM_EXEC`.
const MISC_COMM_EXEC: u16 = 1 << 13;
/// `PERF_RECORD_MISC_SWITCH_OUT`.
const MISC_SWITCH_OUT: u16 = 1 << 13;
/// `PERF_RECORD_MISC_SWITCH_OUT_PREEMPT`.
const MISC_SWITCH_OUT_PREEMPT: u16 = 1 << 14;
/// `PERF_RECORD_MISC_CPUMODE_MASK`, and the kernel's value under it.
const MISC_CPUMODE_MASK: u16 = 7;
const MISC_KERNEL: u16 = 1;

/// Offsets in the raw data of the scheduler's tracepoints
/// (tracefs `events/sched/*/format`).
mod raw {
    /// `common_flags`: the bits of hard and soft interrupt context.
    pub(super) const FLAGS: usize = 2;
    /// `common_pid`: the current thread.
    pub(super) const PID: usize = 4;
    pub(super) const IN_INTERRUPT: u8 = 0x08 | 0x10;
    pub(super) const SWITCH_PREV_PID: usize = 24;
    pub(super) const SWITCH_PREV_STATE: usize = 32;
    pub(super) const SWITCH_NEXT_PID: usize = 56;
    pub(super) const WAKING_PID: usize = 24;
}

/// Reads fields one after the other; `None` past the end.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes(2)?.first_chunk().map(|b| u16::from_ne_bytes(*b))
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.first_chunk().map(|b| u32::from_ne_bytes(*b))
    }

    fn u64(&mut self) -> Option<u64> {
        self.bytes(8)?.first_chunk().map(|b| u64::from_ne_bytes(*b))
    }

    fn words(&mut self) -> Option<Box<[u64]>> {
        let count = usize::try_from(self.u64()?).ok()?;
        let bytes = self.bytes(count.checked_mul(8)?)?;
        let (words, _) = bytes.as_chunks::<8>();
        Some(words.iter().map(|word| u64::from_ne_bytes(*word)).collect())
    }

    fn text(&mut self) -> String {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        String::from_utf8_lossy(&self.0[..end]).into_owned()
    }
}

/// The record in `bytes`, header included; `kind_of` tells what the event
/// with an id carries. `None` when the bytes are not a record we can place in
/// time.
#[must_use]
pub fn parse(bytes: &[u8], kind_of: impl Fn(u64) -> Option<Kind>) -> Option<Record> {
    parse_of(bytes, kind_of, |_| true)
}

/// The same, without the stacks that the clock took of threads that are not `ours`.
#[must_use]
pub(crate) fn parse_of(
    bytes: &[u8],
    kind_of: impl Fn(u64) -> Option<Kind>,
    ours: impl Fn(u32) -> bool,
) -> Option<Record> {
    let mut header = Fields(bytes);
    let (kind, misc, size) = (header.u32()?, header.u16()?, header.u16()?);
    let body = bytes.get(8..usize::from(size))?;
    if kind == kind::SAMPLE {
        sample(body, misc, kind_of, ours)
    } else {
        side_record(kind, misc, body, kind_of)
    }
}

fn sample(
    body: &[u8],
    misc: u16,
    kind_of: impl Fn(u64) -> Option<Kind>,
    ours: impl Fn(u32) -> bool,
) -> Option<Record> {
    let mut fields = Fields(body);
    let (task, time, kind) = leading(&mut fields, kind_of)?;
    let (tid, body) = match kind {
        Kind::Clock if !task.is_some_and(&ours) => {
            let kernel = misc & MISC_CPUMODE_MASK == MISC_KERNEL;
            (task?, Body::Clock { kernel, chain: Box::default(), user: None })
        }
        Kind::Clock => {
            let kernel = misc & MISC_CPUMODE_MASK == MISC_KERNEL;
            let (chain, user) = (fields.words()?, user_stack(&mut fields));
            (task?, Body::Clock { kernel, chain, user })
        }
        Kind::Stack => {
            (task?, Body::Stack { chain: fields.words()?, user: user_stack(&mut fields) })
        }
        Kind::SideRecords => return None,
        Kind::Told => told::told(raw_data(&mut fields)?)?,
        Kind::Switch => {
            let data = raw_data(&mut fields)?;
            let previous = Fields(data.get(raw::SWITCH_PREV_PID..)?).u32()?;
            let state = Fields(data.get(raw::SWITCH_PREV_STATE..)?).u64()?;
            let next = Fields(data.get(raw::SWITCH_NEXT_PID..)?).u32()?;
            (
                previous,
                Body::Switch {
                    previous,
                    state,
                    next,
                    registers: registers(&mut fields),
                    ran: None,
                },
            )
        }
        Kind::Waking => {
            let data = raw_data(&mut fields)?;
            let woken = Fields(data.get(raw::WAKING_PID..)?).u32()?;
            let interrupt = data.get(raw::FLAGS)? & raw::IN_INTERRUPT != 0;
            (Fields(data.get(raw::PID..)?).u32()?, Body::Waking { woken, interrupt })
        }
    };
    Some(Record { time, tid, body })
}

/// The current thread where it stands here, the time, and what follows: task,
/// time, id, CPU; or time and id alone ([`Kind::tells_task`]).
fn leading(
    fields: &mut Fields<'_>,
    kind_of: impl Fn(u64) -> Option<Kind>,
) -> Option<(Option<u32>, u64, Kind)> {
    let (first, second) = (fields.u64()?, fields.u64()?);
    // Where the long form has its time the short one has its id. Ids count from
    // 1, the time is in ns since the machine started.
    if let Some(kind) = kind_of(second).filter(|kind| !kind.tells_task()) {
        return Some((None, first, kind));
    }
    let kind = kind_of(fields.u64()?).filter(|kind| kind.tells_task())?;
    fields.u64()?; // CPU
    let [_pid @ .., a, b, c, d] = first.to_ne_bytes();
    Some((Some(u32::from_ne_bytes([a, b, c, d])), second, kind))
}

/// A length, the data, and padding to 8 bytes, the length's own 4 included.
fn raw_data<'a>(fields: &mut Fields<'a>) -> Option<&'a [u8]> {
    let length = fields.u32()? as usize;
    fields.bytes(length)
}

/// Which registers a record holds (`enum perf_sample_regs_abi`).
mod abi {
    pub(super) const BITS_32: u64 = 1;
    pub(super) const BITS_64: u64 = 2;
}

fn registers(fields: &mut Fields<'_>) -> Option<Registers> {
    // A 32-bit program has its arguments elsewhere.
    if fields.u64()? != abi::BITS_64 {
        return None;
    }
    Some(Registers::from_ring(values(fields)?))
}

fn values<const COUNT: usize>(fields: &mut Fields<'_>) -> Option<[u64; COUNT]> {
    let mut values = [0; COUNT];
    for value in &mut values {
        *value = fields.u64()?;
    }
    Some(values)
}

/// Registers, then room for a copy of the stack, then how much of it was filled.
fn user_stack(fields: &mut Fields<'_>) -> Option<Box<UserStack>> {
    let narrow = match fields.u64()? {
        abi::BITS_32 => true,
        abi::BITS_64 => false,
        _ => return None,
    };
    let registers = GeneralRegisters::from_ring(values(fields)?);
    let room = usize::try_from(fields.u64()?).ok()?;
    let bytes = fields.bytes(room)?;
    // Without room the kernel says no more.
    let filled = if room == 0 { 0 } else { usize::try_from(fields.u64()?).ok()? };
    let bytes = bytes.get(..filled)?.into();
    Some(Box::new(UserStack { registers, bytes, narrow }))
}

/// A record other than a sample: its own fields, then the sample id.
fn side_record(
    kind: u32,
    misc: u16,
    body: &[u8],
    kind_of: impl Fn(u64) -> Option<Kind>,
) -> Option<Record> {
    let (body, tid, time) = trailing(body, kind_of)?;
    let mut fields = Fields(body);
    let body = match kind {
        kind::LOST => {
            fields.u64()?; // id of the event
            Body::Lost { records: fields.u64()? }
        }
        kind::COMM => Body::Comm {
            pid: fields.u32()?,
            tid: fields.u32()?,
            exec: misc & MISC_COMM_EXEC != 0,
            name: fields.text(),
        },
        kind::FORK | kind::EXIT => {
            let (pid, parent, tid) = (fields.u32()?, fields.u32()?, fields.u32()?);
            if kind == kind::FORK { Body::Fork { pid, tid, parent } } else { Body::Exit { tid } }
        }
        kind::MMAP2 => {
            let (pid, _tid) = (fields.u32()?, fields.u32()?);
            let (start, length, file_offset) = (fields.u64()?, fields.u64()?, fields.u64()?);
            // Device, inode and its generation, protection, flags.
            fields.bytes(24 + 8)?;
            Body::Mmap { pid, start, length, file_offset, path: fields.text() }
        }
        kind::SWITCH if misc & MISC_SWITCH_OUT != 0 => {
            Body::SwitchedOut { preempted: misc & MISC_SWITCH_OUT_PREEMPT != 0 }
        }
        kind::SWITCH | kind::SWITCH_CPU_WIDE if misc & MISC_SWITCH_OUT == 0 => Body::SwitchedIn,
        kind::THROTTLE => Body::Throttled,
        _ => Body::Other,
    };
    Some(Record { time, tid, body })
}

/// What is before the sample id, and the task, if it is there, and time of
/// that: task, time, id, CPU; or time and id alone. Of an event that writes
/// short samples only losses are told so.
fn trailing(body: &[u8], kind_of: impl Fn(u64) -> Option<Kind>) -> Option<(&[u8], u32, u64)> {
    const SHORT: usize = 16;
    const LONG: usize = 32;
    let (before, last) = body.split_at_checked(body.len().checked_sub(SHORT)?)?;
    let mut fields = Fields(last);
    let (time, id) = (fields.u64()?, fields.u64()?);
    if kind_of(id).is_some_and(|kind| !kind.tells_task()) && kind_of(time).is_none() {
        return Some((before, 0, time));
    }
    let (before, last) = body.split_at_checked(body.len().checked_sub(LONG)?)?;
    let mut fields = Fields(last);
    let (_pid, tid, time) = (fields.u32()?, fields.u32()?, fields.u64()?);
    Some((before, tid, time))
}

#[cfg(test)]
mod tests;
