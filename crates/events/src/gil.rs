//! The lock under which an interpreter runs code, one thread at a time: what the
//! engine asks of it, and what is answered.

use serde::{Deserialize, Serialize};

use crate::Tid;

/// Where a GIL lies in an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GilPlace {
    /// First address and one past the last: a futex in here belongs to it.
    pub lock: (u64, u64),
    /// The same of the part on which those wait that want it. Who waits on
    /// another part has just given it away, and waits until it is taken.
    pub queue: (u64, u64),
}

/// Who holds a GIL, as a thread of its interpreter sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GilHolder {
    /// Nobody.
    Nobody,
    /// The thread itself.
    Itself,
    /// Another one; `None` when it has not been met yet.
    Other(Option<Tid>),
}
