//! `whyslow record`.

use crate::args::RecordArgs;
use crate::exit::Ending;

/// Profiles a program.
///
/// # Errors
/// Always, for now.
pub fn run(_args: &RecordArgs) -> anyhow::Result<Ending> {
    anyhow::bail!("not implemented")
}
