//! Event loops: threads that again and again wait for whatever comes first.
//! `calls` tells from a stack what part of the loop runs, `rounds` how long the
//! loop was away from its poll each time, `stalls` who kept it away.
//!
//! A poll that returns at once blocks nobody and leaves no trace. So a round is
//! the time between two polls that waited, unless the loop's own note of when it
//! began ([`whyslow_events::LoopTurn`]) tells more: then only what one round is
//! seen to last counts as that round, and the rest is `unseen`.

mod calls;
mod rounds;
mod stalls;
mod uvloop;

#[cfg(test)]
mod tests;

use std::ops::Range;

use whyslow_events::{Object, StackId, TcpRole};

use crate::account::Account;
use crate::frames::Frames;
use crate::percentile::percentile;
use crate::report::{Away, Concurrency, EventLoop};
use crate::tables::Tables;
use crate::timeline::{Doing, Thread, Timeline};
use calls::{Calls, Kind};
use rounds::Rounds;

pub(crate) use calls::Part;

/// A round this long holds up whatever else has come, ns.
const LONG_ROUND: u64 = 10_000_000;
/// So does a single one this long, ns.
const LONGEST_ROUND: u64 = 100_000_000;
/// Loops that are reported: those that were away longest.
const LOOPS: usize = 64;
/// Polls that make a loop.
const AGAIN: usize = 2;

/// The loop that a thread runs.
#[derive(Debug)]
pub(crate) struct Looped<'a> {
    calls: Calls<'a>,
    row: EventLoop,
    /// Its rounds that are known from end to end, on the events' clock.
    rounds: Vec<Range<u64>>,
}

impl Looped<'_> {
    /// Whether it is one that runs Python.
    pub(crate) fn is_python(&self) -> bool {
        self.calls.kind() != Kind::Native
    }

    /// How many of what began at these times, in order, come in one round of the loop, each for
    /// a task of its own: in nearly all rounds no more. `None` where no round is known.
    pub(crate) fn at_once(&self, begun: &[u64]) -> Option<u64> {
        const NEARLY_ALL: usize = 90;
        let before = |end: u64| begun.partition_point(|time| *time < end);
        let within = |round: &Range<u64>| before(round.end) - before(round.start);
        let mut counts: Vec<u64> =
            self.rounds.iter().map(|round| within(round) as u64).filter(|it| *it > 0).collect();
        counts.sort_unstable();
        let tasks = self.row.concurrency.as_ref().and_then(|it| it.tasks).unwrap_or(u64::MAX);
        (!counts.is_empty()).then(|| percentile(&counts, NEARLY_ALL).min(tasks))
    }

    /// What part of a loop in Python runs in a stack; `None` of other loops.
    pub(crate) fn part(&self, stack: StackId) -> Option<Part> {
        self.is_python().then(|| self.calls.part(Some(stack)))
    }
}

/// The event loop of each thread, if it runs one.
pub(crate) fn by_thread<'a>(
    tables: &'a Tables,
    timeline: &Timeline,
    accounts: &[Vec<Account>],
    frames: &Frames,
) -> Vec<Option<Looped<'a>>> {
    let threads = timeline.threads.iter().zip(accounts);
    threads.map(|(thread, accounts)| event_loop(tables, thread, accounts, frames)).collect()
}

/// What the report says of them, the one with the longest round first.
pub(crate) fn rows(loops: &[Option<Looped<'_>>]) -> Vec<EventLoop> {
    let mut rows: Vec<EventLoop> = loops.iter().flatten().map(|found| found.row.clone()).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.away.max_ns));
    rows.truncate(LOOPS);
    rows
}

fn event_loop<'a>(
    tables: &'a Tables,
    thread: &Thread,
    accounts: &[Account],
    frames: &Frames,
) -> Option<Looped<'a>> {
    let calls = Calls::of(tables, thread)?;
    let polls = calls.polls(thread);
    let known = match calls.kind() {
        Kind::Asyncio => !polls.is_empty() || !thread.turns.is_empty(),
        // Its code runs the program's.
        Kind::Uvloop => true,
        Kind::Native => false,
    };
    if polls.len() < AGAIN && !known {
        return None;
    }
    let rounds = Rounds::of(thread, accounts, &calls, &polls);
    let away = away(&rounds);
    let long: Vec<_> = rounds.seen.iter().filter(|round| round.length() >= LONG_ROUND).collect();
    let row = EventLoop {
        pid: thread.pid.0,
        tid: thread.tid.0,
        thread: thread.name.clone(),
        kind: calls.kind().as_str().to_owned(),
        iterations: rounds.seen.len() as u64,
        blocked: away.p50_ns >= LONG_ROUND || away.max_ns >= LONGEST_ROUND,
        away,
        stalls: stalls::stalls(&calls, thread, accounts, &long, frames),
        concurrency: concurrency(tables, thread, &polls),
    };
    let rounds = rounds.seen.iter().filter(|round| round.told).map(|round| round.span.clone());
    Some(Looped { calls, row, rounds: rounds.collect() })
}

fn away(rounds: &Rounds) -> Away {
    let mut lengths: Vec<u64> = rounds.seen.iter().map(rounds::Round::length).collect();
    lengths.sort_unstable();
    let seen: u64 = lengths.iter().sum();
    Away {
        p50_ns: percentile(&lengths, 50),
        p99_ns: percentile(&lengths, 99),
        max_ns: percentile(&lengths, 100),
        total_ns: rounds.away,
        unseen_ns: rounds.away.saturating_sub(seen),
    }
}

/// What the loop had on its hands, as far as anything tells.
fn concurrency(tables: &Tables, thread: &Thread, polls: &[usize]) -> Option<Concurrency> {
    let watched = polls.iter().filter_map(|index| {
        let Doing::Blocked(wait) = thread.intervals[*index].doing else { return None };
        match &tables.sites.get(&wait.site?)?.object {
            Object::Set { members, complete: true } => Some(connections(members)),
            _ => None,
        }
    });
    let connections = watched.max();
    let tasks = thread.turns.iter().filter_map(|turn| turn.saw.tasks).max().map(u64::from);
    (connections.is_some() || tasks.is_some()).then_some(Concurrency { connections, tasks })
}

/// The connections among what is watched: neither doors nor what wakes the loop up,
/// which is a pipe, an event or a socket without a name.
fn connections(members: &[Object]) -> u64 {
    let one = |member: &Object| match member {
        Object::Set { members, .. } => connections(members),
        Object::Tcp { role, .. } => u64::from(*role != TcpRole::Listening),
        Object::Udp { .. } => 1,
        Object::Unix { listening, path, .. } => u64::from(!listening && !path.is_empty()),
        _ => 0,
    };
    members.iter().map(one).sum()
}
