//! The time away from the poll, round by round.

use std::ops::Range;

use super::calls::Calls;
use crate::State;
use crate::account::Account;
use crate::timeline::{Doing, Thread};

/// A loop that says it began a round this long after its poll, ns, began another
/// round meanwhile. Before, it only came back from the poll.
const BACK_FROM_POLL: u64 = 1_000_000;
/// A thread that waits for the interpreter lock runs no longer in between, ns.
const GLIMPSE: u64 = 100_000;

/// One round of the loop, from one poll to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Round {
    /// On the events' clock.
    pub(super) span: Range<u64>,
    /// The loop told when it began: it is one round, and no less.
    pub(super) told: bool,
    /// Names of the tasks that were seen in it, the longest first.
    pub(super) tasks: Vec<(u64, String)>,
}

impl Round {
    pub(super) fn length(&self) -> u64 {
        self.span.end - self.span.start
    }
}

/// The rounds of a loop.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    pub(super) seen: Vec<Round>,
    /// All time between polls, rounds that nothing tells of included.
    pub(super) away: u64,
}

impl Rounds {
    /// The rounds of `thread`, whose `polls` are known by their index. What was
    /// before the first and after the last is no round, unless the loop said so, or
    /// a callback waited.
    pub(super) fn of(
        thread: &Thread,
        accounts: &[Account],
        calls: &Calls<'_>,
        polls: &[usize],
    ) -> Rounds {
        let mut rounds = Rounds::default();
        let first = polls.first().map_or(thread.end, |index| thread.intervals[*index].start);
        rounds.unbounded(thread, calls, thread.start..first);
        for pair in polls.windows(2) {
            let span = thread.end_of(pair[0])..thread.intervals[pair[1]].start;
            if span.is_empty() {
                continue;
            }
            rounds.away += span.end - span.start;
            let lost = thread.intervals[pair[0]..pair[1]]
                .iter()
                .any(|interval| matches!(interval.doing, Doing::Unknown | Doing::Undetermined));
            if !lost {
                rounds.between(thread, accounts, pair[0] + 1, span);
            }
        }
        if let Some(last) = polls.last() {
            rounds.unbounded(thread, calls, thread.end_of(*last)..thread.end);
        }
        rounds
    }

    /// The rounds between two polls that waited; `index` is the first interval.
    fn between(&mut self, thread: &Thread, accounts: &[Account], index: usize, span: Range<u64>) {
        let told = told(thread, &span);
        let back = span.start + BACK_FROM_POLL;
        let waited = waited_for_lock(thread, accounts, index, &span);
        let back = back.max(waited + BACK_FROM_POLL);
        let begun = told.iter().position(|round| round.since > back).unwrap_or(told.len());
        let (first, others) = told.split_at(begun);
        let ends = others.first().map_or(span.end, |next| next.since);
        match (first.last(), others.is_empty()) {
            // Nobody looked: one round, as far as we know.
            (None, true) => self.push(span.clone(), None),
            (None, false) => self.push(span.start..waited.max(span.start), None),
            (Some(last), _) => {
                let tasks = first.iter().flat_map(|round| round.tasks.clone()).collect();
                self.push(filled(span.start..last.until, ends), Some(tasks));
            }
        }
        self.tell(others, span.end);
    }

    /// Rounds that no poll bounds.
    fn unbounded(&mut self, thread: &Thread, calls: &Calls<'_>, span: Range<u64>) {
        let told = told(thread, &span);
        match told.first() {
            // It may have begun before the window.
            Some(first) => {
                let until = told.last().map_or(first.until, |last| last.until);
                self.away += until - first.since;
            }
            None => self.waited(thread, calls, &span),
        }
        let end = told.last().map_or(span.end, |last| last.until);
        self.tell(&told, end);
    }

