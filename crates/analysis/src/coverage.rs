//! How much of the time has a call chain, and how far the chains reach. Idle
//! time is left out.

use whyslow_events::StackEnd;

use crate::frames::Frames;
use crate::pieces::{Amount, Key, Place};
use crate::report::{Reach, StackReach};
use crate::tables::Tables;
use crate::{Group, State};

/// Share of the time that has a user frame with a name.
pub(crate) fn named(pieces: &[(Key, Amount)], frames: &Frames) -> f64 {
    let (mut named, mut all) = (0, 0);
    for (key, amount) in at_work(pieces) {
        all += amount.thread_ns;
        if let Some(stack) = key.place.stack()
            && frames.place(stack).is_some()
        {
            named += amount.thread_ns;
        }
    }
    share(named, all)
}

/// How far the chains reach, for computing and for waiting.
pub(crate) fn reach(tables: &Tables, pieces: &[(Key, Amount)]) -> StackReach {
    let of = |cpu| {
        let mine = move |key: &Key| (key.state.group() == Group::Cpu) == cpu;
        reach_of(tables, at_work(pieces).filter(move |(key, _)| mine(key)))
    };
    StackReach { cpu: of(true), waits: of(false) }
}

fn at_work(pieces: &[(Key, Amount)]) -> impl Iterator<Item = &(Key, Amount)> {
    pieces.iter().filter(|(key, _)| key.state != State::Idle)
}

fn reach_of<'a>(tables: &Tables, pieces: impl Iterator<Item = &'a (Key, Amount)>) -> Reach {
    let mut reach = Reach::default();
    let mut all = 0;
    for (key, Amount { thread_ns, .. }) in pieces {
        all += thread_ns;
        let time = *thread_ns as f64;
        let stack = key.place.stack().and_then(|stack| tables.stacks.get(&stack));
        if stack.is_some_and(|stack| stack.inferred) {
            reach.calls_inferred += time;
        }
        let end = match key.place {
            Place::NotBegun => StackEnd::Complete,
            _ => stack.map_or(StackEnd::None, |stack| stack.end),
        };
        match (end, reason(end)) {
            (StackEnd::None, _) => reach.none += time,
            (_, Some(reason)) => *reach.truncated.entry(reason.to_owned()).or_default() += time,
            (end, None) => {
                reach.complete += time;
                match (end, key.place) {
                    (StackEnd::SamePlace, _) | (_, Place::Lent(_)) => reach.lent += time,
                    (StackEnd::Extended, _) => reach.extended += time,
                    _ => {}
                }
            }
        }
    }
    let whole = all.max(1) as f64;
    let Reach { complete, extended, lent, calls_inferred, truncated, none } = &mut reach;
    let parts =
        [complete, extended, lent, calls_inferred, none].into_iter().chain(truncated.values_mut());
    parts.for_each(|part| *part /= whole);
    reach
}

/// Why a chain ends before the thread's first function.
fn reason(end: StackEnd) -> Option<&'static str> {
    match end {
        StackEnd::Complete | StackEnd::Extended | StackEnd::SamePlace | StackEnd::None => None,
        StackEnd::CopyTooShort => Some("copy-too-short"),
        StackEnd::OverBudget => Some("over-budget"),
        StackEnd::SameSite => Some("same-site"),
        StackEnd::Narrow => Some("32-bit"),
        StackEnd::NoUnwindInfo => Some("no-unwind-info"),
        StackEnd::BadUnwindInfo => Some("bad-unwind-info"),
        StackEnd::UnknownRegister => Some("unknown-register"),
        StackEnd::TooDeep => Some("too-deep"),
        StackEnd::FramePointers => Some("frame-pointers"),
    }
}

fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}
