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

use crate::frames::{FrameId, Named, Naming};

/// The C function that runs calls, in every CPython there is.
const EVALUATION: &str = "_PyEval_EvalFrameDefault";

/// Stands between calls and native frames that do not fit them.
const MARK: &str = "[native, of another moment]";

/// `native` user frames, outermost first, merged with `script`, innermost first.
/// The interpreter's own are left out unless `all` are wanted.
pub(crate) fn merge(
    naming: &mut Naming<'_>,
    native: Vec<FrameId>,
    script: &[ScriptFrame],
    all: bool,
) -> Vec<FrameId> {
    let mut calls: Vec<Vec<FrameId>> = Vec::new();
    for evaluation in evaluations(script) {
        calls.push(evaluation.into_iter().map(|call| naming.call(call)).collect());
    }
    if native.is_empty() {
        return calls.concat();
    }
    let mark = naming.frame(Named { name: MARK.to_owned(), marks: true, ..Named::default() });
    let begins = |frame: &FrameId| is_evaluation(&naming.get(*frame).name);
    let kept =
        |frame: &FrameId| all || !(begins(frame) || is_interpreter(&naming.get(*frame).module));
    if native.iter().filter(|frame| begins(frame)).count() != calls.len() {
        let within = native.iter().position(begins).unwrap_or(0);
        let (around, within) = native.split_at(within);
        let kept = |frames: &[FrameId]| frames.iter().copied().filter(kept).collect::<Vec<_>>();
        return [kept(around), calls.concat(), vec![mark], kept(within)].concat();
    }
    calls.reverse();
    let mut merged = Vec::new();
    for frame in native {
        let calls = if begins(&frame) { calls.pop() } else { None };
        if kept(&frame) {
            merged.push(frame);
        }
        merged.extend(calls.into_iter().flatten());
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

/// Whether the native function of this name runs calls.
pub(crate) fn is_evaluation(name: &str) -> bool {
    // Compilers move the cold half of it away, and mark what they changed.
    name.strip_prefix(EVALUATION).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn is_interpreter(module: &str) -> bool {
    module.starts_with("python3") || module.starts_with("libpython3")
}
