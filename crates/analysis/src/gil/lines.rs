//! Where threads waited for a GIL. A wait is over within milliseconds, mostly before
//! anybody looked at its calls; but what the thread was seen at before and after it,
//! it did meanwhile, too, when that is the same call.

use std::collections::{BTreeMap, HashMap};

use rustc_hash::FxHashMap;
use whyslow_events::{CodeId, ScriptFrame, StackId};

use super::waits::Slice;
use crate::frames::{FrameId, Frames};
use crate::tables::Tables;
use crate::timeline::Timeline;

/// What a thread was seen at says nothing of an instant farther away, ns.
const NEAR: u64 = 20_000_000;

/// The innermost call of each wait.
#[derive(Debug, Default)]
pub(super) struct Lines(FxHashMap<u32, Line>);

/// The innermost call of the waiting thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) frame: FrameId,
    /// Nobody looked: it was there before and after, or others that came the same way.
    pub(super) inferred: bool,
}

/// Calls of a thread at an instant.
#[derive(Clone, Copy, Debug)]
struct Sight {
    time: u64,
    stack: StackId,
    waits: bool,
}

impl Lines {
    pub(super) fn new(
        tables: &Tables,
        timeline: &Timeline,
        slices: &[Slice],
        frames: &Frames,
    ) -> Lines {
        let mut lines = Lines::default();
        for of_thread in slices.chunk_by(|one, next| one.thread == next.thread) {
            let calls = Calls::of(tables, timeline, of_thread);
            for wait in of_thread.chunk_by(|one, next| one.wait == next.wait) {
                let looked = wait.iter().find_map(|slice| calls.seen(slice.stack));
                let told = || wait.iter().find_map(|slice| calls.stack(slice.stack));
                let (stack, inferred) = match looked {
                    Some(stack) => (Some(stack), false),
                    None => {
                        let (start, end) = (wait[0].start, wait[wait.len() - 1].end);
                        (told().or_else(|| calls.around(start, end)), true)
                    }
                };
                if let Some(frame) = stack.and_then(|stack| frames.innermost_call(stack)) {
                    lines.0.insert(wait[0].wait, Line { frame, inferred });
                }
            }
        }
        lines
    }

    pub(super) fn get(&self, slice: &Slice) -> Option<Line> {
        self.0.get(&slice.wait).copied()
    }

    pub(super) fn of(&self, slice: &Slice) -> Option<FrameId> {
        self.get(slice).map(|line| line.frame)
    }
}

/// What a thread that waits for a GIL was seen at.
#[derive(Debug)]
struct Calls<'a> {
    tables: &'a Tables,
    /// In order of time.
    sights: Vec<Sight>,
    /// Where it waited most, by the innermost function.
    usual: BTreeMap<CodeId, StackId>,
}

impl<'a> Calls<'a> {
    fn of(tables: &'a Tables, timeline: &Timeline, slices: &[Slice]) -> Self {
        let mut calls = Calls { tables, sights: Vec::new(), usual: BTreeMap::new() };
        let thread = slices.first().map(|slice| &timeline.threads[slice.thread as usize]);
        let samples = thread.map_or(&[][..], |thread| &thread.samples);
        for sample in samples {
            if let Some(stack) = calls.stack(sample.stack) {
                calls.sights.push(Sight { time: sample.time, stack, waits: false });
            }
        }
        let mut counts: HashMap<StackId, u64> = HashMap::new();
        for slice in slices {
            if let Some(stack) = calls.seen(slice.stack) {
                calls.sights.push(Sight { time: slice.start, stack, waits: true });
                *counts.entry(stack).or_default() += 1;
            }
        }
        calls.sights.sort_by_key(|sight| sight.time);
        let mut counts: Vec<(u64, StackId)> = counts.into_iter().map(|(id, n)| (n, id)).collect();
        counts.sort_unstable();
        for (_, stack) in counts {
            if let Some(call) = calls.script(stack).first() {
                calls.usual.insert(call.code, stack);
            }
        }
        calls
    }

    /// A stack that has calls.
    fn stack(&self, stack: Option<StackId>) -> Option<StackId> {
        stack.filter(|stack| !self.script(*stack).is_empty())
    }

    /// One in which somebody saw them.
    fn seen(&self, stack: Option<StackId>) -> Option<StackId> {
        let inferred = |id: &StackId| self.tables.stacks.get(id).is_some_and(|it| it.inferred);
        self.stack(stack).filter(|stack| !inferred(stack))
    }

    fn script(&self, stack: StackId) -> &'a [ScriptFrame] {
        self.tables.stacks.get(&stack).map_or(&[][..], |stack| &stack.script)
    }

    /// The stack of a wait that nobody looked at: of the nearest sights before and
    /// after, when both are in one call. At which of its lines it waited, other waits
    /// in the same function tell.
    fn around(&self, start: u64, end: u64) -> Option<StackId> {
        let next = self.sights.partition_point(|sight| sight.time < start);
        let before = self.sights[..next].last()?;
        let after = self.sights[next..].iter().find(|sight| sight.time >= end)?;
        if start - before.time > NEAR || after.time - end > NEAR {
            return None;
        }
        let [first, second] = [before, after].map(|sight| self.script(sight.stack));
        let ([inner, outer @ ..], [other, others @ ..]) = (first, second) else { return None };
        if inner.code != other.code || outer != others {
            return None;
        }
        let waited = [before, after].into_iter().find(|sight| sight.waits);
        let waited = waited.map(|sight| sight.stack);
        let same = (inner.line == other.line).then_some(before.stack);
        waited.or_else(|| self.usual.get(&inner.code).copied()).or(same)
    }
}
