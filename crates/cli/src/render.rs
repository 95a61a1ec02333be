//! Renderers: each takes a report or folded stacks and a `Write`. None opens a
//! file, measures, or knows where its bytes go.

pub(crate) mod doctor;
pub(crate) mod folded;
pub(crate) mod json;
pub(crate) mod palette;
pub(crate) mod svg;
pub(crate) mod text;
pub(crate) mod units;

use whyslow_events::Header;

/// What a human wants to know of a run that the report does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The machine it was recorded on.
    pub host: String,
    /// On-CPU samples per second.
    pub frequency: u32,
}

impl From<&Header> for Origin {
    fn from(header: &Header) -> Self {
        Origin { host: header.host.clone(), frequency: header.frequency }
    }
}
