//! What a recorder left out to cost no more than it may.

use serde::{Deserialize, Serialize};

/// Detail that was left out over the whole recording, in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thinned {
    /// What recording may cost, of one CPU.
    pub limit: u32,
    /// What it cost, of one CPU: the recorder, and what the kernel did for it, which
    /// is estimated.
    pub cost: u32,
    /// Of the time, the part in which stacks of waits were taken.
    pub stacks: u32,
    /// Of the samples that were asked for, those that were taken.
    pub samples: u32,
    /// Of the looks from outside, those that were taken.
    pub looks: u32,
}
