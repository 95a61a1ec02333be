//! The only unsafe code of the project: calls no safe wrapper covers.

#![expect(unsafe_code, reason = "system calls without a safe wrapper")]

mod bpf;
mod gate;
mod hold;
mod output;
mod period;
mod pidfd;
mod priority;

pub(crate) use bpf::{Cell, Table, enter_event, event_table, run_at};
pub(crate) use gate::Gate;
pub(crate) use hold::{Held, hold};
pub(crate) use output::redirect;
pub(crate) use period::set_period;
pub(crate) use pidfd::pidfd_open;
pub(crate) use priority::prefer;

#[cfg(test)]
mod tests;
