//! Events in, a report and folded stacks out. Pure: no files, clock,
//! environment, threads or printing.
//!
//! The way through: `timeline` turns events into intervals, each thread in one
//! state at any time; `cause` and `account` name the state of each; `bottleneck`
//! shares the wall-clock time out; `pieces` breaks every interval down by state
//! and stack, once, and `ledger`, `fold`, `hot`, `functions` and the shares are sums over
//! these; `verdict` judges, and `prescription` says what to do.

#![forbid(unsafe_code)]

mod account;
mod analyze;
mod bottleneck;
mod cause;
mod coverage;
mod event_loop;
mod fold;
mod frames;
mod functions;
mod gil;
mod halves;
mod hot;
mod interpreter;
mod ledger;
mod lending;
mod lengths;
mod library;
mod numbers;
mod percentile;
mod phases;
mod pieces;
mod prescription;
mod quota;
pub mod report;
mod scatter;
#[cfg(test)]
mod script;
mod segments;
mod split;
mod state;
mod tables;
mod timeline;
mod totals;
mod verdict;
mod waits;
mod wilson;

pub use analyze::{Analysis, Anomalies, Detail, analyze, analyze_in};
pub use fold::{Folded, Stacks, View};
pub use functions::{Column, Order, Side};
pub use state::{Group, State};
