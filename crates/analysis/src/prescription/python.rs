//! What to do with a CPython program: which model of concurrency, or none.

use super::antipatterns::{self, Found};
use super::facts::{EventLoop, Facts, Process, Repeats, Worker};
use super::model::{Machine, Model, Prediction, Work};
use super::words::{bytes, range, share, span};
use super::{other, prescribed, unknown};
use crate::report::{Class, Predicted, Prescription, Rejected};

/// Fewer waits may depend on one another.
const FEW: u64 = 3;
/// From this part of the wall-clock time on, waits matter.
const WAITS: f64 = 0.2;
/// From this part of their work on, threads that wait for the interpreter lock share one CPU.
const GIL: f64 = 0.2;
/// Less CPU in their work, and processes mostly wait.
const MOSTLY_WAIT: f64 = 0.2;
/// A loop that computes, or blocks, for this part of the time keeps others waiting.
const LOOP: f64 = 0.2;
/// Threads that each mostly wait: from here on, tasks of one are cheaper.
const THOUSANDS: usize = 1000;
/// Fewer processes need no more memory than threads of one to speak of.
const SEVERAL: usize = 3;
/// What gains less is not worth it.
const WORTH: f64 = 1.15;
/// Of models that gain about the same, the simplest.
const SAME: f64 = 1.05;

pub(super) fn prescription(facts: &Facts<'_>) -> Prescription {
    let class = facts.verdict.class;
    let python: Vec<&Process> = facts.processes.iter().filter(|it| it.python).collect();
    let Some(main) = python.first() else { return other::prescription(facts) };
    let situation = situation(&python, main);
    let nothing_to_do = class == Class::Idle && !matches!(situation, Situation::Loop(..));
    match situation {
        _ if nothing_to_do || class == Class::CpuStarved => other::prescription(facts),
        Situation::Sequential(_) if class == Class::Inconclusive => other::prescription(facts),
        Situation::Sequential(_) | Situation::Processes if at_a_lock(facts) => {
            other::prescription(facts)
        }
        Situation::Loop(worker, event_loop) => in_loop(facts, main, worker, event_loop),
        Situation::Processes => processes(facts, &python),
        Situation::Threads => threads(facts, main),
        Situation::Sequential(worker) => sequential(facts, main, worker),
    }
}

/// Whether a lock that is none of the interpreter's holds the program up.
fn at_a_lock(facts: &Facts<'_>) -> bool {
    facts.verdict.class == Class::LockBound
        && matches!(facts.verdict.cause.as_str(), "user" | "kernel")
}

enum Situation<'a> {
    Loop(&'a Worker, &'a EventLoop),
    Processes,
    Threads,
    Sequential(&'a Worker),
}

fn situation<'a>(python: &[&'a Process], main: &'a Process) -> Situation<'a> {
    let looped = main.workers.iter().find_map(|it| Some((it, it.event_loop.as_ref()?)));
    match (looped, main.workers.as_slice()) {
        _ if python.len() > 1 => Situation::Processes,
        (Some((worker, event_loop)), _) => Situation::Loop(worker, event_loop),
        (None, [worker]) => Situation::Sequential(worker),
        _ => Situation::Threads,
    }
}

// ---- one thread, one thing after another

fn sequential(facts: &Facts<'_>, main: &Process, worker: &Worker) -> Prescription {
    let wall = facts.wall_ns as f64;
    let waits = worker.wait_ns as f64 / wall;
    let few = worker.repeats.as_ref().is_none_or(|repeats| repeats.count < FEW);
    if few && waits >= 0.5 {
        let count = worker.repeats.as_ref().map_or(0, |repeats| repeats.count);
        return unknown(format!(
            "it waits {} of the time, but {count} times at the same place: \
             too few to tell what could overlap",
            share(waits),
        ));
    }
    let repeats = worker.repeats.as_ref().filter(|_| !few && waits >= WAITS);
    let work = sequential_work(facts, main, worker, repeats);
    let mut prescription = choose(facts, main, &work, None);
    if let Some(repeats) = repeats {
        prescription.because.insert(0, one_after_another(repeats, waits));
        if prescription.model != "keep" {
            prescription.antipatterns.push(antipatterns::sequential_waits(repeats));
        }
    }
    prescription
}

fn one_after_another(repeats: &Repeats, waits: f64) -> String {
    format!(
        "{} of the time it waits; {}: they can overlap if none needs what another gave",
        share(waits),
        antipatterns::told(repeats),
    )
}

