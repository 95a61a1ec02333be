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

/// What of a GIL a thread waits on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GilPart {
    /// It wants it.
    Queue,
    /// It has just given it away, and waits until it is taken.
    Switch,
    /// What guards the lock for microseconds; it may want the lock or give it away.
    Guard,
}

/// Bytes of a `pthread_cond_t` and a `pthread_mutex_t` on a 64-bit machine, which follow
/// each other in the order condition, mutex, condition, mutex.
const CONDITION: u64 = 48;
const MUTEX: u64 = 40;

impl GilPlace {
    /// The part of the lock that has a futex at `address` in it.
    #[must_use]
    pub fn part(&self, address: u64) -> GilPart {
        let (queue, end) = self.queue;
        let switch = end.saturating_add(MUTEX);
        if (queue..end).contains(&address) {
            GilPart::Queue
        } else if (switch..switch.saturating_add(CONDITION)).contains(&address) {
            GilPart::Switch
        } else {
            GilPart::Guard
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_waits_on_tells_whether_it_wants_the_lock() {
        // As it lies in CPython: two numbers, a state, a counter, and then the four.
        let place = GilPlace { lock: (1000, 1208), queue: (1032, 1080) };
        let parts = [1040, 1080, 1119, 1120, 1160, 1168, 1000].map(|address| place.part(address));
        let guard = GilPart::Guard;
        let expected =
            [GilPart::Queue, guard, guard, GilPart::Switch, GilPart::Switch, guard, guard];
        assert_eq!(parts, expected);
    }
}
