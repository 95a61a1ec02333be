//! The integration tests: they drive the built binary from outside, as a user
//! does. The binary is `$WHYSLOW_BIN`, or else the newest under `target`.

#![forbid(unsafe_code)]

mod attach;
mod beside;
mod case;
mod doctor;
mod event_loop;
mod faults;
mod follow;
mod free_threaded;
mod gil;
mod hours;
mod idle;
mod interpreters;
mod interrupt;
mod launch;
mod namespaces;
mod outputs;
mod overhead;
mod precise;
mod prescription;
mod process;
mod procfs;
mod python;
mod recording;
mod report;
mod servers;
mod sets;
mod sizes;
mod soak;
mod stacks;
mod switches;
mod user;