fn sequential_work(
    facts: &Facts<'_>,
    main: &Process,
    worker: &Worker,
    repeats: Option<&Repeats>,
) -> Work {
    let cpu = worker.cpu_ns as f64;
    // Children that it starts and awaits compute elsewhere.
    let children = facts.processes.iter().filter(|it| !it.python);
    let children = children.map(|it| it.sum(|worker| worker.cpu_ns)).sum::<u64>() as f64;
    let waits = repeats.map_or(0.0, |_| worker.wait_ns as f64 - children).max(0.0);
    let children = if repeats.is_some() { children } else { 0.0 };
    let starved = worker.starved_ns as f64;
    Work {
        serial: (facts.wall_ns as f64 - cpu - waits - children - starved).max(0.0),
        cold: worker.cold_ns as f64,
        cpu: cpu + children,
        held: main.held.map(|part| part * cpu),
        waits,
        device: (worker.disk_ns as f64).min(waits),
        starved,
        pieces: repeats.map(|repeats| repeats.count),
        at_once: None,
        wakes: repeats.map_or(0.0, |_| worker.wait_count as f64),
        longest: repeats.map_or(0.0, |repeats| repeats.longest_ns as f64),
        hands: 0.0,
        divisible: if repeats.is_some() { 1.0 } else { worker.divisible },
    }
}

// ---- the models against one another

/// `present`: the model that the program has already.
fn choose(facts: &Facts<'_>, main: &Process, work: &Work, present: Option<Model>) -> Prescription {
    let wall = facts.wall_ns as f64;
    let machine = Machine { cpus: facts.cpus, lockless: main.free_threaded };
    let possible = Model::ALL.into_iter().filter(|model| possible(*model, work));
    let predictions: Vec<Prediction> =
        possible.map(|model| model.best(work, machine, present == Some(model))).collect();
    let least = predictions.iter().map(Prediction::middle).fold(f64::INFINITY, f64::min);
    let best = predictions.iter().find(|it| it.middle() <= least * SAME);
    let gain = |it: &&Prediction| wall / it.middle() >= WORTH && Some(it.model) != present;
    let chosen = best.filter(gain).copied();
    let mut because = vec![measured(main, work)];
    because.extend(chosen.and_then(|it| condition(main, it.model, work)));
    let name = chosen.map_or("keep", |it| it.model.as_str());
    if chosen.is_none() {
        because.push("no other model would gain much".to_owned());
    }
    let mut prescription = prescribed(name, because);
    prescription.predicted = chosen.map(|it| predicted(facts, main, &it));
    let rest = Model::ALL.into_iter().filter(|model| Some(*model) != chosen.map(|it| it.model));
    prescription.rejected = rest
        .filter(|model| Some(*model) != present || chosen.is_some())
        .map(|model| {
            let prediction = predictions.iter().find(|it| it.model == model);
            let why = why_not(facts, main, work, model, prediction);
            Rejected { model: model.as_str().to_owned(), why }
        })
        .collect();
    prescription.rejected.extend(free_threaded(facts, main, work, chosen));
    prescription
}

/// There is no asynchronous form of reading a file.
fn possible(model: Model, work: &Work) -> bool {
    model != Model::Asyncio || work.device <= work.waits / 2.0 || work.waits == 0.0
}

fn measured(main: &Process, work: &Work) -> String {
    if main.free_threaded {
        let [cpu, waits] = [work.cpu, work.waits].map(span);
        return format!(
            "computing takes {cpu}, for which this interpreter needs no lock, and {waits} are waits"
        );
    }
    format!(
        "computing holds the interpreter lock for {}, goes on without it for {}, and {} are waits",
        span(work.held()),
        span(work.cpu - work.held()),
        span(work.waits),
    )
}

fn condition(main: &Process, model: Model, work: &Work) -> Option<String> {
    match model {
        Model::Multiprocessing => {
            Some("if the work can be divided, with little to pass between the parts".to_owned())
        }
        Model::Threads if main.free_threaded && work.waits < work.cpu => {
            Some("if the work can be divided: threads compute side by side here".to_owned())
        }
        Model::Threads if work.waits < work.cpu => {
            Some("most of the computing lets go of the interpreter lock".to_owned())
        }
        _ => None,
    }
}

pub(super) fn predicted(facts: &Facts<'_>, main: &Process, it: &Prediction) -> Predicted {
    Predicted {
        workers: it.workers,
        wall_ns: it.wall.map(|ns| ns as u64),
        speedup: it.speedup(facts.wall_ns as f64),
        memory_bytes: it.model.memory(it.workers, main.memory),
    }
}

