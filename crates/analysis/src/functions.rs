//! The function table: time of each function alone and with all it calls, by
//! what passed it.
//!
//! The functions of a stack are those of the interpreted program where it runs
//! one: what they call in C is their own time, as far as nobody asks for more.
//! Elsewhere they are those of the user code. What the kernel does is time of
//! the function that called it. Where the calls of an interpreted program were not
//! read they are one function.

mod column;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::ops::Add;

pub use column::{Column, Side};

use crate::State;
use crate::frames::{FrameId, Frames, Named};
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
type Function<'a> = (Cow<'a, str>, Option<&'a str>, Option<u32>);

#[derive(Clone, Debug, Default)]
struct Time {
    alone: Spent,
    total: Spent,
    /// The first line seen.
    line: Option<u32>,
    /// The last piece in which it stands, counted from one.
    seen: usize,
}

/// The table. With `native` the functions below an interpreted call are told apart.
pub(crate) fn functions(
    pieces: &[(Key, Amount)],
    frames: &Frames,
    native: bool,
    order: Order,
) -> Functions {
    let functions = frames.numbered(function);
    let mut times = vec![Time::default(); functions.all.len()];
    let (mut not_read, mut without_stack) = (Time::default(), Spent::default());
    let mut total = Spent::default();
    for (number, (Key { state, place, .. }, Amount { thread_ns, .. })) in pieces.iter().enumerate()
    {
        if *state == State::Idle || *thread_ns == 0 {
            continue;
        }
        total.count(*state, *thread_ns);
        let chain = place.stack().map(|stack| frames.of(stack)).unwrap_or_default();
        let spent = (*state, *thread_ns);
        match calls(chain, frames, native) {
            Calls::NotRead => not_read.add(number, true, spent),
            Calls::Known(calls) if calls.is_empty() => without_stack.count(*state, *thread_ns),
            Calls::Known(calls) => {
                for (depth, frame) in calls.iter().rev().enumerate() {
                    let time = &mut times[functions.of(*frame)];
                    time.line = [time.line, line(frames.get(*frame))].into_iter().flatten().min();
                    time.add(number, depth == 0, spent);
                }
            }
        }
    }
    let of_none: Function<'_> = (NOT_READ.into(), None, None);
    let mut seen: Vec<(Function<'_>, Time)> =
        functions.all.into_iter().zip(times).chain([(of_none, not_read)]).collect();
    seen.retain(|(_, time)| time.seen > 0);
    seen.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut rows: Vec<report::Function> = seen.into_iter().map(row).collect();
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

/// The functions of a stack.
enum Calls {
    /// Outermost first.
    Known(Vec<FrameId>),
    /// Those of an interpreted program.
    NotRead,
}

/// With `native` those of the interpreter and of libraries below a call too.
fn calls(chain: &[FrameId], frames: &Frames, native: bool) -> Calls {
    let such = |is: fn(&Named) -> bool| -> Vec<FrameId> {
        chain.iter().copied().filter(|id| is(frames.get(*id))).collect()
    };
    if !native {
        let scripts = such(|frame| frame.script);
        if !scripts.is_empty() {
            return Calls::Known(scripts);
        }
        if chain.iter().any(|id| is_evaluation(&frames.get(*id).name)) {
            return Calls::NotRead;
        }
    }
    let user = such(|frame| !frame.kernel && !frame.marks);
    // Of a thread of the kernel's, or where only the kernel's half is known.
    let outermost = || chain.first().copied().into_iter().collect();
    Calls::Known(if user.is_empty() { outermost() } else { user })
}

/// Code without symbols is one function for each file.
fn function(frame: &Named) -> Function<'_> {
    match unnamed(frame) {
        Some(module) => (format!("[{module}]").into(), None, None),
        None => (frame.name.as_str().into(), frame.file.as_deref(), frame.defined),
    }
}

fn line(frame: &Named) -> Option<u32> {
    if unnamed(frame).is_some() { None } else { frame.defined.or(frame.line) }
}

/// The file of code without symbols.
fn unnamed(frame: &Named) -> Option<&str> {
    if frame.real || frame.script {
        return None;
    }
    frame.name.rsplit_once("+0x").map(|(module, _)| module)
}

fn row(((function, file, _), time): (Function<'_>, Time)) -> report::Function {
    let Time { alone, total, line, .. } = time;
    let (function, file) = (function.into_owned(), file.map(str::to_owned));
    report::Function { function, file, line, alone, total }
}

impl Time {
    /// Time of a piece, of its own when it is the `innermost`.
    fn add(&mut self, piece: usize, innermost: bool, (state, ns): (State, u64)) {
        if innermost {
            self.alone.count(state, ns);
        }
        // A recursive function counts once.
        if self.seen != piece + 1 {
            self.seen = piece + 1;
            self.total.count(state, ns);
        }
    }
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
