//! Functions of Python's standard library that tell what a program is at.

use crate::tables::Code;

/// A function of the standard library.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function {
    name: &'static str,
    file: &'static str,
}

/// One turn of asyncio's loop, in which it polls and runs what is due.
pub(crate) const TURN: Function = Function { name: "_run_once", file: "asyncio/base_events.py" };
/// The loop runs a callback, or a step of a task.
pub(crate) const CALLBACK: Function = Function { name: "_run", file: "asyncio/events.py" };
/// The loop polls.
pub(crate) const SELECT: Function = Function { name: "select", file: "selectors.py" };
/// A thread of a pool waits for something to do.
pub(crate) const WORKER: Function =
    Function { name: "_worker", file: "concurrent/futures/thread.py" };
/// A condition hands over by a lock that each who waits makes for it.
pub(crate) const CONDITION: Function = Function { name: "Condition.wait", file: "threading.py" };

impl Function {
    /// Whether `code` is this function. Names are qualified from 3.11 on.
    pub(crate) fn is(self, code: &Code) -> bool {
        let named = code.function.rsplit('.').next() == Some(self.name);
        (named || code.function == self.name) && code.file.ends_with(self.file)
    }
}
