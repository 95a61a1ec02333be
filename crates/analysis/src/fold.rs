//! Folded stacks: the weighted call chains behind a flamegraph.

use std::borrow::Cow;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::bottleneck::Rule;
use crate::frames::{Frames, Named};
use crate::numbers::Numbers;
use crate::pieces::{Amount, Key, Place};
use crate::tables::Tables;
use crate::timeline::{Thread, Timeline};
use crate::{Group, State};

/// What a flamegraph shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// All thread time but idle.
    Wall,
    /// Time on the CPU.
    Cpu,
    /// Time off the CPU but idle.
    OffCpu,
    /// Wall-clock time as the bottleneck shares it out.
    Bottleneck,
}

/// A call chain and its weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// Root first: process, thread, user code, kernel code, and for time off
    /// the CPU its state in brackets.
    pub frames: Vec<Arc<str>>,
    /// The state at its end.
    pub state: State,
    /// Thread time, or wall-clock time in [`View::Bottleneck`].
    pub weight_ns: u64,
}

/// The call chains of a recording.
#[derive(Clone, Debug, Default)]
pub struct Stacks {
    stacks: Vec<(Vec<Arc<str>>, State, Amount)>,
    rule: Rule,
}

impl Stacks {
    /// The call chains of one view, sorted.
    #[must_use]
    pub fn folded(&self, view: View) -> Vec<Folded> {
        self.stacks
            .iter()
            .filter(|(_, state, _)| shows(view, *state))
            .map(|(frames, state, amount)| Folded {
                frames: frames.clone(),
                state: *state,
                weight_ns: weight(view, self.rule, amount),
            })
            .filter(|folded| folded.weight_ns > 0)
            .collect()
    }
}

fn shows(view: View, state: State) -> bool {
    match view {
        View::Wall | View::Bottleneck => state != State::Idle,
        View::Cpu => state.group() == Group::Cpu,
        View::OffCpu => state != State::Idle && state.group() != Group::Cpu,
    }
}

fn weight(view: View, rule: Rule, amount: &Amount) -> u64 {
    match view {
        View::Bottleneck => amount.share.by(rule).round() as u64,
        View::Wall | View::Cpu | View::OffCpu => amount.thread_ns,
    }
}

pub(crate) fn fold(
    tables: &Tables,
    timeline: &Timeline,
    pieces: &[(Key, Amount)],
    rule: Rule,
    frames: &Frames,
) -> Stacks {
    let shown = frames.numbered(Named::shown);
    let mut names = Numbers::default();
    let shown_names: Vec<u32> =
        shown.all.iter().map(|name| names.of(name.as_str().into())).collect();
    let mut sums: FxHashMap<(Vec<u32>, State), Amount> = FxHashMap::default();
    for (key, amount) in pieces {
        let root = root(tables, &timeline.threads[key.thread]);
        let mut chain: Vec<u32> = root.map(|name| names.of(name.into())).collect();
        match key.place {
            Place::Stack(stack) | Place::Lent(stack) => {
                let ids = frames.of(stack).iter();
                chain.extend(ids.map(|id| shown_names[shown.of(*id)]));
            }
            Place::NoStack => chain.push(names.of("[no stack]".into())),
            Place::NotBegun => chain.push(names.of("[not begun]".into())),
            Place::NotSampled => chain.push(names.of("[not sampled]".into())),
            Place::Nowhere => {}
        }
        if key.state.group() != Group::Cpu {
            chain.push(names.of(format!("[{}]", key.state.key()).into()));
        }
        *sums.entry((chain, key.state)).or_default() += *amount;
    }
    Stacks { stacks: sorted(sums, &names.into_all()), rule }
}

/// The chains by the names that their numbers stand for.
fn sorted(
    sums: FxHashMap<(Vec<u32>, State), Amount>,
    names: &[Arc<str>],
) -> Vec<(Vec<Arc<str>>, State, Amount)> {
    let mut by_name: Vec<u32> = (0..).take(names.len()).collect();
    by_name.sort_by_key(|number| &names[*number as usize]);
    // Numbers in the order of the names compare as the names do, and faster.
    let mut ranks = vec![0; names.len()];
    for (rank, number) in by_name.iter().enumerate() {
        ranks[*number as usize] = rank;
    }
    let ranked = |((chain, state), amount): ((Vec<u32>, State), Amount)| {
        let chain: Vec<usize> = chain.iter().map(|number| ranks[*number as usize]).collect();
        (chain, state, amount)
    };
    let mut chains: Vec<(Vec<usize>, State, Amount)> = sums.into_iter().map(ranked).collect();
    chains.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
    let name = |rank: usize| Arc::clone(&names[by_name[rank] as usize]);
    let named = chains
        .into_iter()
        .map(|(chain, state, amount)| (chain.into_iter().map(name).collect(), state, amount));
    named.collect()
}

/// Process, and thread unless it is the main one or adds nothing.
fn root<'a>(tables: &'a Tables, thread: &'a Thread) -> impl Iterator<Item = Cow<'a, str>> {
    let process = match tables.processes.get(&thread.pid) {
        Some(process) => Cow::Borrowed(process.name.as_str()),
        None => Cow::Owned(format!("[{}]", thread.pid)),
    };
    let adds = thread.tid.0 != thread.pid.0 && thread.name != process;
    [process].into_iter().chain(adds.then_some(Cow::Borrowed(thread.name.as_str())))
}

#[cfg(test)]
mod tests;
