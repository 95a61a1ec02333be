//! What the kernel tallied in a pause of the recording.

use super::waits::Call;

/// What threads went off their CPUs for, and how each is by the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) stays: Vec<Stay>,
    /// How long threads that have left a CPU since the pause began have had one, ns.
    pub(crate) ran: Vec<(u32, u64)>,
    /// Of the same threads.
    pub(crate) ends: Vec<(u32, AtEnd)>,
}

impl Tally {
    /// Of one thread: the stays, and how long it has had a CPU if it has left one, ns.
    pub(crate) fn of(&self, tid: u32) -> (Vec<Stay>, Option<u64>) {
        let stays = self.stays.iter().copied().filter(|stay| stay.tid == tid);
        let ran = self.ran.iter().find(|(of, _)| *of == tid).map(|(_, ran)| *ran);
        (stays.collect(), ran)
    }

    /// Switches of the target that were tallied.
    pub(crate) fn switches(&self) -> u64 {
        self.stays.iter().map(|stay| stay.times).sum()
    }
}

/// Off the CPU, for one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stay {
    pub(crate) tid: u32,
    pub(crate) why: Why,
    /// How often a CPU was had again.
    pub(crate) times: u64,
    /// For how long in all, and how much of that in the run queue, ns.
    pub(crate) off_ns: u64,
    pub(crate) queued_ns: u64,
}

/// Why a thread is off its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It was as the pause began.
    Before,
    /// It left in this state (tracefs `sched_switch/format`), in this call, from there in the
    /// code and on the stack; of many such stays the first.
    Left { state: u64, call: Call, pc: u64, sp: u64, arguments: [u64; 3] },
}

/// What a thread does when the pause ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtEnd {
    /// It has a CPU.
    Runs,
    /// It has none, for so long by then, ns.
    Off { why: Why, off_ns: u64 },
}
