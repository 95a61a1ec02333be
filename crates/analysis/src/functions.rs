//! The function table: time of each function alone and with all it calls, by
//! what passed it.
//!
//! The functions of a stack are those of the interpreted program where it runs
//! one: what they call in C is their own time, as far as nobody asks for more.
//! Elsewhere they are those of the user code. What the kernel does is time of
//! the function that called it.

mod column;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Add;

pub use column::{Column, Side};

use crate::State;
use crate::frames::{Frames, Named};
use crate::pieces::{Amount, Key, Place};
use crate::report::{self, Functions, Spent};

/// What is asked of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its rows are sorted by this, the largest first.
    pub by: Column,
    /// Rows at most; the others are summed up.
    pub limit: usize,
}

impl Default for Order {
    fn default() -> Self {
        Order { by: Column::default(), limit: 500 }
    }
}

/// Tells one function from another. Of functions of one name in one file, those of
/// a program that an interpreter runs differ in where they begin.
type Function = (String, Option<String>, Option<u32>);

#[derive(Debug, Default)]
struct Time {
    alone: Spent,
    total: Spent,
    /// The first line seen.
    line: Option<u32>,
}

/// The table. With `native` the functions below an interpreted call are told apart.
pub(crate) fn functions(
    pieces: &[(Key, Amount)],
    frames: &mut Frames<'_>,
    native: bool,
    order: Order,
) -> Functions {
    let mut sums: BTreeMap<Function, Time> = BTreeMap::new();
    let (mut total, mut without_stack) = (Spent::default(), Spent::default());
    for (Key { state, place, .. }, Amount { thread_ns, .. }) in pieces {
        if *state == State::Idle || *thread_ns == 0 {
            continue;
        }
        total.count(*state, *thread_ns);
        let chain = match place {
            Place::Stack(stack) => frames.of(*stack),
            Place::NoStack | Place::NotSampled | Place::Nowhere => Vec::new(),
        };
        let named: Vec<&Named> = chain.iter().map(|id| frames.get(*id)).collect();
        if !add(&mut sums, &counted(&named, native), *state, *thread_ns) {
            without_stack.count(*state, *thread_ns);
        }
    }
    let mut rows: Vec<report::Function> = sums.into_iter().map(row).collect();
    // Stable: what is equal stays in the order of the names.
    rows.sort_by_key(|row| {
        Reverse((order.by.of(row), row.alone.total_ns, row.total.total_ns))
    });
    let others = rows.split_off(order.limit.min(rows.len()));
    let alone = others.iter().fold(Spent::default(), |sum, row| sum + row.alone);
    Functions {
        sort: order.by.key().to_owned(),
        rows,
        others: report::OtherFunctions { count: others.len() as u64, alone },
        without_stack,
        total,
    }
}

/// The frames of a stack that count as functions, outermost first.
fn counted<'a>(chain: &[&'a Named], native: bool) -> Vec<&'a Named> {
    let is_script = !native && chain.iter().any(|frame| frame.script);
    let counts = |frame: &&&Named| match is_script {
        true => frame.script,
        false => !frame.kernel && !frame.marks,
    };
    let functions: Vec<&Named> = chain.iter().filter(counts).copied().collect();
    // Of a thread of the kernel's, or where only the kernel's half is known.
    if functions.is_empty() { chain.first().copied().into_iter().collect() } else { functions }
}

/// False when there is no function to add it to.
fn add(sums: &mut BTreeMap<Function, Time>, chain: &[&Named], state: State, ns: u64) -> bool {
    // A recursive function counts once.
    let mut seen = BTreeSet::new();
    for (depth, frame) in chain.iter().rev().enumerate() {
        let function = identity(frame);
        let time = sums.entry(function.clone()).or_default();
        let line = frame.defined.or(frame.line);
        time.line = [time.line, line].into_iter().flatten().min();
        if depth == 0 {
            time.alone.count(state, ns);
        }
        if seen.insert(function) {
            time.total.count(state, ns);
        }
    }
    !chain.is_empty()
}

/// Code without symbols is one function for each file.
fn identity(frame: &Named) -> Function {
    let unnamed = if frame.real || frame.script { None } else { frame.name.rsplit_once("+0x") };
    match unnamed {
        Some((module, _)) => (format!("[{module}]"), None, None),
        None => (frame.name.clone(), frame.file.clone(), frame.defined),
    }
}

fn row(((function, file, _), time): (Function, Time)) -> report::Function {
    let Time { alone, total, line } = time;
    report::Function { function, file, line, alone, total }
}

impl Spent {
    fn count(&mut self, state: State, ns: u64) {
        self.total_ns += ns;
        *Side::of(state).part_mut(self) += ns;
    }
}

impl Add for Spent {
    type Output = Spent;

    fn add(mut self, other: Spent) -> Spent {
        self.total_ns += other.total_ns;
        for side in Side::ALL {
            *side.part_mut(&mut self) += side.part(&other);
        }
        self
    }
}
