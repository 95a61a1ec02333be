//! The engine that needs no perf events: it looks at the target's threads in
//! `/proc`, again and again.
//!
//! `task` reads one thread, `pace` says when, `poller` keeps the target's
//! processes and threads and turns what they show into events, `loose_ends` asks once
//! more who holds a pipe, `stacks` adds where in the code, `stillness` saves looks at
//! processes that do nothing, `session` runs a recording. CPU and run-queue time are the
//! kernel's own; where a thread waited in between two looks is a sample.

mod family;
mod loose_ends;
mod newest;
mod pace;
mod poller;
mod session;
mod stacks;
mod stillness;
mod surroundings;
mod task;

pub(crate) use session::Session;
