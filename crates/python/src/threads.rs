//! The interpreters of a process, their threads, and who holds the GIL.

use std::ops::Range;

use crate::chain::Circle;
use crate::layout::{GilLayout, GilPlace, Layout};
use crate::memory::{self, Memory, half, word};
use crate::reader::Rejection;
use crate::trouble::Trouble;

/// Interpreters that are looked at.
const INTERPRETERS: usize = 1 << 10;

/// Threads of all of them that are looked at.
const THREADS: usize = 1 << 16;

/// An interpreter of the process; there is one unless sub-interpreters are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// Address of its `PyInterpreterState`.
    pub state: u64,
    /// Its number; the main interpreter is 0.
    pub id: u64,
    /// Its threads, the newest first.
    pub threads: Vec<Thread>,
    /// A list changed while it was read, or makes no sense, and there may be
    /// more threads.
    pub trouble: Option<Trouble>,
}

/// A thread, as one interpreter knows it. One that runs a sub-interpreter is
/// known to both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thread {
    /// Address of its `PyThreadState`.
    pub state: u64,
    /// Address of the state of its interpreter.
    pub interpreter: u64,
    /// The thread's number, as it is in the innermost PID namespace of the
    /// process. Before 3.11 not known; [`kernel_ids`](crate::kernel_ids) finds
    /// it.
    pub native: Option<u64>,
    /// Its `pthread_t`.
    pub pthread: u64,
}

/// The lock that lets one thread at a time run Python code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gil {
    /// The thread state that holds it, if one does.
    pub holder: Option<u64>,
    /// Addresses of it and of what one waits on to get it: a futex in here is
    /// this GIL.
    pub lock: Range<u64>,
    /// The part of it on which those wait that want it. A thread that waits on
    /// another part has just given it away, and waits until it is taken.
    pub queue: Range<u64>,
}

/// All interpreters, the newest first: none before Python has begun and after
/// it has ended.
pub(crate) fn interpreters(
    memory: &dyn Memory,
    layout: &Layout,
    runtime: u64,
) -> Result<Vec<Interpreter>, Trouble> {
    let at = &layout.interpreter;
    let mut found = Vec::new();
    let mut circle = Circle::default();
    let mut state = pointer(memory, runtime.wrapping_add(layout.interpreters))?;
    let mut threads_left = THREADS;
    while state != 0 && circle.length < INTERPRETERS {
        circle.pass(state)?;
        let number = |offset: u64| pointer(memory, state.wrapping_add(offset));
        let mut threads = Vec::new();
        let first = number(at.threads)?;
        let listed = Listed { interpreter: state, first, most: threads_left };
        let trouble = listed.collect(memory, layout, &mut threads).err();
        threads_left -= threads.len();
        found.push(Interpreter { state, id: number(at.id)?, threads, trouble });
        state = number(at.next)?;
    }
    Ok(found)
}

/// The list of threads of an interpreter.
struct Listed {
    interpreter: u64,
    first: u64,
    most: usize,
}

impl Listed {
    fn collect(
        &self,
        memory: &dyn Memory,
        layout: &Layout,
        threads: &mut Vec<Thread>,
    ) -> Result<(), Trouble> {
        let mut circle = Circle::default();
        let mut state = self.first;
        while state != 0 && threads.len() < self.most {
            circle.pass(state)?;
            let bytes = memory::bytes(memory, state, layout.thread_span());
            let bytes = bytes.ok_or(Trouble::Unreadable(state))?;
            if word(&bytes, layout.thread.interpreter) != self.interpreter {
                return Err(Trouble::Nonsense(state));
            }
            threads.push(Thread::decode(layout, state, &bytes));
            state = word(&bytes, layout.thread.next);
        }
        Ok(())
    }
}

impl Thread {
    fn decode(layout: &Layout, state: u64, bytes: &[u8]) -> Thread {
        let native = layout.thread.native.map(|at| word(bytes, at));
        Thread {
            state,
            interpreter: word(bytes, layout.thread.interpreter),
            native: native.filter(|number| *number != 0),
            pthread: word(bytes, layout.thread.pthread),
        }
    }

    /// Whether these `bytes` of a thread state are still this thread's.
    pub(crate) fn is_at(&self, layout: &Layout, bytes: &[u8]) -> bool {
        Thread::decode(layout, self.state, bytes) == *self
    }
}

/// The GIL that the threads of an interpreter share, read twice in one call; `None` when
/// they need none. `known` is where it was last time.
pub(crate) fn gil(
    memory: &dyn Memory,
    layout: &Layout,
    runtime: u64,
    interpreter: u64,
    known: &mut Option<u64>,
) -> Result<Option<Gil>, Rejection> {
    let at = &layout.gil;
    let told = match at.place {
        GilPlace::Runtime(_) => None,
        GilPlace::Interpreter(offset) => Some(interpreter.wrapping_add(offset)),
    };
    let address = match (at.place, told, known.take()) {
        (_, _, Some(known)) => known,
        (GilPlace::Runtime(offset), ..) => runtime.wrapping_add(offset),
        (_, told, None) => pointer(memory, told.unwrap_or_default())?,
    };
    let mut looks = [at.look(), at.look()];
    let mut ranges = Vec::with_capacity(4);
    for (pointer, bytes) in &mut looks {
        ranges.extend(told.map(|told| (told, pointer.as_mut_slice())));
        ranges.push((address, bytes.as_mut_slice()));
    }
    if !memory.read_many(&mut ranges) {
        return Err(Trouble::Unreadable(address).into());
    }
    let [first, second] = &looks;
    if first != second || told.is_some_and(|_| u64::from_le_bytes(first.0) != address) {
        return Err(Rejection::Moved);
    }
    *known = Some(address);
    if at.enabled.is_some_and(|at| half(&first.1, at) == 0) {
        return Ok(None);
    }
    Ok(Some(at.decode(address, &first.1)?))
}

impl GilLayout {
    /// Space for the pointer to a GIL, and for the part of it that is read.
    fn look(&self) -> ([u8; 8], Vec<u8>) {
        let last = self.holder.max(self.locked).max(self.enabled.unwrap_or(0));
        let span = last.saturating_add(8);
        ([0; 8], vec![0; usize::try_from(span).unwrap_or_default()])
    }

    fn decode(&self, address: u64, bytes: &[u8]) -> Result<Gil, Trouble> {
        // -1 before it is first made.
        let locked = half(bytes, self.locked) == 1;
        let part = |offset: u64| address.checked_add(offset).ok_or(Trouble::Nonsense(address));
        Ok(Gil {
            holder: Some(word(bytes, self.holder)).filter(|holder| locked && *holder != 0),
            lock: address..part(self.size)?,
            queue: part(self.queue)?..part(self.queue_end())?,
        })
    }
}

fn pointer(memory: &dyn Memory, address: u64) -> Result<u64, Trouble> {
    let mut bytes = [0; 8];
    let read = memory.read(address, &mut bytes);
    read.then(|| u64::from_le_bytes(bytes)).ok_or(Trouble::Unreadable(address))
}
