//! Folded stacks: the weighted call chains behind a flamegraph.

use std::collections::BTreeMap;

use crate::frames::{FrameId, Frames};
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
    pub frames: Vec<String>,
    /// The state at its end.
    pub state: State,
    /// Thread time, or wall-clock time in [`View::Bottleneck`].
    pub weight_ns: u64,
}

/// The call chains of a recording.
#[derive(Clone, Debug, Default)]
pub struct Stacks {
    stacks: Vec<(Vec<String>, State, Amount)>,
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
                weight_ns: weight(view, amount),
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

fn weight(view: View, amount: &Amount) -> u64 {
    match view {
        View::Bottleneck => amount.share_ns.round() as u64,
        View::Wall | View::Cpu | View::OffCpu => amount.thread_ns,
    }
}

pub(crate) fn fold(
    tables: &Tables,
    timeline: &Timeline,
    pieces: &[(Key, Amount)],
    frames: &mut Frames<'_>,
) -> Stacks {
    let roots: Vec<Vec<String>> =
        timeline.threads.iter().map(|thread| root(tables, thread)).collect();
    let mut sums: BTreeMap<(Vec<String>, State), Amount> = BTreeMap::new();
    for (key, amount) in pieces {
        let mut chain = roots[key.thread].clone();
        match key.place {
            Place::Stack(stack) | Place::Lent(stack) => {
                let ids: Vec<FrameId> = frames.of(stack);
                chain.extend(ids.into_iter().map(|id| frames.shown(id)));
            }
            Place::NoStack => chain.push("[no stack]".to_owned()),
            Place::NotBegun => chain.push("[not begun]".to_owned()),
            Place::NotSampled => chain.push("[not sampled]".to_owned()),
            Place::Nowhere => {}
        }
        if key.state.group() != Group::Cpu {
            chain.push(format!("[{}]", key.state.key()));
        }
        *sums.entry((chain, key.state)).or_default() += *amount;
    }
    let stacks = sums.into_iter().map(|((frames, state), amount)| (frames, state, amount));
    Stacks { stacks: stacks.collect() }
}

/// Process, and thread unless it is the main one or adds nothing.
fn root(tables: &Tables, thread: &Thread) -> Vec<String> {
    let process = match tables.processes.get(&thread.pid) {
        Some(process) => process.name.clone(),
        None => format!("[{}]", thread.pid),
    };
    if thread.tid.0 == thread.pid.0 || thread.name == process {
        vec![process]
    } else {
        vec![process, thread.name.clone()]
    }
}

#[cfg(test)]
mod tests;
