//! The functions that take the time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::frames::{FrameId, Frames};
use crate::pieces::{Amount, Key};
use crate::report::Hot;
use crate::{Group, State};

const SHOWN: usize = 100;

type Function = (String, Option<String>);

#[derive(Debug, Default)]
struct Time {
    self_cpu: u64,
    total_cpu: u64,
    total_wait: u64,
    /// CPU time by line.
    lines: BTreeMap<u32, u64>,
}

pub(crate) fn hot(pieces: &[(Key, Amount)], frames: &mut Frames<'_>) -> Vec<Hot> {
    let mut sums: BTreeMap<Function, Time> = BTreeMap::new();
    for (key, amount) in pieces {
        let Some(stack) = key.place.stack() else { continue };
        if key.state == State::Idle || amount.thread_ns == 0 {
            continue;
        }
        let chain = frames.of(stack);
        add(&mut sums, &chain, frames, key.state.group() == Group::Cpu, amount.thread_ns);
    }
    let mut hot: Vec<Hot> = sums
        .into_iter()
        .map(|((function, file), time)| Hot {
            function,
            file,
            line: time.lines.iter().max_by_key(|(_, ns)| **ns).map(|(line, _)| *line),
            self_cpu_ns: time.self_cpu,
            total_cpu_ns: time.total_cpu,
            total_wait_ns: time.total_wait,
        })
        .collect();
    hot.sort_by_key(|hot| Reverse((hot.self_cpu_ns, hot.total_wait_ns)));
    hot.truncate(SHOWN);
    hot
}

fn add(
    sums: &mut BTreeMap<Function, Time>,
    chain: &[FrameId],
    frames: &Frames<'_>,
    cpu: bool,
    ns: u64,
) {
    // A recursive function counts once.
    let mut seen = BTreeSet::new();
    let functions = chain.iter().rev().map(|id| frames.get(*id)).filter(|frame| !frame.marks);
    for (depth, frame) in functions.enumerate() {
        let function = (frame.name.clone(), frame.file.clone());
        if !seen.insert(function.clone()) {
            continue;
        }
        let time = sums.entry(function).or_default();
        if let Some(line) = frame.line {
            *time.lines.entry(line).or_default() += ns;
        }
        match (cpu, depth) {
            (true, 0) => {
                time.self_cpu += ns;
                time.total_cpu += ns;
            }
            (true, _) => time.total_cpu += ns,
            (false, _) => time.total_wait += ns,
        }
    }
}