fn why_not(
    facts: &Facts<'_>,
    main: &Process,
    work: &Work,
    model: Model,
    prediction: Option<&Prediction>,
) -> String {
    let Some(it) = prediction else { return "files have no asynchronous form".to_owned() };
    let gain = format!("{} times as fast", range(it.speedup(facts.wall_ns as f64)));
    let computes = work.cpu > work.waits;
    match model {
        Model::Threads if computes && !main.free_threaded => {
            format!("{gain}: {} of computing holds the interpreter lock", span(work.held()))
        }
        Model::Threads => format!("{gain} with {}: each has a stack and takes turns", it.workers),
        Model::Asyncio if computes => {
            format!("{gain}: one thread computes, {} in all", span(work.cpu))
        }
        Model::Asyncio => format!("{gain}, and every call that waits has to be rewritten"),
        Model::Multiprocessing => {
            let memory = model.memory(it.workers, main.memory).map_or_else(
                || "the memory of a process each".to_owned(),
                |memory| format!("{} of memory", bytes(memory)),
            );
            format!("{gain} for {} processes and {memory}", it.workers)
        }
    }
}

/// What an interpreter without the lock would make of threads.
fn free_threaded(
    facts: &Facts<'_>,
    main: &Process,
    work: &Work,
    chosen: Option<Prediction>,
) -> Option<Rejected> {
    let matters = chosen.is_some_and(|it| it.model == Model::Multiprocessing);
    if main.free_threaded || !matters {
        return None;
    }
    let machine = Machine { cpus: facts.cpus, lockless: true };
    let it = Model::Threads.best(work, machine, false);
    let gain = range(it.speedup(facts.wall_ns as f64));
    let why = format!("this interpreter has the lock; threads of a build without: {gain} times");
    Some(Rejected { model: "free-threaded".to_owned(), why })
}

// ---- threads already

fn threads(facts: &Facts<'_>, main: &Process) -> Prescription {
    let all = main.sum(Worker::work).max(1) as f64;
    let gil = main.sum(|it| it.gil_ns) as f64;
    let waits = main.sum(|it| it.wait_ns) as f64;
    let work = shared_work(facts, &[main]);
    let count = main.workers.len();
    let queues = gil / all >= GIL;
    if !main.free_threaded && (queues || facts.verdict.cause == "gil") {
        let found = Found { workers: count, held: work.held(), waited: gil };
        // A crowd that does little but wait waits for the next piece of work.
        let divided = if queues { work } else { Work { waits: 0.0, device: 0.0, ..work } };
        let mut prescription = choose(facts, main, &divided, Some(Model::Threads));
        prescription.antipatterns.push(match work.held() >= waits / count as f64 {
            true => antipatterns::threads_on_cpu(&found),
            false => antipatterns::gil_convoy(&found),
        });
        return prescription;
    }
    if facts.verdict.class == Class::LockBound {
        return other::prescription(facts);
    }
    if count >= THOUSANDS && waits / all >= 1.0 - MOSTLY_WAIT {
        return fewer(facts, main, &work, Model::Asyncio, count);
    }
    let doing = if waits / all >= 0.5 { "overlap their waits" } else { "compute side by side" };
    let because = match main.free_threaded {
        true => format!("{count} threads {doing}, without an interpreter lock"),
        false => format!(
            "{count} threads {doing}, {} of their work waits for the interpreter lock",
            share(gil / all)
        ),
    };
    prescribed("keep", vec![because, measured(main, &work)])
}

/// The work of several at once: it is divided already.
fn shared_work(facts: &Facts<'_>, processes: &[&Process]) -> Work {
    let sum = |of: fn(&Worker) -> u64| processes.iter().map(|it| it.sum(of)).sum::<u64>() as f64;
    let cpu = sum(|it| it.cpu_ns);
    let held = |end: usize| -> f64 {
        processes.iter().map(|it| it.sum(|worker| worker.cpu_ns) as f64 * it.held[end]).sum()
    };
    let workers = || processes.iter().flat_map(|it| &it.workers);
    let from = workers().map(|it| it.from).min().unwrap_or(0);
    let to = workers().map(|it| it.to).max().unwrap_or(0);
    Work {
        serial: (facts.wall_ns as f64 - to.saturating_sub(from) as f64).max(0.0),
        cold: sum(|it| it.cold_ns),
        cpu,
        held: [held(0), held(1)],
        waits: sum(|it| it.wait_ns),
        device: sum(|it| it.disk_ns),
        starved: 0.0,
        pieces: None,
        at_once: None,
        wakes: 0.0,
        longest: 0.0,
        hands: workers().count() as f64,
        divisible: 1.0,
    }
}

