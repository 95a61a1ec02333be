//! What to do, and what that would gain. `gather` takes the facts from the
//! recording; `python` and `other` decide by them, `model` foretells.
//! A prediction is a range, and what is not known is said to be so.

mod antipatterns;
mod facts;
mod gather;
mod model;
mod other;
mod python;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use gather::Inputs;

use std::fmt::Display;

use crate::frames::Frames;
use crate::report::Prescription;
use facts::{Facts, Process, Worker};
use words::span;

/// Shorter programs tell nothing of what a longer one would do.
const TOO_SHORT: u64 = 100_000_000;
/// From this part of all work on, in CPython, the program is one of Python.
const PYTHON: f64 = 0.5;

pub(crate) fn prescribe(inputs: &Inputs<'_>, frames: &Frames) -> Prescription {
    prescription(&gather::facts(inputs, frames))
}

fn prescription(facts: &Facts<'_>) -> Prescription {
    if facts.wall_ns < TOO_SHORT {
        return unknown(format!("too short: {} of it", span(facts.wall_ns as f64)));
    }
    let work = |process: &Process| process.sum(Worker::work) as f64;
    let all: f64 = facts.processes.iter().map(work).sum();
    let python: f64 = facts.processes.iter().filter(|it| it.python).map(work).sum();
    if python > 0.0 && python >= all * PYTHON {
        python::prescription(facts)
    } else {
        other::prescription(facts)
    }
}

/// With what is known of every prescription.
fn prescribed(model: &str, because: Vec<String>) -> Prescription {
    Prescription {
        model: model.to_owned(),
        because,
        predicted: None,
        rejected: Vec::new(),
        antipatterns: Vec::new(),
    }
}

fn unknown(why: impl Display) -> Prescription {
    prescribed("unknown", vec![format!("not enough evidence: {why}")])
}
