//! Names against truth from outside: programs that print their own addresses,
//! lines and versions, and whose `/proc` files give the mappings.
#![forbid(unsafe_code)]

mod debuginfod;
mod exported;
mod hostile;
mod jit;
mod kernel;
mod native;
mod program;
mod python;
mod recorded;
mod replaced;
mod sources;
mod unwind;
mod vanished;
