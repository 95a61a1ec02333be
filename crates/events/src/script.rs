//! Stacks of interpreted programs, as the engine asks for them and the side that
//! knows the interpreter answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{CodeId, Event, Fallback, GilHolder, GilPlace, Ns, SpaceId, Tid};

/// A call of an interpreted function, in a [`Event::Stack`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ScriptFrame {
    /// What was called.
    pub code: CodeId,
    /// The line it is at; 0 when it is at none.
    pub line: u32,
    /// It began an evaluation of its own in C: the interpreter's native frame
    /// belongs to it and to the calls inside it, up to the next such.
    pub entry: bool,
}

/// The same with its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptCall {
    /// Qualified where the interpreter knows that.
    pub function: Arc<str>,
    /// The source file as the interpreter names it.
    pub file: Arc<str>,
    /// Where its definition begins.
    pub first_line: u32,
    /// 0 when it is at none.
    pub line: u32,
    /// See [`ScriptFrame::entry`].
    pub entry: bool,
}

/// What a read gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptRead {
    /// No interpreter knows this thread.
    Nothing,
    /// The thread moved meanwhile, or memory makes no sense.
    Rejected,
    /// Its calls, innermost first.
    Calls(Vec<ScriptCall>),
    /// The thread moved meanwhile; these of its calls stood still, the outermost.
    Outside(Vec<ScriptCall>),
}

/// What an event loop is at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopTurn {
    /// When it came back from its last poll, on `CLOCK_MONOTONIC`; `None` while
    /// it polls, and when it does not say.
    pub since: Option<Ns>,
    /// Name of the task whose step it runs, where the interpreter tells.
    pub task: Option<String>,
    /// Tasks that are not done; `None` when they were not counted.
    pub tasks: Option<u32>,
}

/// How many reads of running threads were believed, and how many were not, but for
/// the calls that stood still: the thread moved meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptReads {
    /// Believed.
    pub accepted: u64,
    /// Rejected.
    pub rejected: u64,
}

/// What can be asked of the process that runs an interpreter.
pub trait TargetProcess {
    /// Fills every range, all in one system call where that can be; false when
    /// not all of it can be read.
    fn read(&self, ranges: &mut [(u64, &mut [u8])]) -> bool;

    /// The number of a thread in the innermost PID namespace of the process.
    fn inner_tid(&self, tid: Tid) -> Option<u64>;

    /// Those of all its threads.
    fn inner_tids(&self) -> Vec<u64>;

    /// By how many ns its monotonic clock is ahead of the host's: 0 but in a time
    /// namespace.
    fn clock_ahead(&self) -> i64;
}

/// Reads the stacks of interpreted programs.
pub trait ReadScripts {
    /// Learns address spaces and mappings from definitions. Other events are
    /// passed over.
    fn observe(&mut self, event: &Event);

    /// The calls of a thread in `space`. A thread that is `blocked` does not
    /// move, which the caller proves.
    fn read(
        &mut self,
        space: SpaceId,
        tid: Tid,
        process: &dyn TargetProcess,
        blocked: bool,
    ) -> ScriptRead;

    /// What the event loop is at whose thread was read last; `None` when that
    /// thread runs none.
    fn loop_turn(&mut self) -> Option<LoopTurn> {
        None
    }

    /// Where the GIL is under which a thread in `space` runs code, and who holds
    /// it now. `None` when no interpreter knows the thread, or when two reads in a
    /// row differ.
    fn gil(
        &mut self,
        space: SpaceId,
        tid: Tid,
        process: &dyn TargetProcess,
    ) -> Option<(GilPlace, GilHolder)>;

    /// Whether an interpreter was found in `space`, or nobody has looked yet.
    fn may_run_in(&self, space: SpaceId) -> bool;

    /// What could not be read of interpreters that were found, and why, at the end.
    fn refusals(&self) -> Vec<Fallback>;
}