/// The same with less memory.
fn fewer(
    facts: &Facts<'_>,
    main: &Process,
    work: &Work,
    model: Model,
    count: usize,
) -> Prescription {
    let machine = Machine { cpus: facts.cpus, lockless: main.free_threaded };
    let prediction = model.with(work, count as u64, machine, true);
    let mut prescription = prescribed(model.as_str(), vec![measured(main, work)]);
    prescription.predicted = Some(predicted(facts, main, &prediction));
    prescription
}

// ---- processes already

fn processes(facts: &Facts<'_>, python: &[&Process]) -> Prescription {
    let main = python[0];
    let sum = |of: fn(&Worker) -> u64| python.iter().map(|it| it.sum(of)).sum::<u64>() as f64;
    let all = sum(Worker::work).max(1.0);
    let work = shared_work(facts, python);
    let cpu = work.cpu;
    let count = python.len();
    if count < SEVERAL {
        let because =
            format!("{count} processes: as threads of one they would hardly need less memory");
        return prescribed("keep", vec![because, measured(main, &work)]);
    }
    if cpu / all >= MOSTLY_WAIT || work.waits / all < 0.5 {
        let cpus = cpu / facts.wall_ns.max(1) as f64;
        let because = format!("{count} processes compute on {cpus:.1} of {:.1} CPUs", facts.cpus);
        return prescribed("keep", vec![because, measured(main, &work)]);
    }
    let workers: usize = python.iter().map(|it| it.workers.len()).sum();
    let memory = python.iter().map(|it| it.memory).sum::<Option<u64>>();
    let mut prescription = fewer(facts, main, &work, Model::Threads, workers);
    prescription.because.insert(
        0,
        format!(
            "{count} processes do little but wait; threads of one wait as well for less memory"
        ),
    );
    prescription.antipatterns.push(antipatterns::processes_on_io(count, 1.0 - cpu / all, memory));
    prescription
}

// ---- an event loop already

fn in_loop(
    facts: &Facts<'_>,
    main: &Process,
    worker: &Worker,
    event_loop: &EventLoop,
) -> Prescription {
    let wall = facts.wall_ns as f64;
    let [computes, blocks] = [event_loop.cpu_ns, event_loop.blocked_ns].map(|ns| ns as f64);
    let blocked = event_loop.blocks.as_ref().filter(|_| blocks / wall >= LOOP);
    let mut found = Vec::new();
    found.extend(blocked.map(antipatterns::blocking_call));
    if computes / wall >= LOOP {
        found.push(antipatterns::cpu_in_loop(event_loop, computes / wall));
    }
    if found.is_empty() {
        let waits = 1.0 - (computes + blocks) / wall;
        let because = format!("the event loop is free {} of the time", share(waits));
        return prescribed("keep", vec![because]);
    }
    let blocks = if blocked.is_some() { blocks } else { 0.0 };
    let work = Work {
        serial: (wall - computes - blocks).max(0.0),
        cold: worker.cold_ns as f64,
        cpu: computes,
        held: main.held.map(|part| part * computes),
        waits: blocks,
        device: (worker.disk_ns as f64).min(blocks),
        starved: 0.0,
        pieces: blocked.map(|repeats| repeats.count),
        at_once: event_loop.at_once,
        wakes: blocked.map_or(0.0, |repeats| repeats.count as f64),
        longest: blocked.map_or(0.0, |repeats| repeats.longest_ns as f64),
        hands: 0.0,
        divisible: 1.0,
    };
    let mut prescription = match blocked {
        Some(_) if blocks > computes => awaited(facts, main, &work),
        _ => choose(facts, main, &work, Some(Model::Asyncio)),
    };
    prescription.antipatterns = found;
    prescription
}

/// The blocking calls of a loop, made its own.
fn awaited(facts: &Facts<'_>, main: &Process, work: &Work) -> Prescription {
    let due = match work.at_once {
        None => "how many of them could wait at a time is not known",
        Some(0 | 1) => "for the sake of other tasks, as no two of these calls were due at a time",
        Some(_) => "if other tasks have something to do meanwhile",
    };
    let because =
        format!("await the asynchronous form of these calls, or asyncio.to_thread: {due}");
    let mut prescription = prescribed("asyncio", vec![because, measured(main, work)]);
    if work.at_once.is_some_and(|most| most > 1) {
        let machine = Machine { cpus: facts.cpus, lockless: main.free_threaded };
        let prediction = Model::Asyncio.best(work, machine, true);
        prescription.predicted = Some(predicted(facts, main, &prediction));
    }
    prescription
}
