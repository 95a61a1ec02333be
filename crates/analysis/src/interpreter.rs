//! Native frames of an interpreter and the calls of the program it runs, made
//! into one stack.
//!
//! Each native evaluation belongs to the calls from one that began it up to the
//! next such. Where there are as many evaluations on the one side as on the
//! other, the calls stand in their place, and the rest of the interpreter's own
//! frames is left out. Where not, the two were read at moments too far apart:
//! both are kept, with a mark between.

use whyslow_events::ScriptFrame;

use crate::frames::Named;
use crate::tables::Tables;

/// The C function that runs calls, in every CPython there is.
const EVALUATION: &str = "_PyEval_EvalFrameDefault";

/// Stands between calls and native frames that do not fit them.
const MARK: &str = "[native, of another moment]";

/// `native` user frames, outermost first, merged with `script`, innermost first.
pub(crate) fn merge(tables: &Tables, native: Vec<Named>, script: &[ScriptFrame]) -> Vec<Named> {
    let mut calls = evaluations(script);
    let evaluations = native.iter().filter(|frame| is_evaluation(frame)).count();
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
        if is_evaluation(&frame) {
            merged.extend(calls.pop().into_iter().flatten().map(|call| named(tables, call)));
        } else if !is_interpreter(&frame.module) {
            merged.push(frame);
        }
    }
    merged
}

/// The calls of each evaluation, outermost first.
fn evaluations(script: &[ScriptFrame]) -> Vec<Vec<ScriptFrame>> {
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
        module: String::new(),
        kernel: false,
        real: true,
        script: true,
        inlined: false,
    }
}

fn mark() -> Named {
    Named {
        name: MARK.to_owned(),
        file: None,
        line: None,
        module: String::new(),
        kernel: false,
        real: false,
        script: false,
        inlined: false,
    }
}

fn is_evaluation(frame: &Named) -> bool {
    // Compilers move the cold half of it away.
    frame.name == EVALUATION || frame.name.strip_prefix(EVALUATION) == Some(".cold")
}

fn is_interpreter(module: &str) -> bool {
    module.starts_with("python3") || module.starts_with("libpython3")
}
