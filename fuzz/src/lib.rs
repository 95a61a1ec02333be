//! What is fuzzed, and the inputs known so far. Two programs feed them: the
//! plain one in `main.rs`, which needs nothing, and `guided.rs`, which is led
//! by coverage.

#![forbid(unsafe_code)]

pub mod corpus;
mod seeds;
mod targets;

pub use targets::{TARGETS, Target};
