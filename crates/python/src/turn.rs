//! What a turn of asyncio's event loop notes of itself. `_run_once` calls `select`,
//! then sets its local variable `end_time` to the time by which timers are due, and
//! then runs the callbacks: so the variable says since when the loop has been away
//! from its poll.

use crate::layout::Layout;
use crate::memory::{self, Memory, word};
use crate::text;

const FUNCTION: &str = "_run_once";
const FILE: &str = "asyncio/base_events.py";
const VARIABLE: &str = "end_time";

/// Local variables that are looked through.
const VARIABLES: u64 = 32;

/// References have tags in these bits, from 3.14 on.
const TAGS: u64 = 7;

/// Longer than any time on `CLOCK_MONOTONIC`, in seconds: 30 years.
const LONGEST: f64 = 1e9;

/// A turn of an event loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// When it came back from its poll, in ns on `CLOCK_MONOTONIC`; `None` before
    /// that, and where it cannot be read.
    pub since: Option<u64>,
}

/// Whether a function is a turn of asyncio's loop. Its name is qualified from 3.11 on.
pub(crate) fn is_turn(function: &str, file: &str) -> bool {
    function.rsplit('.').next() == Some(FUNCTION) && file.ends_with(FILE)
}

/// The number of the variable among the `names` of all, a tuple.
pub(crate) fn variable(memory: &dyn Memory, layout: &Layout, names: u64) -> Option<u64> {
    let head = memory::bytes(memory, names, layout.size + 8)?;
    let count = word(&head, layout.size).min(VARIABLES);
    let items = memory::bytes(memory, names.wrapping_add(layout.items), count * 8)?;
    (0..count).find(|number| {
        text::read(memory, layout, word(&items, number * 8)).is_ok_and(|name| name == VARIABLE)
    })
}

/// What the turn in `frame` says. The frame may go on meanwhile: what is read twice
/// and is the same, of a `float`, is believed.
pub(crate) fn read(memory: &dyn Memory, layout: &Layout, frame: u64, variable: u64) -> Turn {
    let at = frame.wrapping_add(layout.frame.locals).wrapping_add(variable * 8);
    let once = || {
        let object = word(&memory::bytes(memory, at, 8)?, 0) & !TAGS;
        (object != 0).then_some(())?;
        Some((object, memory::bytes(memory, object, layout.float + 8)?))
    };
    let since = || {
        let (object, bytes) = once()?;
        let name = memory::bytes(
            memory,
            word(&bytes, layout.object_type).wrapping_add(layout.type_name),
            8,
        )?;
        let is_float = memory::bytes(memory, word(&name, 0), 6)? == *b"float\0";
        (is_float && once()? == (object, bytes.clone())).then_some(())?;
        nanoseconds(f64::from_bits(word(&bytes, layout.float)))
    };
    Turn { since: since() }
}

fn nanoseconds(seconds: f64) -> Option<u64> {
    (seconds > 0.0 && seconds < LONGEST).then_some((seconds * 1e9) as u64)
}
