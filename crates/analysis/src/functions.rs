//! The function table: time of each function alone and with all it calls, by
//! what passed it.
//!
//! The functions of a stack are those of the interpreted program where it runs
//! one: what they call in C is their own time, as far as nobody asks for more.
//! Elsewhere they are those of the user code. What the kernel does is time of
//! the function that called it. Where the calls of an interpreted program were not
//! read they are one function.

mod column;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Add;

pub use column::{Column, Side};

use crate::State;
use crate::frames::{Frames, Named};
use crate::interpreter::is_evaluation;
use crate::pieces::{Amount, Key};
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

/// Calls of an interpreted program that are not known.
const NOT_READ: &str = "[calls not read]";

/// Name, file and, where an interpreter tells, the line on which it begins: of one
/// name in one file there may be several.
type Function = (String, Option<String>, Option<u32>);

/// A function in a stack, and the line it is at.
type Call = (Function, Option<u32>);

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
        let chain = place.stack().map(|stack| frames.of(stack)).unwrap_or_default();
        let named: Vec<&Named> = chain.iter().map(|id| frames.get(*id)).collect();
        let calls = if native { native_calls(&named) } else { calls(&named) };
        if !add(&mut sums, &calls, *state, *thread_ns) {
            without_stack.count(*state, *thread_ns);
        }
    }
    let mut rows: Vec<report::Function> = sums.into_iter().map(row).collect();
    // Stable: what is equal stays in the order of the names.
    rows.sort_by_key(|row| Reverse((order.by.of(row), row.alone.total_ns, row.total.total_ns)));
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

/// The functions of a stack, outermost first.
fn calls(chain: &[&Named]) -> Vec<Call> {
    if chain.iter().any(|frame| frame.script) {
        return chain.iter().filter(|frame| frame.script).map(|frame| call(frame)).collect();
    }
    if chain.iter().any(|frame| is_evaluation(&frame.name)) {
        return vec![((NOT_READ.to_owned(), None, None), None)];
    }
    native_calls(chain)
}

/// The same with those of the interpreter and of libraries below a call.
fn native_calls(chain: &[&Named]) -> Vec<Call> {
    let user = chain.iter().filter(|frame| !frame.kernel && !frame.marks);
    let calls: Vec<Call> = user.map(|frame| call(frame)).collect();
    // Of a thread of the kernel's, or where only the kernel's half is known.
    match calls.is_empty() {
        true => chain.first().map(|frame| call(frame)).into_iter().collect(),
        false => calls,
    }
}

/// Code without symbols is one function for each file.
fn call(frame: &Named) -> Call {
    let unnamed = if frame.real || frame.script { None } else { frame.name.rsplit_once("+0x") };
    match unnamed {
        Some((module, _)) => ((format!("[{module}]"), None, None), None),
        None => {
            let function = (frame.name.clone(), frame.file.clone(), frame.defined);
            (function, frame.defined.or(frame.line))
        }
    }
}

/// False when there is no function to add it to.
fn add(sums: &mut BTreeMap<Function, Time>, calls: &[Call], state: State, ns: u64) -> bool {
    // A recursive function counts once.
    let mut seen = BTreeSet::new();
    for (depth, (function, line)) in calls.iter().rev().enumerate() {
        let time = sums.entry(function.clone()).or_default();
        time.line = [time.line, *line].into_iter().flatten().min();
        if depth == 0 {
            time.alone.count(state, ns);
        }
        if seen.insert(function) {
            time.total.count(state, ns);
        }
    }
    !calls.is_empty()
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
