//! Functions of programs that wait for everything in one call: of a server's process that
//! polls its own wake-up signal, only they tell whether it waits for the next request, or
//! in the middle of one; and of a runtime's own threads, for whose sleep nothing waits.

use whyslow_events::StackId;

use crate::State;
use crate::frames::base;
use crate::tables::Tables;

/// What is waited for below the function of a program, or of any. The last frames are those
/// of the common way to wait.
const WAITS: &[(Option<&str>, &str, State)] = &[
    (Some("postgres"), "ProcSleep", State::LockUser),
    (Some("postgres"), "pg_sleep", State::Sleep),
    // It looks after Go's scheduler, every 20 µs to 10 ms.
    (None, "runtime.sysmon", State::Idle),
];
/// Its frame is no farther from the innermost than this.
const DEPTH: usize = 6;

/// What the functions of a program tell of a wait with this stack.
pub(super) fn told(tables: &Tables, stack: StackId) -> Option<State> {
    let stack = tables.stacks.get(&stack)?;
    let frames = stack.user.iter().take(DEPTH);
    let mut frames = frames
        .flat_map(|address| tables.symbols(Some(stack.space), *address, stack.named_at))
        .map(|frame| (base(&frame.module), frame.function.as_str()));
    frames.find_map(|(module, called)| {
        let is_it = |(program, function, _): &&(Option<&str>, &str, State)| {
            *function == called && program.is_none_or(|program| program == module)
        };
        WAITS.iter().find(is_it).map(|(_, _, state)| *state)
    })
}
