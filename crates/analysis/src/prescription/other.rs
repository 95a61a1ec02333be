//! What to do with a program of any language: divide or shorten what computes,
//! overlap what waits, give it CPUs, or take a lock apart. Only bounds are known
//! (Amdahl): the range begins where nothing is gained.

use super::antipatterns;
use super::facts::{Facts, Process, Worker};
use super::words::{share, span};
use super::{prescribed, unknown};
use crate::report::{Class, Predicted, Prescription, Rejected};
use crate::{Group, State};

/// Waits that are fewer may depend on one another.
const FEW: u64 = 3;
/// Of the CPUs, so much is in use already: there is nothing to divide among.
const BUSY: f64 = 0.8;

pub(super) fn prescription(facts: &Facts<'_>) -> Prescription {
    let active = facts.verdict.active.class;
    match facts.verdict.class {
        Class::Idle if facts.verdict.cause == "stopped" => {
            let because = format!(
                "it is stopped {} of the time: SIGCONT lets it go on, or the debugger that holds it",
                share(facts.verdict.share)
            );
            prescribed("resume", vec![because])
        }
        Class::Idle => keep(format!(
            "it waits for work {} of the time: nothing here would be faster",
            share(facts.verdict.share)
        )),
        Class::Inconclusive => unknown("too much of the time is not known for sure"),
        Class::CpuBound => computes(facts),
        Class::IoBound => waits(facts),
        Class::LockBound => locked(facts),
        Class::CpuStarved => starved(facts),
        Class::MemoryBound => {
            let because =
                "it waits for pages that are not in memory: it needs more, or must touch less";
            let mut prescription = prescribed("more-memory", vec![because.to_owned()]);
            let gone = facts.share(|state| state.group() == Group::Memory);
            prescription.predicted = Some(without(facts, gone, 1));
            prescription
        }
        Class::Mixed if active == Class::Mixed => {
            let io = facts.share(|state| state.group() == Group::Io);
            let cpu = facts.share(|state| state.group() == Group::Cpu);
            if io > cpu { waits(facts) } else { computes(facts) }
        }
        Class::Mixed => unknown("no part of the time stands out"),
    }
}

fn keep(because: String) -> Prescription {
    prescribed("keep", vec![because])
}

/// At best so much of the wall-clock time is gone.
fn without(facts: &Facts<'_>, gone: f64, workers: u32) -> Predicted {
    let wall = facts.wall_ns as f64;
    let left = (wall * (1.0 - gone)).max(1.0);
    Predicted {
        workers,
        wall_ns: [left as u64, facts.wall_ns],
        speedup: [1.0, wall / left],
        memory_bytes: None,
    }
}

fn computes(facts: &Facts<'_>) -> Prescription {
    let cpu = facts.share(|state| state.group() == Group::Cpu);
    let used = used_cpus(facts);
    let part = facts.hot.as_ref().map_or(0.0, |hot| hot.alone);
    let hot = match &facts.hot {
        Some(hot) => format!("{} computes {} of the CPU time by itself", hot.function, share(part)),
        None => "which function computes was not seen".to_owned(),
    };
    if used >= facts.cpus * BUSY {
        let mut prescription = prescribed("optimise", vec![hot]);
        prescription.predicted = Some(without(facts, cpu * part, 1));
        let why = format!("{used:.1} of {:.1} CPUs are in use already", facts.cpus);
        prescription.rejected.push(Rejected { model: "parallelise".to_owned(), why });
        return prescription;
    }
    let whole = facts.hot.as_ref().map_or(1.0, |hot| hot.whole);
    let wall = facts.wall_ns as f64;
    let workers = (facts.cpus / used.max(1.0)).max(1.0);
    // From the hot function alone to everything that computes.
    let saved = |part: f64| wall - wall * cpu * part * (1.0 - 1.0 / workers);
    let [high, low] = [saved(whole.min(1.0)), saved(1.0)];
    let mut prescription = prescribed(
        "parallelise",
        vec![hot, format!("{used:.1} of {:.1} CPUs are in use: the rest is free", facts.cpus)],
    );
    prescription.predicted = Some(Predicted {
        workers: facts.cpus.ceil() as u32,
        wall_ns: [low as u64, high as u64],
        speedup: [wall / high.max(1.0), wall / low.max(1.0)],
        memory_bytes: None,
    });
    prescription
}

