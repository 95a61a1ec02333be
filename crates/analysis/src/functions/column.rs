//! The columns of the function table, by the names under which one sorts by them.

use crate::State;
use crate::report::{Function, Spent};

/// What a thread was doing, as the table divides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `cpu.*`.
    Cpu,
    /// `lock.gil`.
    Gil,
    /// `io.*`.
    Io,
    /// `lock.user`, `lock.kernel`, `sync.thread`.
    Lock,
    /// `runq.*`.
    Runq,
    /// `sleep`, `child`, `memory`, `stopped`, `unknown`.
    Other,
}

impl Side {
    /// In the order of the table.
    pub const ALL: [Side; 6] =
        [Side::Cpu, Side::Gil, Side::Io, Side::Lock, Side::Runq, Side::Other];

    pub(super) fn of(state: State) -> Side {
        match state {
            State::CpuUser | State::CpuKernel => Side::Cpu,
            State::LockGil => Side::Gil,
            State::IoDisk
            | State::IoNetwork
            | State::IoIpc
            | State::IoTerminal
            | State::IoDevice
            | State::IoOther => Side::Io,
            State::LockUser | State::LockKernel | State::SyncThread => Side::Lock,
            State::RunqPreempted | State::RunqWaking | State::RunqThrottled => Side::Runq,
            State::Sleep
            | State::Child
            | State::Memory
            | State::Idle
            | State::Stopped
            | State::Unknown => Side::Other,
        }
    }

    /// Its part of some time.
    #[must_use]
    pub fn part(self, spent: &Spent) -> u64 {
        let mut spent = *spent;
        *self.part_mut(&mut spent)
    }

    pub(super) fn part_mut(self, spent: &mut Spent) -> &mut u64 {
        match self {
            Side::Cpu => &mut spent.cpu_ns,
            Side::Gil => &mut spent.gil_ns,
            Side::Io => &mut spent.io_ns,
            Side::Lock => &mut spent.lock_ns,
            Side::Runq => &mut spent.runq_ns,
            Side::Other => &mut spent.other_ns,
        }
    }
}

/// A column: time in the function alone or with what it calls, all of it or a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// What it calls counts, too.
    pub total: bool,
    /// `None` for all of it.
    pub side: Option<Side>,
}

impl Column {
    /// All of them, in the order of the table.
    #[must_use]
    pub fn all() -> Vec<Column> {
        let sides = || [None].into_iter().chain(Side::ALL.map(Some));
        [false, true]
            .into_iter()
            .flat_map(|total| sides().map(move |side| Column { total, side }))
            .collect()
    }

    /// Its name.
    #[must_use]
    pub fn key(self) -> &'static str {
        let [alone, total] = match self.side {
            None => ["self", "total"],
            Some(Side::Cpu) => ["cpu", "total-cpu"],
            Some(Side::Gil) => ["gil", "total-gil"],
            Some(Side::Io) => ["io", "total-io"],
            Some(Side::Lock) => ["lock", "total-lock"],
            Some(Side::Runq) => ["runq", "total-runq"],
            Some(Side::Other) => ["other", "total-other"],
        };
        if self.total { total } else { alone }
    }

    /// What a function has in it.
    #[must_use]
    pub fn of(self, function: &Function) -> u64 {
        let spent = if self.total { &function.total } else { &function.alone };
        self.side.map_or(spent.total_ns, |side| side.part(spent))
    }
}
