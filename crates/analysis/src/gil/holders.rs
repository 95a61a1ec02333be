//! Who held a GIL while somebody waited for it.
//!
//! Who lets go of a GIL wakes one that waits for it, and who is made to let go waits
//! until it is taken. So as long as somebody waits, it changes hands at such instants,
//! and between two of them it is with who lets go at the second. Only one that is
//! awake for a moment, to ask again, can get it unseen: that it has it shows when it
//! goes on. What is not told by that, looks from outside tell; while nobody waits, they
//! alone do, and then nobody is to blame.

use std::ops::Range;

/// A GIL that is free no longer than this was on its way, ns.
const BRIEF: u64 = 200_000;
/// A look says nothing of an instant farther away, ns.
const NEAR: u64 = 20_000_000;

/// What is known of a GIL. Threads are indices into
/// [`crate::timeline::Timeline::threads`]; all lists are in order of time.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Somebody waits for it. These do not overlap.
    pub(super) wanted: Vec<Range<u64>>,
    /// One lets go of it.
    pub(super) drops: Vec<Drop>,
    /// One has it from now on.
    pub(super) takes: Vec<(u64, u32)>,
    /// A look saw it held by this thread, or free.
    pub(super) seen: Vec<(u64, By)>,
}

/// One lets go of a GIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Drop {
    pub(super) time: u64,
    pub(super) by: u32,
    /// Whom it woke.
    pub(super) woken: Option<u32>,
}

/// Who has a GIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Thread(u32),
    /// It is on its way.
    Nobody,
    NotKnown,
}

/// A time in which somebody waited for a GIL, and who had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) by: By,
    /// Looks alone tell.
    pub(super) looked: bool,
}

/// When a thread last came back from a wait within a time, if it waited.
pub(super) struct Back {
    /// From any.
    pub(super) any: Option<u64>,
    /// From one for a GIL.
    pub(super) gil: Option<u64>,
}

/// Who had it whenever it was wanted.
pub(super) fn held(facts: &Facts, back: impl Fn(u32, &Range<u64>) -> Back) -> Vec<Held> {
    let mut held = Vec::new();
    for wanted in &facts.wanted {
        let mut from = wanted.start;
        let mut woken = None;
        let first = facts.drops.partition_point(|drop| drop.time <= wanted.start);
        for drop in facts.drops[first..].iter().take_while(|drop| drop.time <= wanted.end) {
            let span = from..drop.time;
            let mut takes = in_span(&facts.takes, &span).to_vec();
            if takes.last().is_none_or(|(_, thread)| *thread != drop.by) {
                let back = back(drop.by, &span);
                // That it waited for another thing says nothing: nobody has let go of it
                // since the first came to wait.
                let taken = if from == wanted.start { back.gil } else { back.any };
                takes.push((taken.unwrap_or(from), drop.by));
                takes.sort_by_key(|(time, _)| *time);
            }
            facts.piece(&span, &takes, woken, &mut held);
            (from, woken) = (drop.time, drop.woken);
        }
        let rest = from..wanted.end;
        facts.piece(&rest, in_span(&facts.takes, &rest), woken, &mut held);
    }
    held
}

impl Facts {
    /// Who had it in `span`, given who took it when; `woken` was woken at its beginning.
    fn piece(
        &self,
        span: &Range<u64>,
        takes: &[(u64, u32)],
        woken: Option<u32>,
        held: &mut Vec<Held>,
    ) {
        let (first, taker) = takes.first().copied().unzip();
        let first = first.unwrap_or(span.end);
        let on_its_way = taker.is_some() && (taker == woken || first - span.start <= BRIEF);
        if on_its_way {
            push(held, span.start, first, By::Nobody);
        } else {
            self.looks(span.start..first, held);
        }
        let ends = takes.iter().skip(1).map(|(time, _)| *time).chain([span.end]);
        for ((time, thread), end) in takes.iter().zip(ends) {
            push(held, *time, end, By::Thread(*thread));
        }
    }

    /// Who had it in `span` as looks saw it.
    fn looks(&self, span: Range<u64>, held: &mut Vec<Held>) {
        let mut from = span.start;
        let looks = in_span(&self.seen, &span);
        for (index, (time, by)) in looks.iter().enumerate() {
            let start = from.max(time.saturating_sub(NEAR));
            let next = looks.get(index + 1).map_or(span.end, |(next, _)| time.midpoint(*next));
            let end = next.min(time.saturating_add(NEAR));
            push(held, from, start, By::NotKnown);
            add(held, Held { start, end, by: *by, looked: true });
            from = end;
        }
        push(held, from, span.end, By::NotKnown);
    }
}

fn in_span<'a, T>(facts: &'a [(u64, T)], span: &Range<u64>) -> &'a [(u64, T)] {
    let first = facts.partition_point(|(time, _)| *time < span.start);
    let last = facts.partition_point(|(time, _)| *time < span.end);
    &facts[first..last.max(first)]
}

fn push(held: &mut Vec<Held>, start: u64, end: u64, by: By) {
    add(held, Held { start, end, by, looked: false });
}

fn add(held: &mut Vec<Held>, next: Held) {
    let joins =
        |last: &Held| (last.by, last.looked, last.end) == (next.by, next.looked, next.start);
    match held.last_mut() {
        _ if next.start >= next.end => {}
        Some(last) if joins(last) => last.end = next.end,
        _ => held.push(next),
    }
}

/// The parts of `start..end` of which something is known.
pub(super) fn within(held: &[Held], start: u64, end: u64) -> impl Iterator<Item = Held> {
    let first = held.partition_point(|held| held.end <= start);
    held[first..].iter().take_while(move |held| held.start < end).map(move |held| Held {
        start: held.start.max(start),
        end: held.end.min(end),
        ..*held
    })
}

