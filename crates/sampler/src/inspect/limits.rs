//! The time limit of a wait on a futex, from the memory that its fourth argument points at.
//! Only an instant is read: of a span nobody knows when it began.

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

use whyslow_events::{Event, Ns, Tid};

use super::call::InCall;
use crate::arch::{Subject, subject_of};
use crate::clock;

/// `FUTEX_WAIT`, whose limit is a span, and `FUTEX_WAIT_BITSET`, whose limit is an
/// instant (linux/futex.h). The C library and Rust wait by the latter.
const WAIT: u64 = 0;
const WAIT_BITSET: u64 = 9;
const OPERATION: u64 = 0x7f;
const CLOCK_REALTIME: u64 = 256;
/// `struct timespec`: seconds and nanoseconds.
pub(super) const TIMESPEC_BYTES: usize = 16;

/// The time limit of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The call has none.
    Endless,
    /// By the clock of events, ns.
    Until(u64),
}

impl Limit {
    /// What it tells of a thread.
    pub(crate) fn event(self, tid: Tid) -> Event {
        let until = match self {
            Limit::Endless => None,
            Limit::Until(until) => Some(Ns(until)),
        };
        Event::Limit { tid, until }
    }
}

/// What a call says of its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Endless,
    /// Where an instant stands, and whether it is one of the clock of the day.
    At {
        address: u64,
        real_time: bool,
    },
}

/// `None` for another call, and for a span.
pub(super) fn told(call: InCall) -> Option<Told> {
    let InCall { number, arguments: [_, operation, _], fourth, .. } = call;
    if subject_of(number?) != Subject::Futex {
        return None;
    }
    match (operation & OPERATION, fourth) {
        (WAIT | WAIT_BITSET, 0) => Some(Told::Endless),
        (WAIT_BITSET, address) => {
            Some(Told::At { address, real_time: operation & CLOCK_REALTIME != 0 })
        }
        _ => None,
    }
}

/// The time in a `struct timespec`, ns; `None` where none is there.
pub(super) fn timespec(bytes: [u8; TIMESPEC_BYTES]) -> Option<u64> {
    let ([seconds, nanoseconds], []) = bytes.as_chunks::<8>() else { return None };
    let seconds = u64::try_from(i64::from_ne_bytes(*seconds)).ok()?;
    let nanoseconds = u64::try_from(i64::from_ne_bytes(*nanoseconds)).ok()?;
    let plausible = nanoseconds < 1_000_000_000;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds).filter(|_| plausible)
}

/// By how many ns the clock of the day is ahead of that of events; rather too many than too
/// few, since no wait ends before its limit.
pub(super) fn real_time_ahead() -> Option<i64> {
    let now = clock::now().ok()?;
    let real = clock_gettime(ClockId::CLOCK_REALTIME).ok()?.num_nanoseconds();
    real.checked_sub_unsigned(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: u32, operation: u64, fourth: u64) -> InCall {
        InCall { number: Some(number), arguments: [0x1000, operation, 0], fourth, pc: 1, sp: 2 }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn only_a_futex_tells_of_its_limit() {
        let at = |real_time| Some(Told::At { address: 0x7000, real_time });
        assert_eq!(told(call(202, 9 | 128, 0x7000)), at(false));
        assert_eq!(told(call(202, 9 | 128 | 256, 0x7000)), at(true));
        assert_eq!(told(call(202, 9 | 128, 0)), Some(Told::Endless));
        assert_eq!(told(call(202, 128, 0)), Some(Told::Endless));
        assert_eq!(told(call(202, 128, 0x7000)), None, "a span");
        assert_eq!(told(call(202, 1, 0)), None, "no wait");
        assert_eq!(told(call(7, 9, 0x7000)), None, "another call");
    }

    #[test]
    fn what_is_no_time_is_no_limit() {
        let bytes = |seconds: i64, nanoseconds: i64| {
            let mut bytes = [0; TIMESPEC_BYTES];
            bytes[..8].copy_from_slice(&seconds.to_ne_bytes());
            bytes[8..].copy_from_slice(&nanoseconds.to_ne_bytes());
            bytes
        };
        assert_eq!(timespec(bytes(3, 5)), Some(3_000_000_005));
        assert_eq!(timespec(bytes(3, 1_000_000_000)), None);
        assert_eq!(timespec(bytes(-1, 0)), None);
        assert_eq!(timespec(bytes(i64::MAX, 0)), None);
    }
}
