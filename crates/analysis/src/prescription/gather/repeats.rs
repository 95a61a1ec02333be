//! The waits of one thread, grouped by place: how many come one after another.

use std::ops::Range;

use rustc_hash::FxHashMap;
use whyslow_events::{Entry, ScriptFrame, StackId};

use crate::State;
use crate::frames::Frames;
use crate::prescription::facts::Repeats;
use crate::tables::Tables;
use crate::timeline::Wait;

/// A wait shorter than this part of the mean is no piece of work of its own.
const SHORT: u64 = 4;

/// The system call tells places apart where no Python call is known: waits of
/// some milliseconds have theirs by chance.
type Call = (State, Option<String>);

#[derive(Debug, Default)]
pub(super) struct Waits<'a> {
    by_place: FxHashMap<(Call, Option<&'a [ScriptFrame]>), Place>,
    extent: Option<Range<u64>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    lengths: Vec<u64>,
    /// When each began, in order.
    pub(super) begun: Vec<u64>,
    total: u64,
    longest: u64,
    stack: Option<StackId>,
}

impl<'a> Waits<'a> {
    pub(super) fn add(
        &mut self,
        tables: &'a Tables,
        state: State,
        wait: Wait,
        stack: Option<StackId>,
        span: Range<u64>,
    ) {
        let call = wait.site.and_then(|site| match &tables.sites.get(&site)?.entry {
            Entry::Syscall(name) => Some(name.clone()),
            _ => None,
        });
        let script = stack.and_then(|stack| tables.stacks.get(&stack)).map(|it| &it.script[..]);
        let key = ((state, call), script.filter(|script| !script.is_empty()));
        let place = self.by_place.entry(key).or_default();
        let length = span.end - span.start;
        place.total += length;
        match place.lengths.last_mut() {
            Some(_) if wait.sketched => {}
            // The rest of a wait that a gap in the records cut in two.
            Some(last) if wait.resumed => *last += length,
            _ => {
                place.lengths.push(length);
                place.begun.push(span.start);
            }
        }
        if length >= place.longest && !(wait.sketched && place.stack.is_some()) {
            place.longest = length;
            place.stack = stack;
        }
        let extent = self.extent.get_or_insert(span.clone());
        extent.end = extent.end.max(span.end);
    }

    pub(super) fn total(&self) -> u64 {
        self.by_place.values().map(|place| place.total).sum()
    }

    /// From the first wait to the end of the last.
    pub(super) fn extent(&self) -> Option<Range<u64>> {
        self.extent.clone()
    }

    /// The place where it waits most. Waits without a known Python call are
    /// taken to be at the place of the same system call where most are.
    pub(super) fn most(&self) -> Option<Place> {
        let total = |place: &&Place| (place.total, place.begun.first().copied());
        let mut called: FxHashMap<&Call, &Place> = FxHashMap::default();
        for ((call, script), place) in &self.by_place {
            if script.is_some() {
                let most = called.entry(call).or_insert(place);
                *most = std::cmp::max_by_key(*most, place, total);
            }
        }
        let joined = self.by_place.iter().map(|((call, script), place)| match called.get(call) {
            Some(most) if script.is_none() => most.with(place),
            _ => place.clone(),
        });
        joined.max_by_key(|place| total(&place))
    }
}

impl Place {
    /// With those that have no call of their own.
    fn with(&self, others: &Place) -> Place {
        let mut both = self.clone();
        both.lengths.extend(&others.lengths);
        both.begun.extend(&others.begun);
        both.begun.sort_unstable();
        both.total += others.total;
        both.longest = both.longest.max(others.longest);
        both
    }

    pub(super) fn repeats(&self, frames: &Frames) -> Repeats {
        let mean = self.total / self.lengths.len().max(1) as u64;
        Repeats {
            count: self.lengths.iter().filter(|length| **length >= mean / SHORT).count() as u64,
            total_ns: self.total,
            longest_ns: self.longest,
            place: self.stack.and_then(|stack| frames.place_with_caller(stack)),
        }
    }
}
