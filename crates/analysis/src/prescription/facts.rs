//! What a prescription rests on, measured and without the recording behind it:
//! times in ns, one value for each working thread and process. How it is
//! gathered is in `gather`, what follows from it in `python` and `other`.

use crate::State;
use crate::ledger::PerState;
use crate::report::Verdict;

/// Everything.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    pub(super) wall_ns: u64,
    /// CPUs the program may use: affinity and quota.
    pub(super) cpus: f64,
    /// By affinity alone.
    pub(super) cpus_without_quota: f64,
    /// Where the tightest quota is set, if that is known.
    pub(super) quota_file: Option<&'a str>,
    pub(super) verdict: &'a Verdict,
    pub(super) shares: &'a PerState<f64>,
    /// The processes that have work, the one with most first.
    pub(super) processes: Vec<Process>,
    pub(super) hot: Option<Hot>,
    /// The lock that is waited for most.
    pub(super) lock: Option<Wait>,
}

/// A process and its threads that have work.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Process {
    /// It runs CPython.
    pub(super) python: bool,
    /// Its threads need no lock to run Python.
    pub(super) free_threaded: bool,
    /// Part of its CPU time with the interpreter lock, lowest and highest.
    pub(super) held: [f64; 2],
    pub(super) memory: Option<u64>,
    pub(super) workers: Vec<Worker>,
}

/// A thread that has work.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Worker {
    /// On a CPU while its work went on, and kept from one.
    pub(super) cpu_ns: u64,
    pub(super) starved_ns: u64,
    /// Waits that could overlap with others, and how many; of these, for a disk.
    pub(super) wait_ns: u64,
    pub(super) wait_count: u64,
    pub(super) disk_ns: u64,
    pub(super) gil_ns: u64,
    pub(super) lock_ns: u64,
    /// Before and after its work it waited so long for a disk, for memory and for a CPU:
    /// another run may find all of that at hand.
    pub(super) cold_ns: u64,
    /// From the first to the last instant of its work.
    pub(super) from: u64,
    pub(super) to: u64,
    /// The waits at the place where it waits most.
    pub(super) repeats: Option<Repeats>,
    /// What the part of its CPU time is that the heaviest function takes.
    pub(super) divisible: f64,
    pub(super) event_loop: Option<EventLoop>,
}

/// Waits of one thread at one place, one after another.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Repeats {
    pub(super) count: u64,
    pub(super) total_ns: u64,
    pub(super) longest_ns: u64,
    /// `function (file:line)`.
    pub(super) place: Option<String>,
}

/// What a thread does while it runs callbacks of an event loop, instead of
/// waiting for whichever event comes next.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct EventLoop {
    pub(super) cpu_ns: u64,
    pub(super) blocked_ns: u64,
    /// Where it computes most.
    pub(super) computes: Option<String>,
    /// Where it waits most.
    pub(super) blocks: Option<Repeats>,
    /// So many of these waits came in one round of the loop, if that is known: as many tasks
    /// could wait at a time.
    pub(super) at_once: Option<u64>,
}

/// The function that computes most.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hot {
    pub(super) function: String,
    /// Of all CPU time, alone and with what it calls.
    pub(super) alone: f64,
    pub(super) whole: f64,
}

/// Something that is waited for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wait {
    /// `object, function (file:line)` as far as known.
    pub(super) what: String,
    pub(super) count: u64,
    pub(super) total_ns: u64,
}

impl Facts<'_> {
    pub(super) fn share(&self, of: impl Fn(State) -> bool) -> f64 {
        self.shares.iter().filter(|(state, _)| of(*state)).map(|(_, share)| share).sum()
    }
}

impl Process {
    pub(super) fn sum(&self, of: impl Fn(&Worker) -> u64) -> u64 {
        self.workers.iter().map(of).sum()
    }
}

impl Worker {
    /// Time in which the thread had something to do.
    pub(super) fn work(&self) -> u64 {
        self.cpu_ns + self.starved_ns + self.wait_ns + self.gil_ns + self.lock_ns
    }
}
