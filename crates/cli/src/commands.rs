//! One file for each subcommand.

pub mod print;
pub mod record;
pub mod report;
