//! From the recording to the [`Facts`] of a prescription.

mod calls;
mod repeats;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use whyslow_events::{Mode, Pid};

use self::calls::{Calls, Kind};
use self::repeats::Waits;
use super::facts::{EventLoop, Facts, Hot, Process, Wait, Worker};
use crate::account::{Account, Level};
use crate::event_loop::Looped;
use crate::frames::{Frames, KERNEL_SUFFIX, base};
use crate::gil::{self, GilTime};
use crate::ledger::PerState;
use crate::pieces::{Amount, Key, Place};
use crate::report;
use crate::tables::Tables;
use crate::timeline::{Doing, Thread, Timeline};
use crate::{Group, State};

/// A thread with less than this part of what the busiest has to do has no work; a process
/// that computes less than this part of what its child does has not, either.
const HARDLY: f64 = 0.1;

/// What was made of the recording so far.
pub(crate) struct Inputs<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) timeline: &'a Timeline,
    pub(crate) accounts: &'a [Vec<Account>],
    /// Of each thread.
    pub(crate) gil: &'a [Option<GilTime>],
    pub(crate) loops: &'a [Option<Looped<'a>>],
    pub(crate) pieces: &'a [(Key, Amount)],
    pub(crate) shares: &'a PerState<f64>,
    pub(crate) verdict: &'a report::Verdict,
    pub(crate) waits: &'a [report::Wait],
    pub(crate) hot: &'a [report::Hot],
}

pub(super) fn facts<'a>(inputs: &Inputs<'a>, frames: &Frames) -> Facts<'a> {
    let Inputs { tables, timeline, .. } = inputs;
    let attached = tables.header.target.mode == Mode::Attach;
    let lock = |wait: &&report::Wait| wait.state.starts_with("lock.");
    let (usable, quota) = (timeline.usable_cpus.max(1) as f64, tightest(tables));
    Facts {
        wall_ns: timeline.duration(),
        cpus_without_quota: usable,
        cpus: quota.map_or(usable, |(ns, _)| usable.min(ns as f64 / 1e9)),
        quota_file: quota.and_then(|(_, pid)| tables.quota_file(pid)),
        verdict: inputs.verdict,
        shares: inputs.shares,
        processes: processes(inputs, frames, attached),
        hot: hot(inputs.hot, inputs.pieces),
        lock: inputs.waits.iter().find(lock).map(wait),
    }
}

/// What the tightest quota leaves to a process in a second, ns, and which process.
fn tightest(tables: &Tables) -> Option<(u64, Pid)> {
    tables.processes.keys().filter_map(|pid| Some((tables.allowed(*pid)?, *pid))).min()
}

fn hot(hot: &[report::Hot], pieces: &[(Key, Amount)]) -> Option<Hot> {
    let cpu = pieces.iter().filter(|(key, _)| key.state.group() == Group::Cpu);
    let all = cpu.map(|(_, amount)| amount.thread_ns).sum::<u64>().max(1) as f64;
    let first = hot.iter().find(|hot| hot.self_cpu_ns > 0)?;
    let place = match (&first.file, first.line) {
        (Some(file), Some(line)) => {
            format!(" ({}:{line})", base(file))
        }
        _ => String::new(),
    };
    let function = match first.function.strip_suffix(KERNEL_SUFFIX) {
        Some(name) => format!("{name} [kernel]"),
        None => format!("{}{place}", first.function),
    };
    Some(Hot {
        function,
        alone: first.self_cpu_ns as f64 / all,
        whole: first.total_cpu_ns as f64 / all,
    })
}