fn waits(facts: &Facts<'_>) -> Prescription {
    let io = facts.share(|state| state.group() == Group::Io);
    let repeats = facts.processes.iter().flat_map(|it| &it.workers).filter_map(|worker| {
        let repeats = worker.repeats.as_ref().filter(|repeats| repeats.count >= FEW)?;
        Some((worker, repeats))
    });
    let workers: usize = facts.processes.iter().map(|it: &Process| it.workers.len()).sum();
    let Some((worker, repeats)) = repeats.max_by_key(|(_, repeats)| repeats.total_ns) else {
        return unknown("its waits are too few to tell what could overlap");
    };
    let told = antipatterns::told(repeats);
    if workers > 1 {
        return keep(format!("{workers} threads wait side by side already; {told}"));
    }
    let wall = facts.wall_ns as f64;
    let overlapped = worker.wait_ns as f64 - repeats.longest_ns as f64;
    let gone = (overlapped.max(0.0) / wall).min(io);
    let because = format!("{told}: they can overlap if none needs what another gave");
    let mut prescription = prescribed("overlap", vec![because]);
    let mut predicted = without(facts, gone, 1);
    // With more than this, what does not overlap takes longer than the waits.
    let enough = predicted.speedup[1].round().max(2.0) as u64;
    predicted.workers = u32::try_from(enough.min(repeats.count)).unwrap_or(u32::MAX);
    prescription.predicted = Some(predicted);
    prescription.antipatterns.push(antipatterns::sequential_waits(repeats));
    prescription
}

fn locked(facts: &Facts<'_>) -> Prescription {
    let Some(lock) = &facts.lock else { return unknown("no lock stands out") };
    let all = |of: fn(&Worker) -> u64| facts.processes.iter().map(|it| it.sum(of)).sum::<u64>();
    let (waited, work) = (all(|it| it.lock_ns) as f64, all(Worker::work).max(1) as f64);
    let because = format!(
        "{} of the threads' work is waiting for {}: hold it for less, or give each part its own",
        share(waited / work),
        lock.what,
    );
    let mut prescription = prescribed("shorten-lock", vec![because]);
    prescription.predicted = Some(without(facts, (waited / work).min(0.99), 1));
    prescription.antipatterns.push(antipatterns::lock_convoy(lock, facts.wall_ns));
    prescription
}

/// CPUs that the program used on average.
fn used_cpus(facts: &Facts<'_>) -> f64 {
    let used = facts.processes.iter().map(|it| it.sum(|worker| worker.cpu_ns)).sum::<u64>();
    used as f64 / facts.wall_ns.max(1) as f64
}

fn starved(facts: &Facts<'_>) -> Prescription {
    let kept = facts.share(|state| state.group() == Group::Starved);
    let quota = facts.share(|state| state == State::RunqThrottled) * 2.0 >= kept;
    // Whatever the quota, there are no more CPUs than these.
    let least = used_cpus(facts) / facts.cpus_without_quota;
    let gone = if quota { kept.min((1.0 - least).max(0.0)) } else { kept };
    let wanted = span(kept * facts.wall_ns as f64);
    let cpus = format!("{:.1}", facts.cpus);
    let cpus = cpus.trim_end_matches(".0");
    let (model, because) = match quota {
        true => {
            let file = facts.quota_file.map_or(String::new(), |file| format!(" ({file})"));
            let used = format!("its quota of {cpus} CPUs was used up{file}");
            ("raise-quota", format!("it could have computed for {wanted} more, but {used}"))
        }
        false => (
            "more-cpus",
            format!("it was ready to compute for {wanted}, while others had its {cpus} CPUs"),
        ),
    };
    let mut prescription = prescribed(model, vec![because]);
    prescription.predicted = Some(without(facts, gone, 1));
    prescription
}
