//! The tasks of an event loop of asyncio, from 3.14 on: `_asyncio` describes its
//! structures in a section `.AsyncioDebug` of its file, as `_PyRuntime` describes
//! the interpreter's (`Modules/_asynciomodule.c`). Numbers of 64 bits: of a task its
//! size, name, three that are not read, the coroutine and its place in the list of
//! all; of an interpreter two; of a thread state its size, the running loop, the
//! running task and the head of its list of tasks.

use crate::layout::Layout;
use crate::memory::{self, Memory, half, word};
use crate::text;
use crate::threads::Thread;

/// Bytes of the description.
const SPAN: u64 = 104;
const TASK_NAME: u64 = 8;
const RUNNING_TASK: u64 = 88;
const TASKS: u64 = 96;

/// Structures are no longer than this.
const LONGEST: u64 = 1 << 16;

/// Tasks that are counted.
const MOST: u32 = 4096;

/// In `PyLongObject`, behind the type, its tag, with the count of digits from bit 3 on,
/// and the first digit.
const LONG_TAG: u64 = 8;
const LONG_DIGIT: u64 = 16;

/// What the interpreter knows of the tasks of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tasks {
    /// Name of the one whose step runs.
    pub running: Option<String>,
    /// How many there are that are not done; `None` when they were not counted, are
    /// too many, or come and go too fast.
    pub count: Option<u32>,
}

/// Reads by the description at `debug`. Nothing here is proven stable: a task that
/// ends meanwhile may give no name.
pub(crate) fn read(
    memory: &dyn Memory,
    layout: &Layout,
    thread: &Thread,
    debug: u64,
    count: bool,
) -> Option<Tasks> {
    let list = memory::bytes(memory, debug, SPAN)?;
    let field = |at: u64| Some(word(&list, at)).filter(|offset| *offset < LONGEST);
    let (name, running, tasks) = (field(TASK_NAME)?, field(RUNNING_TASK)?, field(TASKS)?);
    let task = pointer(memory, thread.state.wrapping_add(running))?;
    let running = match task {
        0 => None,
        task => named(memory, layout, pointer(memory, task.wrapping_add(name))?),
    };
    let head = thread.state.wrapping_add(tasks);
    Some(Tasks { running, count: if count { length(memory, head) } else { None } })
}

/// A name is a string, or the number of a task that got none.
fn named(memory: &dyn Memory, layout: &Layout, object: u64) -> Option<String> {
    let long = layout.object_type;
    let bytes = memory::bytes(memory, object, long + LONG_DIGIT + 4)?;
    let kind = word(&bytes, layout.object_type).wrapping_add(layout.type_name);
    let kind = memory::bytes(memory, pointer(memory, kind)?, 4)?;
    match &kind[..] {
        b"str\0" => text::read(memory, layout, object).ok(),
        b"int\0" if word(&bytes, long + LONG_TAG) >> 3 == 1 => {
            Some(format!("Task-{}", half(&bytes, long + LONG_DIGIT)))
        }
        _ => None,
    }
}

/// Members of the circular list with this head.
fn length(memory: &dyn Memory, head: u64) -> Option<u32> {
    let mut node = pointer(memory, head)?;
    for count in 0..MOST {
        if node == head {
            return Some(count);
        }
        node = pointer(memory, node).filter(|next| *next != 0)?;
    }
    None
}

fn pointer(memory: &dyn Memory, address: u64) -> Option<u64> {
    Some(word(&memory::bytes(memory, address, 8)?, 0))
}
