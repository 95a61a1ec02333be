//! What is known of one address space.

use whyslow_events::Pid;

use crate::mappings::Mappings;

#[derive(Debug, Default)]
pub(crate) struct Space {
    /// Whose it is.
    pub(crate) pid: Option<Pid>,
    /// The executable memory in it.
    pub(crate) mappings: Mappings,
    /// Its runtime was reported.
    pub(crate) runtime_known: bool,
}
