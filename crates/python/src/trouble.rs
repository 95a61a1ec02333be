//! What can be wrong with the memory of a target.

/// Why something in the target's memory could not be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nothing is there, or it may not be read.
    #[error("nothing can be read at {0:#x}")]
    Unreadable(u64),
    /// What is there is not what should be.
    #[error("what is at {0:#x} makes no sense")]
    Nonsense(u64),
    /// A list leads back into itself.
    #[error("the list that goes through {0:#x} has no end")]
    Endless(u64),
    /// The thread ended, and perhaps another took its place.
    #[error("the thread is gone")]
    Gone,
}
