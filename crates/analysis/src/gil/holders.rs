//! Who held a GIL when, from what is certain at single instants: who passed it on
//! to whom, who blocked, and what looks from outside saw.

/// Something that is known of a GIL at an instant. Threads are indices into
/// [`crate::timeline::Timeline::threads`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// One had it until now, and woke another that gets it.
    Passes { from: u32, to: u32 },
    /// One has it from now on.
    Takes(u32),
    /// One went to wait, and let go of it before if it had it.
    Leaves(u32),
    /// One comes from a wait, and did not have it before.
    Arrives,
    /// A look saw it held by this thread, or free.
    Seen(Option<u32>),
}

/// A thread had the GIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) thread: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Now {
    NotKnown,
    Free,
    By(u32),
}

/// When it was held by whom, from `start` to `end`, from `marks` in order. Between two marks
/// that name different threads it changed hands unseen: each gets half.
pub(super) fn held(marks: &[(u64, Mark)], start: u64, end: u64) -> Vec<Held> {
    let mut held = Vec::new();
    let (mut now, mut since) = (Now::NotKnown, start);
    for (time, mark) in marks {
        let before = match mark {
            Mark::Passes { from, .. } => Now::By(*from),
            Mark::Seen(Some(thread)) => Now::By(*thread),
            Mark::Seen(None) => Now::Free,
            Mark::Takes(_) | Mark::Leaves(_) | Mark::Arrives => Now::NotKnown,
        };
        let change = match (now, before) {
            (_, Now::NotKnown) => *time,
            (Now::NotKnown, _) => since,
            (now, before) if now == before => *time,
            _ => since.midpoint(*time),
        };
        add(&mut held, now, since, change);
        add(&mut held, before, change, *time);
        let next = match mark {
            Mark::Passes { to, .. } => Now::By(*to),
            Mark::Takes(thread) => Now::By(*thread),
            Mark::Leaves(thread) if now == Now::By(*thread) => Now::NotKnown,
            Mark::Leaves(_) | Mark::Arrives => now,
            Mark::Seen(_) => before,
        };
        (now, since) = (next, *time);
    }
    add(&mut held, now, since, end);
    held
}

fn add(held: &mut Vec<Held>, by: Now, start: u64, end: u64) {
    let Now::By(thread) = by else { return };
    match held.last_mut() {
        _ if start >= end => {}
        Some(last) if last.thread == thread && last.end == start => last.end = end,
        _ => held.push(Held { start, end, thread }),
    }
}

/// The parts of `start..end` in which somebody had it.
pub(super) fn within(held: &[Held], start: u64, end: u64) -> impl Iterator<Item = Held> {
    let first = held.partition_point(|held| held.end <= start);
    held[first..].iter().take_while(move |held| held.start < end).map(move |held| Held {
        start: held.start.max(start),
        end: held.end.min(end),
        thread: held.thread,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(marks: &[(u64, Mark)]) -> Vec<(u64, u64, u32)> {
        held(marks, 0, 100).into_iter().map(|held| (held.start, held.end, held.thread)).collect()
    }

    #[test]
    fn it_passes_from_hand_to_hand() {
        let marks = [
            (10, Mark::Leaves(2)),
            (20, Mark::Passes { from: 1, to: 2 }),
            (21, Mark::Leaves(1)),
            (40, Mark::Passes { from: 2, to: 1 }),
            (60, Mark::Leaves(1)),
        ];
        assert_eq!(parts(&marks), [(10, 20, 1), (20, 40, 2), (40, 60, 1)]);
    }

    #[test]
    fn who_is_seen_has_it_as_far_as_nobody_else_is_known() {
        let marks = [(10, Mark::Arrives), (20, Mark::Seen(Some(1))), (30, Mark::Seen(Some(1)))];
        assert_eq!(parts(&marks), [(10, 100, 1)]);
        let marks = [(20, Mark::Seen(Some(1))), (40, Mark::Seen(Some(2))), (60, Mark::Seen(None))];
        assert_eq!(parts(&marks), [(0, 30, 1), (30, 50, 2)]);
    }

    #[test]
    fn one_that_comes_first_and_keeps_it_is_known_by_what_it_passes_on() {
        let marks = [
            (10, Mark::Passes { from: 1, to: 2 }),
            // A third was faster.
            (12, Mark::Leaves(2)),
            (50, Mark::Passes { from: 3, to: 2 }),
            (60, Mark::Leaves(2)),
        ];
        assert_eq!(parts(&marks), [(0, 10, 1), (10, 12, 2), (12, 50, 3), (50, 60, 2)]);
    }

    #[test]
    fn one_may_block_and_keep_it() {
        let marks = [
            (10, Mark::Takes(1)),
            (20, Mark::Leaves(1)),
            (30, Mark::Leaves(2)),
            (40, Mark::Seen(Some(1))),
        ];
        assert_eq!(parts(&marks), [(10, 20, 1), (30, 100, 1)]);
    }

    #[test]
    fn parts_are_cut_to_what_is_asked() {
        let held = held(&[(10, Mark::Takes(1)), (20, Mark::Passes { from: 1, to: 2 })], 0, 30);
        let parts: Vec<_> = within(&held, 15, 25).map(|held| (held.start, held.end)).collect();
        assert_eq!(parts, [(15, 20), (20, 25)]);
        assert_eq!(within(&held, 30, 40).count() + within(&held, 0, 10).count(), 0);
    }
}
