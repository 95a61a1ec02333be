//! What is recorded: a command we start, or processes that run.

mod attach;
mod launch;
pub(crate) mod maps;

use std::ffi::OsString;

pub(crate) use attach::{Attached, attach, check, hidden, seen, traced};
pub(crate) use launch::{Child, spawn};

/// What to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A command and its arguments.
    Launch(Vec<OsString>),
    /// Running processes, by PID.
    Attach(Vec<u32>),
}
