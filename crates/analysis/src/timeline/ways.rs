//! The ways by which threads came out of an interpreter into the C function that a
//! call of their program stands at. Whoever waits there again by the same way most
//! likely waits at the same call.

use std::rc::Rc;

use rustc_hash::FxHashMap;
use whyslow_events::{SpaceId, StackId};

use crate::frames::is_system;
use crate::interpreter::{evaluations, is_evaluation};
use crate::tables::{Stack, Tables};

/// From here on it is the interpreter lock that is waited for, whatever for the thread
/// does without it, by the names that CPython exports and those of its inner functions.
const LOCKING: &[&str] = &[
    "PyEval_RestoreThread",
    "PyEval_SaveThread",
    "PyEval_AcquireThread",
    "PyEval_ReleaseThread",
    "_PyThreadState_Attach",
    "_PyThreadState_Detach",
    "take_gil",
    "drop_gil",
];

/// Native frames from the first function of a thread on, in one address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Way(u32);

/// A function, or code that has no name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    Into(SpaceId),
    Function(Rc<str>, Rc<str>),
    Code(u64),
}

/// How a thread came to where it is.
#[derive(Clone, Debug)]
pub(super) struct Came {
    /// To the interpreter, as far in as it runs.
    pub(super) runs: Way,
    /// To the last function that is not about locks, nor of the C library.
    pub(super) by: Way,
    /// To each function beyond the interpreter on that way, and `by` itself.
    pub(super) through: Vec<Way>,
    /// Its calls are as many as its native frames run, or none is known.
    fits: bool,
}

/// All ways, each with a number.
#[derive(Debug, Default)]
pub(super) struct Ways {
    steps: FxHashMap<(Option<Way>, Step), Way>,
    known: FxHashMap<StackId, Option<Rc<Came>>>,
}

impl Ways {
    /// How the thread came that has this stack; `None` without an interpreter in it, and
    /// where its calls do not fit its native frames, if it has any.
    pub(super) fn of(&mut self, id: StackId, tables: &Tables) -> Option<Rc<Came>> {
        self.native(id, tables).filter(|came| came.fits)
    }

    /// The same whatever its calls are, and only where those do not fit.
    pub(super) fn of_unfit(&mut self, id: StackId, tables: &Tables) -> Option<Rc<Came>> {
        self.native(id, tables).filter(|came| !came.fits)
    }

    fn native(&mut self, id: StackId, tables: &Tables) -> Option<Rc<Came>> {
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        let stack = tables.stacks.get(&id)?;
        let came = self.follow(stack, tables).map(Rc::new);
        self.known.insert(id, came.clone());
        came
    }

    fn follow(&mut self, stack: &Stack, tables: &Tables) -> Option<Came> {
        if !stack.end.is_whole() {
            return None;
        }
        let steps: Vec<Step> = stack.user.iter().rev().map(|it| step(tables, stack, *it)).collect();
        let runs = |step: &Step| matches!(step, Step::Function(name, _) if is_evaluation(name));
        let interpreter = steps.iter().rposition(runs)?;
        let natives = steps.iter().filter(|step| runs(step)).count();
        let fits = stack.script.is_empty() || evaluations(&stack.script).len() == natives;
        let beyond = steps[interpreter + 1..].iter().take_while(|step| !is_locking(step)).count();
        let mut by = self.go(None, Step::Into(stack.space));
        let (mut runs, mut through) = (by, Vec::new());
        for (at, step) in steps.into_iter().take(interpreter + 1 + beyond).enumerate() {
            by = self.go(Some(by), step);
            match at {
                _ if at < interpreter => {}
                _ if at == interpreter => runs = by,
                _ => through.push(by),
            }
        }
        if beyond == 0 {
            through.push(by);
        }
        Some(Came { runs, by, through, fits })
    }

    fn go(&mut self, from: Option<Way>, step: Step) -> Way {
        // A recording cannot hold four thousand million of them.
        let next = Way(u32::try_from(self.steps.len()).unwrap_or(u32::MAX));
        *self.steps.entry((from, step)).or_insert(next)
    }
}

fn step(tables: &Tables, stack: &Stack, address: u64) -> Step {
    let names = tables.symbols(Some(stack.space), address, stack.named_at);
    match names.last() {
        Some(frame) => Step::Function(frame.function.as_str().into(), frame.module.as_str().into()),
        None => Step::Code(address),
    }
}

fn is_locking(step: &Step) -> bool {
    let Step::Function(name, module) = step else { return false };
    LOCKING.contains(&&**name) || is_system(crate::frames::base(module))
}
