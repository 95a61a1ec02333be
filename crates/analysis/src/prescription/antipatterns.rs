//! Named mistakes, each with what shows it.

use super::facts::{EventLoop, Repeats, Wait};
use super::words::{bytes, share, span};
use crate::report::Antipattern;

/// Threads at one interpreter lock.
pub(super) struct Found {
    pub(super) workers: usize,
    pub(super) held: f64,
    pub(super) waited: f64,
}

pub(super) fn sequential_waits(repeats: &Repeats) -> Antipattern {
    named("sequential-waits", told(repeats))
}

pub(super) fn threads_on_cpu(found: &Found) -> Antipattern {
    let Found { workers, held, waited } = found;
    named(
        "threads-on-cpu",
        format!(
            "{workers} threads compute {} with one interpreter lock, and wait {} for it",
            span(*held),
            span(*waited),
        ),
    )
}

pub(super) fn gil_convoy(found: &Found) -> Antipattern {
    let Found { workers, held, waited } = found;
    named(
        "lock-convoy",
        format!(
            "{workers} threads wait {} for the interpreter lock, which is held {}",
            span(*waited),
            span(*held),
        ),
    )
}

pub(super) fn lock_convoy(lock: &Wait, wall_ns: u64) -> Antipattern {
    let at_a_time = lock.total_ns as f64 / wall_ns.max(1) as f64;
    named(
        "lock-convoy",
        format!("{at_a_time:.1} threads at a time wait for {} ({} times)", lock.what, lock.count),
    )
}

pub(super) fn processes_on_io(count: usize, waiting: f64, memory: Option<u64>) -> Antipattern {
    let memory = memory.map_or(String::new(), |memory| format!(" in {} of memory", bytes(memory)));
    named(
        "processes-on-io",
        format!("{count} processes{memory} wait {} of the time", share(waiting)),
    )
}

pub(super) fn blocking_call(repeats: &Repeats) -> Antipattern {
    named("blocking-call-in-event-loop", format!("the event loop stands still: {}", told(repeats)))
}

pub(super) fn cpu_in_loop(event_loop: &EventLoop, part: f64) -> Antipattern {
    let place = event_loop.computes.as_deref().unwrap_or("a callback");
    named(
        "cpu-in-event-loop",
        format!("the event loop computes {} of the time: {place}", share(part)),
    )
}

/// `5 waits of 1.0 s one after another, fetch (sleeps.py:7)`.
pub(super) fn told(repeats: &Repeats) -> String {
    let mean = repeats.total_ns as f64 / repeats.count.max(1) as f64;
    let place = repeats.place.as_ref().map_or(String::new(), |place| format!(", {place}"));
    format!("{} waits of {} one after another{place}", repeats.count, span(mean))
}

fn named(id: &str, evidence: String) -> Antipattern {
    Antipattern { id: id.to_owned(), evidence }
}