fn wait(wait: &report::Wait) -> Wait {
    // What is polled meanwhile is not the lock.
    let polled =
        wait.r#where.is_some() && wait.syscall.as_deref().is_some_and(|it| it.contains("poll"));
    let what = wait.object.as_ref().or(wait.syscall.as_ref()).filter(|_| !polled);
    let parts: Vec<&str> = what.into_iter().chain(&wait.r#where).map(String::as_str).collect();
    Wait { what: parts.join(", "), count: wait.count, total_ns: wait.total_ns }
}

/// Those with work, the one with most first.
fn processes(inputs: &Inputs<'_>, frames: &Frames, attached: bool) -> Vec<Process> {
    let gil = gil::by_process(inputs.timeline, inputs.gil);
    let computing = computing(inputs.pieces);
    let mut workers: Vec<(Pid, Worker)> = Vec::new();
    for (index, thread) in inputs.timeline.threads.iter().enumerate() {
        let computed = computing.get(&index).map_or(&[][..], Vec::as_slice);
        let mut calls = Calls::new(inputs.tables, inputs.loops[index].as_ref());
        let look = Look { inputs, thread, accounts: &inputs.accounts[index], attached };
        workers.push((thread.pid, look.worker(computed, &mut calls, frames)));
    }
    let most = workers.iter().map(|(_, worker)| worker.work()).max().unwrap_or(0);
    let mut processes: BTreeMap<Pid, Process> = BTreeMap::new();
    for (pid, worker) in workers {
        if worker.work() as f64 > HARDLY * most as f64 {
            let held = gil.get(&pid).and_then(GilTime::with_interval);
            let new = || process(inputs.tables, pid, held);
            processes.entry(pid).or_insert_with(new).workers.push(worker);
        }
    }
    let supervisors: Vec<Pid> = processes
        .keys()
        .copied()
        .filter(|pid| supervises(inputs.tables, &processes, *pid))
        .collect();
    processes.retain(|pid, _| !supervisors.contains(pid));
    let mut processes: Vec<Process> = processes.into_values().collect();
    // Stable: equal ones stay in the order of their numbers.
    processes.sort_by_key(|process| std::cmp::Reverse(process.sum(Worker::work)));
    processes
}

/// Whether a process looks after others that it started, as the master of a server's
/// workers does, and hardly computes itself.
fn supervises(tables: &Tables, processes: &BTreeMap<Pid, Process>, pid: Pid) -> bool {
    let computed = |pid: &Pid| processes[pid].sum(|worker| worker.cpu_ns) as f64;
    let mut children = processes.keys().filter(|child| tables.parent(**child) == Some(pid));
    children.any(|child| computed(&pid) < HARDLY * computed(child))
}

fn process(tables: &Tables, pid: Pid, held: Option<[f64; 2]>) -> Process {
    let python = tables.runtime(pid).is_some_and(|name| name.starts_with("cpython"));
    let free_threaded = python && !tables.has_gil(pid);
    // Not seen: what cannot be run side by side is the safer guess.
    let unseen = if free_threaded { 0.0 } else { 1.0 };
    Process {
        python,
        free_threaded,
        held: held.unwrap_or([unseen; 2]),
        memory: tables.memory(pid),
        workers: Vec::new(),
    }
}

/// CPU time of each thread by call chain.
fn computing(pieces: &[(Key, Amount)]) -> FxHashMap<usize, Vec<(Place, u64)>> {
    let mut by_thread: FxHashMap<usize, Vec<(Place, u64)>> = FxHashMap::default();
    for (key, amount) in pieces.iter().filter(|(key, _)| key.state.group() == Group::Cpu) {
        by_thread.entry(key.thread).or_default().push((key.place, amount.thread_ns));
    }
    by_thread
}

/// Looks at one thread.
struct Look<'a, 'b> {
    inputs: &'b Inputs<'a>,
    thread: &'b Thread,
    accounts: &'b [Account],
    attached: bool,
}

impl Look<'_, '_> {
    fn worker(&self, computed: &[(Place, u64)], calls: &mut Calls<'_>, frames: &Frames) -> Worker {
        let (mut waits, mut blocking) = (Waits::default(), Waits::default());
        for ((start, end, interval), account) in self.thread.spans().zip(self.accounts) {
            let Doing::Blocked(wait) = interval.doing else { continue };
            let kind = interval.stack.map_or(Kind::Unknown, |stack| calls.kind(stack));
            if !overlaps(*account) || kind == Kind::Import || kind == Kind::Loop {
                continue;
            }
            let waits = if kind == Kind::Callback { &mut blocking } else { &mut waits };
            waits.add(self.inputs.tables, account.state, wait, interval.stack, start..end);
        }
        let event_loop =
            calls.in_loop().then(|| self.event_loop(computed, &blocking, calls, frames));
        let (from, to) = self.extent([&waits, &blocking], calls);
        let mut worker = Worker {
            from,
            to,
            repeats: waits.most().map(|most| most.repeats(frames)),
            divisible: calls.heaviest(computed),
            event_loop,
            ..Worker::default()
        };
        self.sum(&mut worker);
        worker
    }

    /// From the first to the last instant of its work: in the thread that a
    /// launched program begins with, the interpreter starts and imports before.
    fn extent(&self, waits: [&Waits<'_>; 2], calls: &mut Calls<'_>) -> (u64, u64) {
        let Thread { start, end, samples, .. } = self.thread;
        let root = self.inputs.tables.header.target.pids.first();
        if self.attached || root.is_none_or(|root| root.0 != self.thread.tid.0) {
            return (*start, *end);
        }
        let mut own = samples
            .iter()
            .filter(|sample| sample.stack.is_some_and(|stack| calls.kind(stack) >= Kind::Own));
        let first = own.next().map(|sample| sample.time);
        let last = own.next_back().map(|sample| sample.time).or(first);
        let repeated = || waits.iter().filter_map(|waits| waits.extent());
        let from = first.into_iter().chain(repeated().map(|it| it.start)).min();
        let to = last.into_iter().chain(repeated().map(|it| it.end)).max();
        match (from, to) {
            (Some(from), Some(to)) => (from.max(*start), to.min(*end)),
            _ => (*start, *end),
        }
    }

    /// What it did between the ends of its work.
    fn sum(&self, worker: &mut Worker) {
        for ((start, end, interval), account) in self.thread.spans().zip(self.accounts) {
            let inside = end.min(worker.to).saturating_sub(start.max(worker.from));
            if is_cold(account.state) {
                worker.cold_ns += end - start - inside;
            }
            match account.state {
                _ if matches!(interval.doing, Doing::OnCpu { .. }) => {}
                State::RunqWaking | State::RunqPreempted => worker.starved_ns += inside,
                State::LockGil => worker.gil_ns += inside,
                State::LockUser | State::LockKernel => worker.lock_ns += inside,
                state if overlaps(*account) => {
                    worker.wait_ns += inside;
                    worker.wait_count += u64::from(inside > 0 && begins(interval.doing));
                    if state == State::IoDisk {
                        worker.disk_ns += inside;
                    }
                }
                _ => {}
            }
        }
        worker.cpu_ns = self.thread.on_cpu(&(worker.from..worker.to));
    }

    fn event_loop(
        &self,
        computed: &[(Place, u64)],
        blocking: &Waits<'_>,
        calls: &mut Calls<'_>,
        frames: &Frames,
    ) -> EventLoop {
        // Where no call is known, the rest says what it was.
        let (mut known, mut callbacks, mut heaviest) = (0, 0, None);
        for (place, ns) in computed {
            let Some(stack) = place.stack() else { continue };
            let kind = calls.kind(stack);
            known += if kind == Kind::Unknown { 0 } else { *ns };
            if kind == Kind::Callback {
                callbacks += ns;
                heaviest = heaviest.max(Some((*ns, stack)));
            }
        }
        let all: u64 = computed.iter().map(|(_, ns)| ns).sum();
        let most = blocking.most();
        EventLoop {
            cpu_ns: (all as f64 * callbacks as f64 / known.max(1) as f64) as u64,
            blocked_ns: blocking.total(),
            computes: heaviest.and_then(|(_, stack)| calls.innermost(stack)),
            at_once: most.as_ref().and_then(|most| calls.at_once(&most.begun)),
            blocks: most.map(|most| most.repeats(frames)),
        }
    }
}

/// A wait, and not the rest of one that a gap in the records cut in two, nor what stands
/// for many.
fn begins(doing: Doing) -> bool {
    matches!(doing, Doing::Blocked(wait) if !wait.resumed && !wait.sketched)
}

/// What a program waits for when it starts, and not if it did just before.
fn is_cold(state: State) -> bool {
    use State::{IoDisk, Memory, RunqPreempted, RunqWaking};
    matches!(state, IoDisk | Memory | RunqPreempted | RunqWaking)
}

/// Whether other work could go on during the wait: it is for something outside.
fn overlaps(account: Account) -> bool {
    account.state.group() == Group::Io
        && (matches!(account.level, Level::Holds | Level::Sleeps | Level::Beats)
            || account.state == State::Child)
}