/// Of `spans`, in any order, what they cover.
pub(super) fn union(mut spans: Vec<Range<u64>>) -> Vec<Range<u64>> {
    spans.sort_unstable_by_key(|span| span.start);
    let mut union: Vec<Range<u64>> = Vec::new();
    for span in spans.into_iter().filter(|span| !span.is_empty()) {
        match union.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => union.push(span),
        }
    }
    union
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `(start, end, thread)`: -1 for nobody, -2 where it is not known.
    fn parts(facts: &Facts, back: impl Fn(u32) -> [Option<u64>; 2]) -> Vec<(u64, u64, i64)> {
        let by = |by: By| match by {
            By::Thread(thread) => i64::from(thread),
            By::Nobody => -1,
            By::NotKnown => -2,
        };
        let back = |thread: u32, _: &Range<u64>| {
            let [any, gil] = back(thread);
            Back { any, gil }
        };
        held(facts, back).into_iter().map(|held| (held.start, held.end, by(held.by))).collect()
    }

    fn runs(_: u32) -> [Option<u64>; 2] {
        [None; 2]
    }

    fn one(span: Range<u64>) -> Vec<Range<u64>> {
        std::iter::once(span).collect()
    }

    fn drop(time: u64, by: u32, woken: u32) -> Drop {
        Drop { time, by, woken: Some(woken) }
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn who_lets_go_of_it_had_it_since_somebody_waited() {
        let (wanted, drops) = (vec![10..20, 30..45], vec![drop(20, 1, 2), drop(45, 2, 1)]);
        let facts = Facts { wanted, drops, ..Facts::default() };
        assert_eq!(parts(&facts, runs), [(10, 20, 1), (30, 45, 2)]);
        // That it blocked meanwhile changes nothing: it kept it.
        assert_eq!(parts(&facts, |_| [Some(40), None]), [(10, 20, 1), (30, 45, 2)]);
    }

    #[test]
    fn who_gets_it_next_has_it_when_it_runs() {
        let drops = vec![drop(20 * MS, 1, 2), drop(50 * MS, 2, 3)];
        let facts = Facts { wanted: one(10 * MS..50 * MS), drops, ..Facts::default() };
        let back = |_| [Some(24 * MS); 2];
        let first = (10 * MS, 20 * MS, 1);
        let all = [first, (20 * MS, 24 * MS, -1), (24 * MS, 50 * MS, 2)];
        assert_eq!(parts(&facts, |thread| if thread == 1 { runs(1) } else { back(2) }), all);
        let facts = Facts { takes: vec![(22 * MS, 2)], ..facts };
        assert_eq!(parts(&facts, runs), [first, (20 * MS, 22 * MS, -1), (22 * MS, 50 * MS, 2)]);
    }

    #[test]
    fn who_took_it_keeps_it_until_another_takes_it() {
        let facts = Facts {
            wanted: one(10..50),
            drops: vec![drop(20, 1, 2), drop(50, 3, 1)],
            takes: vec![(25, 2)],
            ..Facts::default()
        };
        // Nobody saw 2 let go of it: 3 was awake just then.
        let back = |thread| if thread == 3 { [Some(48); 2] } else { [None; 2] };
        assert_eq!(parts(&facts, back), [(10, 20, 1), (20, 25, -1), (25, 48, 2), (48, 50, 3)]);
    }

    #[test]
    fn who_had_it_before_one_that_nobody_woke_is_not_known() {
        let drops = vec![drop(20 * MS, 1, 2), drop(50 * MS, 3, 1)];
        let facts = Facts { wanted: one(10 * MS..50 * MS), drops, ..Facts::default() };
        let back = |thread| if thread == 3 { [Some(48 * MS); 2] } else { [None; 2] };
        let after = [(20 * MS, 48 * MS, -2), (48 * MS, 50 * MS, 3)];
        assert_eq!(parts(&facts, back)[1..], after);
        let facts = Facts { seen: vec![(30 * MS, By::Thread(2))], ..facts };
        let after = [(20 * MS, 48 * MS, 2), (48 * MS, 50 * MS, 3)];
        assert_eq!(parts(&facts, back)[1..], after);
    }

    #[test]
    fn where_nothing_else_tells_looks_do() {
        let ms = |ms: u64| ms * MS;
        let seen = vec![(ms(10), By::Thread(1)), (ms(20), By::Thread(2)), (ms(70), By::Nobody)];
        let facts = Facts { wanted: one(0..ms(100)), seen, ..Facts::default() };
        assert_eq!(
            parts(&facts, runs),
            [
                (0, ms(15), 1),
                (ms(15), ms(40), 2),
                (ms(40), ms(50), -2),
                (ms(50), ms(90), -1),
                (ms(90), ms(100), -2),
            ]
        );
    }

    #[test]
    fn parts_are_cut_to_what_is_asked() {
        let drops = vec![drop(20, 1, 2), drop(30, 2, 1)];
        let facts = Facts { wanted: one(10..30), drops, ..Facts::default() };
        let held = held(&facts, |_, _| Back { any: None, gil: None });
        let parts: Vec<_> = within(&held, 15, 25).map(|held| (held.start, held.end)).collect();
        assert_eq!(parts, [(15, 20), (20, 25)]);
        assert_eq!(within(&held, 30, 40).count() + within(&held, 0, 10).count(), 0);
    }

    #[test]
    fn spans_that_touch_are_one() {
        assert_eq!(union(vec![5..9, 1..3, 3..4, 8..12, 20..20]), [1..4, 5..12]);
    }
}