    /// A wait in a callback is in one round, which lasts at least as long.
    fn waited(&mut self, thread: &Thread, calls: &Calls<'_>, span: &Range<u64>) {
        let inside =
            thread.spans().filter(|(start, end, _)| span.start <= *start && *end <= span.end);
        for (start, end, interval) in inside {
            if matches!(interval.doing, Doing::Blocked(_)) && calls.calls_back(interval.stack) {
                self.away += end - start;
                self.push(start..end, None);
            }
        }
    }

    fn tell(&mut self, told: &[Told], end: u64) {
        for (index, round) in told.iter().enumerate() {
            let next = told.get(index + 1).map_or(end, |next| next.since);
            self.push(filled(round.since..round.until, next), Some(round.tasks.clone()));
        }
    }

    /// A round with these tasks, if the loop told of it.
    fn push(&mut self, span: Range<u64>, tasks: Option<Vec<(u64, String)>>) {
        let told = tasks.is_some();
        let mut tasks = tasks.unwrap_or_default();
        tasks.sort_by_key(|(seen, _)| std::cmp::Reverse(*seen));
        if !span.is_empty() {
            self.seen.push(Round { span, told, tasks });
        }
    }
}

/// A round that was seen for longer than what is left until `next` is taken to
/// last until then.
fn filled(span: Range<u64>, next: u64) -> Range<u64> {
    let left = next.saturating_sub(span.end);
    if left <= span.end.saturating_sub(span.start) { span.start..next.max(span.end) } else { span }
}

/// A round that the loop told of.
#[derive(Clone, Debug)]
struct Told {
    since: u64,
    /// When it was last seen.
    until: u64,
    /// The tasks, each with how often it was seen.
    tasks: Vec<(u64, String)>,
}

fn told(thread: &Thread, span: &Range<u64>) -> Vec<Told> {
    let from = thread.turns.partition_point(|turn| turn.time < span.start);
    let turns = thread.turns[from..].iter().take_while(|turn| turn.time < span.end);
    let mut told: Vec<Told> = Vec::new();
    for turn in turns {
        // No round began after it was seen.
        let Some(since) = turn.saw.since.filter(|since| since.0 <= turn.time) else { continue };
        let since = since.0.clamp(span.start, turn.time);
        let round = match told.last_mut() {
            // A clock that went back is none.
            Some(round) if since <= round.since => round,
            _ => {
                told.push(Told { since, until: turn.time, tasks: Vec::new() });
                let last = told.len() - 1;
                &mut told[last]
            }
        };
        round.until = settled(thread, turn.time).min(span.end);
        if let Some(name) = &turn.saw.task {
            match round.tasks.iter_mut().find(|(_, task)| task == name) {
                Some((seen, _)) => *seen += 1,
                None => round.tasks.push((1, name.clone())),
            }
        }
    }
    told
}

/// Until when a thread seen at `time` surely was in the same round: while it is off
/// the CPU it begins none.
fn settled(thread: &Thread, time: u64) -> u64 {
    let after = thread.intervals.partition_point(|interval| interval.start <= time);
    match thread.intervals.get(after.saturating_sub(1)).map(|interval| interval.doing) {
        Some(Doing::Blocked(_) | Doing::Stopped | Doing::Runq { .. }) => {
            thread.end_of(after.saturating_sub(1)).max(time)
        }
        _ => time,
    }
}

/// Until when the thread, back from the poll, waited for the interpreter lock
/// or a CPU.
fn waited_for_lock(thread: &Thread, accounts: &[Account], index: usize, span: &Range<u64>) -> u64 {
    let mut until = span.start;
    for ((start, end, _), account) in thread.spans().zip(accounts).skip(index) {
        let end = end.min(span.end);
        let waits = matches!(
            account.state,
            State::LockGil | State::RunqPreempted | State::RunqWaking | State::RunqThrottled
        );
        if start >= span.end || (!waits && end.saturating_sub(start) > GLIMPSE) {
            break;
        }
        if waits {
            until = end;
        }
    }
    until
}
