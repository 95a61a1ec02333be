//! Native frames of an interpreter and the calls of the program it runs, made
//! into one stack.
//!
//! Each native evaluation belongs to the calls from one that began it up to the
//! next such. Where there are as many evaluations on the one side as on the
//! other, the calls stand in their place, and the rest of the interpreter's own
//! frames is left out; or both stay, when that is asked for. Where not, the two were read at moments too far apart:
//! both are kept, with a mark between.

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
    let evaluations = native.iter().filter(|frame| is_evaluation(&frame.name)).count();
    if native.is_empty() {
        return calls.into_iter().flatten().map(|call| named(tables, call)).collect();
    }
    if evaluations != calls.len() {
        let calls = calls.into_iter().flatten().map(|call| named(tables, call));
        return calls.chain([mark()]).chain(native).collect();
    }
    calls.reverse();
    let mut merged = Vec::new();
    for frame in native {
        let begins = is_evaluation(&frame.name);
        if all || !(begins || is_interpreter(&frame.module)) {
            merged.push(frame);
        }
        if begins {
            merged.extend(calls.pop().into_iter().flatten().map(|call| named(tables, call)));
        }
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
