//! One file for each subcommand.

pub(crate) mod print;
pub(crate) mod record;
pub(crate) mod report;
