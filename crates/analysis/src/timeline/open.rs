//! Waits that a cut falls into. Who ends such a wait, and often where it is, comes
//! to light after the cut; what was done before it is judged by that all the same.

use rustc_hash::FxHashMap;
use whyslow_events::StackId;

use super::{Doing, Thread};

/// How the waits went on that were open at the ends of segments.
#[derive(Debug, Default)]
pub(super) struct Opens {
    /// By thread number, those still open.
    open: FxHashMap<u32, Open>,
    /// By thread number, in the order of time, where something was learnt.
    learnt: FxHashMap<u32, Vec<Learnt>>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    /// The segment at whose end it was first open.
    since: u32,
    /// What was known then.
    shown: (Doing, Option<StackId>),
}

#[derive(Clone, Copy, Debug)]
struct Learnt {
    /// Segments, at whose ends it was open.
    from: u32,
    to: u32,
    doing: Doing,
    stack: Option<StackId>,
}

impl Opens {
    /// What a thread did in a segment.
    pub(super) fn see(&mut self, thread: &Thread, segment: u32) {
        let mut lasting = thread.spans().filter(|(start, end, _)| end > start);
        let Some((_, _, first)) = lasting.next() else { return };
        let last = lasting.last().map(|(_, _, last)| last);
        let before = self.open.remove(&thread.number);
        let still = thread.open && last.is_none();
        if let (Some(open), true) = (before, still) {
            self.open.insert(thread.number, open);
            return;
        }
        if let Some(Open { since: from, shown }) = before
            && matches!(first.doing, Doing::Blocked(_))
            && shown != (first.doing, first.stack)
        {
            let Doing::Blocked(_) = first.doing else { return };
            let learnt = Learnt { from, to: segment, doing: first.doing, stack: first.stack };
            self.learnt.entry(thread.number).or_default().push(learnt);
        }
        let last = last.unwrap_or(first);
        if thread.open {
            let shown = (last.doing, last.stack);
            self.open.insert(thread.number, Open { since: segment, shown });
        }
    }

    /// Tells what the thread does at the end of a segment.
    pub(super) fn tell(&self, thread: &mut Thread, segment: u32) {
        if !thread.open {
            return;
        }
        let Some(learnt) = self.learnt.get(&thread.number) else { return };
        let behind = learnt.partition_point(|learnt| learnt.from <= segment);
        let known = behind.checked_sub(1).map(|index| learnt[index]);
        let Some(known) = known.filter(|known| segment < known.to) else { return };
        let end = thread.end;
        let last = thread.intervals.iter_mut().rfind(|interval| interval.start < end);
        if let Some(last) = last
            && matches!(last.doing, Doing::Blocked(_) | Doing::Runq { .. })
        {
            (last.doing, last.stack) = (known.doing, known.stack);
        }
    }
}
