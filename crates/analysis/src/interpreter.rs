//! Native frames of an interpreter and the calls of the program it runs, made
//! into one stack.
//!
//! Each native evaluation belongs to the calls from one that began it up to the
//! next such. Where there are as many evaluations on the one side as on the
//! other, the calls stand in their place, and the rest of the interpreter's own
//! frames is left out; or both stay, when that is asked for. Where not, the two were
//! read at moments too far apart: the calls stand where the first evaluation was, and a
//! mark between them and what was within.

use whyslow_events::ScriptFrame;

use crate::frames::Named;
use crate::tables::Tables;

/// The C function that runs calls, in every CPython there is.
const EVALUATION: &str = "_PyEval_EvalFrameDefault";

/// Stands between calls and native frames that do not fit them.
const MARK: &str = "[native, of another moment]";

/// `native` user frames, outermost first, merged with `script`, innermost first.
/// The interpreter's own are left out unless `all` are wanted.
pub(crate) fn merge(
    tables: &Tables,
    native: Vec<Named>,
    script: &[ScriptFrame],
    all: bool,
) -> Vec<Named> {
    let mut calls = evaluations(script);
    let begins = |frame: &Named| is_evaluation(&frame.name);
    let kept = |frame: &Named| all || !(begins(frame) || is_interpreter(&frame.module));
    if native.is_empty() {
        return calls.into_iter().flatten().map(|call| named(tables, call)).collect();
    }
    if native.iter().filter(|frame| begins(frame)).count() != calls.len() {
        let within = native.iter().position(begins).unwrap_or(0);
        let mut around = native;
        let within = around.split_off(within);
        let calls = calls.into_iter().flatten().map(|call| named(tables, call));
        let native = |frames: Vec<Named>| frames.into_iter().filter(kept);
        return native(around).chain(calls).chain([mark()]).chain(native(within)).collect();
    }
    calls.reverse();
    let mut merged = Vec::new();
    for frame in native {
        let calls = if begins(&frame) { calls.pop() } else { None };
        if kept(&frame) {
            merged.push(frame);
        }
        merged.extend(calls.into_iter().flatten().map(|call| named(tables, call)));
    }
    merged
}

/// The calls of each evaluation, outermost first.
pub(crate) fn evaluations(script: &[ScriptFrame]) -> Vec<Vec<ScriptFrame>> {
    let mut evaluations: Vec<Vec<ScriptFrame>> = Vec::new();
    for call in script.iter().rev() {
        match evaluations.last_mut() {
            Some(calls) if !call.entry => calls.push(*call),
            _ => evaluations.push(vec![*call]),
        }
    }
    evaluations
}

fn named(tables: &Tables, call: ScriptFrame) -> Named {
    let code = tables.codes.get(&call.code);
    Named {
        name: code.map_or_else(|| "?".to_owned(), |code| code.function.clone()),
        file: code.map(|code| code.file.clone()),
        line: (call.line != 0).then_some(call.line),
        defined: code.and_then(|code| code.line),
        real: true,
        script: true,
        ..Named::default()
    }
}

fn mark() -> Named {
    Named { name: MARK.to_owned(), marks: true, ..Named::default() }
}

/// Whether the native function of this name runs calls.
pub(crate) fn is_evaluation(name: &str) -> bool {
    // Compilers move the cold half of it away, and mark what they changed.
    name.strip_prefix(EVALUATION).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn is_interpreter(module: &str) -> bool {
    module.starts_with("python3") || module.starts_with("libpython3")
}
