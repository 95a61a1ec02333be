//! The priority of the thread that reads the rings: on a busy machine it would have
//! its turn when they have overflowed.

/// Nine times the part of a busy CPU that others have (`sched_prio_to_weight`).
const PREFERRED: libc::c_int = -10;

/// What nobody has changed.
const USUAL: libc::c_int = 0;

/// The calling thread is preferred as long as this lives.
#[derive(Debug)]
pub(crate) struct Preferred(());

/// Prefers the calling thread, and what it starts meanwhile, where we may and where
/// the user has not said otherwise.
pub(crate) fn prefer() -> Option<Preferred> {
    // SAFETY: takes and gives numbers; 0 is the calling thread.
    let before = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    (before == USUAL && set(PREFERRED)).then_some(Preferred(()))
}

impl Drop for Preferred {
    fn drop(&mut self) {
        set(USUAL);
    }
}

/// Whether the kernel lets us.
fn set(priority: libc::c_int) -> bool {
    // SAFETY: takes numbers; 0 is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, priority) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_priority_is_what_it_was_afterwards() {
        // SAFETY: as above.
        let now = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let before = now();
        let preferred = prefer();
        assert_eq!(now(), if preferred.is_some() { PREFERRED } else { before });
        drop(preferred);
        assert_eq!(now(), before);
    }
}
