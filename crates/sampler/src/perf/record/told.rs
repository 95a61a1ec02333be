//! The records of our own programs in the kernel (`perf::open::program`).

use super::{Body, Fields, values};
use crate::arch::{Registers, STACK_OF_THREAD};

/// Length of the record of a switch: two threads, state and segment, the registers.
pub(crate) const LEFT: usize = 12 + 8 * Registers::COUNT;
/// Length of that of a wakeup: two threads, and where on its stack the first is.
pub(crate) const WOKEN: usize = 12;

/// `TASK_FROZEN` and `TASK_RTLOCK_WAIT` (linux/sched.h): as good as a wait that no signal
/// ends.
const FROZEN_OR_LOCKED: u64 = 0x9000;
const UNINTERRUPTIBLE: u64 = 0x2;

/// The current thread and what is told, from all that was written.
pub(super) fn told(data: &[u8]) -> Option<(u32, Body)> {
    let mut fields = Fields(data);
    let (current, other) = (fields.u32()?, fields.u32()?);
    match data.len() {
        LEFT => {
            let (state, segment) = (u64::from(fields.u16()?), fields.u16()?);
            let frozen = if state & FROZEN_OR_LOCKED == 0 { 0 } else { UNINTERRUPTIBLE };
            let registers = Registers::from_ring(values(&mut fields)?);
            let registers = Registers::are_wide(segment).then_some(registers);
            let body =
                Body::Switch { previous: current, state: state | frozen, next: other, registers };
            Some((current, body))
        }
        WOKEN => {
            let interrupt = fields.u32()? >= STACK_OF_THREAD;
            Some((current, Body::Waking { woken: other, interrupt }))
        }
        _ => None,
    }
}
