//! The functions that take the time.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::frames::{Frames, Named};
use crate::pieces::{Amount, Key};
use crate::report::Hot;
use crate::{Group, State};

const SHOWN: usize = 100;

/// Name and file.
type Function<'a> = (&'a str, Option<&'a str>);

#[derive(Clone, Debug, Default)]
struct Time {
    self_cpu: u64,
    total_cpu: u64,
    total_wait: u64,
    /// CPU time by line.
    lines: BTreeMap<u32, u64>,
    /// The last piece in which it stands, counted from one.
    seen: usize,
}

pub(crate) fn hot(pieces: &[(Key, Amount)], frames: &Frames) -> Vec<Hot> {
    let functions = frames.numbered(function);
    let mut times = vec![Time::default(); functions.all.len()];
    for (number, (key, amount)) in pieces.iter().enumerate() {
        let Some(stack) = key.place.stack() else { continue };
        if key.state == State::Idle || amount.thread_ns == 0 {
            continue;
        }
        let cpu = key.state.group() == Group::Cpu;
        let chain = frames.of(stack).iter().rev().filter(|id| !frames.get(**id).marks);
        for (depth, frame) in chain.enumerate() {
            let time = &mut times[functions.of(*frame)];
            // A recursive function counts once.
            if time.seen != number + 1 {
                time.seen = number + 1;
                time.add((cpu, depth), frames.get(*frame).line, amount.thread_ns);
            }
        }
    }
    let mut seen: Vec<(Function<'_>, Time)> = functions.all.into_iter().zip(times).collect();
    seen.retain(|(_, time)| time.seen > 0);
    // What is equal stays in the order of the names.
    seen.sort_by_key(|(function, _)| *function);
    seen.sort_by_key(|(_, time)| Reverse((time.self_cpu, time.total_wait)));
    seen.truncate(SHOWN);
    seen.into_iter().map(row).collect()
}

fn function(frame: &Named) -> Function<'_> {
    (&frame.name, frame.file.as_deref())
}

fn row(((function, file), time): (Function<'_>, Time)) -> Hot {
    Hot {
        function: function.to_owned(),
        file: file.map(str::to_owned),
        line: time.lines.iter().max_by_key(|(_, ns)| **ns).map(|(line, _)| *line),
        self_cpu_ns: time.self_cpu,
        total_cpu_ns: time.total_cpu,
        total_wait_ns: time.total_wait,
    }
}

impl Time {
    /// Time of a stack in which it stands so deep, 0 being the innermost.
    fn add(&mut self, (cpu, depth): (bool, usize), line: Option<u32>, ns: u64) {
        if let Some(line) = line {
            *self.lines.entry(line).or_default() += ns;
        }
        match (cpu, depth) {
            (true, 0) => {
                self.self_cpu += ns;
                self.total_cpu += ns;
            }
            (true, _) => self.total_cpu += ns,
            (false, _) => self.total_wait += ns,
        }
    }
}
