//! One file for each subcommand.

pub(crate) mod doctor;
pub(crate) mod print;
pub(crate) mod record;
pub(crate) mod report;
