//! The calls of a loop in uvloop, whose own code is in C: which are around it, and
//! which a callback of it made, told by where its code is among the interpreter's
//! evaluations.

use whyslow_events::{CodeId, Pid, ScriptFrame, StackEnd};

use super::calls::Part;
use crate::interpreter::{evaluations, is_evaluation};
use crate::tables::{Stack, Tables};

/// The files of its extension lie here.
const FOLDER: &str = "/uvloop/";

/// Reads the stacks of a thread that runs it.
#[derive(Debug)]
pub(super) struct Uvloop {
    /// The calls around it, outermost first.
    around: Vec<CodeId>,
}

impl Uvloop {
    /// `None` where no stack shows a call into it. A thread of its pool is in its
    /// code, too, but in no call.
    pub(super) fn of<'a>(
        tables: &Tables,
        pid: Pid,
        stacks: impl Iterator<Item = &'a Stack>,
    ) -> Option<Uvloop> {
        if !tables.maps(pid, |file| file.contains(FOLDER)) {
            return None;
        }
        let shown: Vec<(usize, &[ScriptFrame])> = stacks
            .filter_map(|stack| Some((around(tables, stack)?, stack.script.as_slice())))
            .collect();
        // What it calls back surely comes from the loop, not from what makes one.
        let (count, script) = shown
            .iter()
            .find(|(count, script)| script.len() > *count)
            .or_else(|| shown.iter().max_by_key(|(count, _)| *count))?;
        Some(Uvloop { around: script.iter().rev().take(*count).map(|call| call.code).collect() })
    }

    /// The part of the loop that a stack is in; `polls`: it waits in a call that can be
    /// the loop's poll.
    pub(super) fn part(&self, tables: &Tables, stack: &Stack, polls: bool) -> Part {
        let outermost_first = || stack.script.iter().rev();
        let same = || {
            let both = outermost_first().zip(&self.around);
            both.take_while(|(call, around)| call.code == **around).count()
        };
        let count = match around(tables, stack) {
            Some(count) => count,
            None if stack.end == StackEnd::Complete && !stack.user.is_empty() => {
                return Part::Unknown;
            }
            None => same(),
        };
        match (outermost_first().nth(count), stack.script.first()) {
            (Some(outermost), Some(innermost)) => {
                Part::Callback { outermost: *outermost, innermost: *innermost }
            }
            (None, Some(innermost)) if polls => Part::Poll(Some(*innermost)),
            (None, Some(innermost)) => Part::Loop(*innermost),
            _ => Part::Unknown,
        }
    }
}

/// How many calls of a stack are around uvloop's code.
fn around(tables: &Tables, stack: &Stack) -> Option<usize> {
    let imports = |call: &ScriptFrame| tables.codes.get(&call.code).is_some_and(|it| it.imports());
    let outermost_first = || stack.user.iter().rev().copied();
    let is_uvloop = |address: u64| {
        tables.module(stack.space, address).is_some_and(|file| file.contains(FOLDER))
    };
    let evaluates = |address: &u64| {
        let functions = tables.symbols(Some(stack.space), *address, stack.named_at);
        functions.iter().any(|frame| is_evaluation(&frame.function))
    };
    let at = outermost_first().position(is_uvloop)?;
    let around = outermost_first().take(at).filter(evaluates).count();
    let inside = outermost_first().skip(at).filter(evaluates).count();
    let calls = evaluations(&stack.script);
    let fits = around > 0 && calls.len() == around + inside;
    (fits && !stack.script.iter().any(imports)).then(|| calls[..around].iter().map(Vec::len).sum())
}
