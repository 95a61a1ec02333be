//! The verdict in one plain sentence.

use std::collections::BTreeMap;

use super::{Facts, Judged, Sharers};
use crate::report::{Class, Wait};
use crate::{Group, State};

pub(super) fn sentence(facts: &Facts<'_>, judged: &Judged) -> String {
    let wall = duration(facts.wall_ns);
    let share = percent(judged.share);
    match judged.class {
        Class::Idle if judged.cause == "stopped" => {
            format!("Idle: {share} of {wall} it is stopped by a signal or a debugger.")
        }
        Class::Idle => format!(
            "Idle: {share} of {wall} it waits for work{}{}.",
            on(facts, &[State::Idle]),
            when_it_works(judged),
        ),
        Class::CpuBound if judged.cause == "gil" => format!(
            "CPU-bound: {share} of {wall} is spent computing, but {} and use {:.1} CPUs together.",
            sharing(facts.sharers),
            facts.cpus(),
        ),
        Class::CpuBound => format!(
            "CPU-bound: {share} of {wall} is spent {}, on {:.1} CPUs on average.",
            if judged.cause == "kernel" { "in the kernel" } else { "computing" },
            facts.cpus(),
        ),
        Class::LockBound => format!("Lock-bound: {share} of {wall} {}.", locked(facts, judged)),
        Class::IoBound => format!(
            "I/O-bound: {share} of {wall} is spent {}; the CPU is used {}.",
            waiting(facts),
            percent(facts.shares.of(Group::Cpu)),
        ),
        Class::CpuStarved => format!(
            "CPU-starved: {share} of {wall} it is ready to run, but {}.",
            if judged.cause == "quota" {
                "the CPU quota of its control group is used up"
            } else {
                "other programs have the CPUs"
            },
        ),
        Class::MemoryBound => {
            format!("Memory-bound: {share} of {wall} is spent waiting for page faults.")
        }
        Class::Mixed => format!("Mixed: of {wall}, {}.", parts(facts)),
        Class::Inconclusive => inconclusive(facts, &wall),
    }
}

fn inconclusive(facts: &Facts<'_>, wall: &str) -> String {
    if facts.threads.total() == 0 {
        return "Inconclusive: no thread was seen, so there is nothing to judge.".to_owned();
    }
    let remedy = if facts.lost {
        "records were lost, so record again with less load or a lower --freq"
    } else {
        facts.remedy
    };
    let (unknown, margin) = (facts.shares[State::Unknown], facts.margin());
    let why = if unknown >= margin {
        format!("{} of {wall} could not be seen", percent(unknown))
    } else {
        format!("shares of {wall} are only known to ±{:.0} points", (margin * 100.0).ceil())
    };
    format!("Inconclusive: {why}, and that could change the answer; {remedy}.")
}

fn when_it_works(judged: &Judged) -> String {
    match judged.active.class {
        Class::Idle => String::new(),
        class => format!("; when it works it is {} ({})", class.as_str(), judged.active.cause),
    }
}

fn waiting(facts: &Facts<'_>) -> String {
    let io = [
        State::IoDisk,
        State::IoNetwork,
        State::IoIpc,
        State::IoTerminal,
        State::IoDevice,
        State::IoOther,
        State::Sleep,
        State::Child,
    ];
    let largest = io.into_iter().max_by(|a, b| facts.shares[*a].total_cmp(&facts.shares[*b]));
    let state = largest.unwrap_or(State::IoOther);
    match state {
        State::Sleep => "asleep in timers".to_owned(),
        state => format!("waiting for {}{}", thing(state), on(facts, &[state])),
    }
}

fn thing(state: State) -> &'static str {
    match state {
        State::IoDisk => "the disk",
        State::IoNetwork => "the network",
        State::IoIpc => "other programs",
        State::IoTerminal => "the terminal",
        State::IoDevice => "a device",
        State::Child => "child processes",
        _ => "input or output",
    }
}

fn locked(facts: &Facts<'_>, judged: &Judged) -> String {
    let states = [State::LockUser, State::LockKernel, State::LockGil, State::SyncThread];
    match judged.cause.as_str() {
        "kernel" => {
            format!("threads wait for a lock inside the kernel{}", on(facts, &[State::LockKernel]))
        }
        "gil" => "threads wait for the interpreter lock".to_owned(),
        "thread" => {
            format!("threads wait for one another{}", on(facts, &[State::SyncThread]))
        }
        _ => format!(
            "threads wait for a lock{}; {:.1} of them at a time, with {:.1} CPUs in use",
            on(facts, &states[..1]),
            facts.threads[State::LockUser] as f64 / facts.wall_ns.max(1) as f64,
            facts.cpus(),
        ),
    }
}

fn sharing(Sharers { threads, locks }: Sharers) -> String {
    let locks = match locks {
        0 | 1 => "one interpreter lock".to_owned(),
        locks => format!("{locks} interpreter locks"),
    };
    match threads {
        // Whom they wait for was never seen.
        0 | 1 => format!("threads share {locks}"),
        threads => format!("{threads} threads share {locks}"),
    }
}

/// The two largest groups, in words.
fn parts(facts: &Facts<'_>) -> String {
    let shares = facts.shares;
    let starved = "ready to run without a CPU".to_owned();
    let mut parts = [
        (shares.of(Group::Cpu), "computing".to_owned()),
        (shares.of(Group::Io), waiting(facts)),
        (shares.of(Group::Lock) + shares.of(Group::Sync), "waiting for locks".to_owned()),
        (shares.of(Group::Starved), starved),
        (shares.of(Group::Memory), "waiting for page faults".to_owned()),
        (shares.of(Group::Stopped), "stopped".to_owned()),
    ];
    parts.sort_by(|a, b| b.0.total_cmp(&a.0));
    let [(first, one), (second, other), ..] = parts;
    format!("{} is spent {one} and {} {other}", percent(first), percent(second))
}

/// What most of the time in these states is waited for: an object and a call, or at
/// least a call. Nothing where no name has most of it.
fn on(facts: &Facts<'_>, states: &[State]) -> String {
    let is_it = |wait: &&Wait| states.iter().any(|state| state.key() == wait.state);
    let mut all = 0;
    let mut objects: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut calls: BTreeMap<&str, u64> = BTreeMap::new();
    for wait in facts.waits.iter().filter(is_it) {
        all += wait.total_ns;
        let Some(call) = wait.syscall.as_deref() else { continue };
        // What is polled meanwhile is not the lock.
        let polled = wait.state == State::LockUser.key() && !call.starts_with("futex");
        let place = wait.r#where.as_deref().filter(|_| polled);
        *calls.entry(place.unwrap_or(call)).or_default() += wait.total_ns;
        if let Some(object) = wait.object.as_deref().filter(|_| !polled) {
            *objects.entry((object, call)).or_default() += wait.total_ns;
        }
    }
    let most = |ns: &u64| *ns * 2 >= all;
    if let Some(((object, call), _)) = objects.iter().find(|(_, ns)| most(ns)) {
        format!(", mostly {object} ({call})")
    } else if let Some((call, _)) = calls.iter().find(|(_, ns)| most(ns)) {
        format!(", mostly in {call}")
    } else {
        String::new()
    }
}

pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 1.0 { "<1 %".to_owned() } else { format!("{percent:.0} %") }
}

pub(crate) fn duration(ns: u64) -> String {
    let seconds = ns as f64 / 1e9;
    if seconds >= 0.1 {
        format!("{seconds:.1} s")
    } else if seconds >= 1e-4 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{:.1} µs", seconds * 1e6)
    }
}
