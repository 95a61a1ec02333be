//! The records of our own program in the kernel (`perf::open::program`).

use super::{Body, Fields, values};
use crate::arch::Registers;

/// Length of a record: two threads, state and segment, time on CPUs, the registers.
pub(crate) const LEFT: usize = 20 + 8 * Registers::COUNT;
/// `TASK_FROZEN` and `TASK_RTLOCK_WAIT` (linux/sched.h): as good as a wait that no signal
/// ends.
const FROZEN_OR_LOCKED: u64 = 0x9000;
const UNINTERRUPTIBLE: u64 = 0x2;

/// The state bits of a thread that leaves, by those that the program tells.
pub(crate) fn state_of(bits: u16) -> u64 {
    let bits = u64::from(bits);
    bits | if bits & FROZEN_OR_LOCKED == 0 { 0 } else { UNINTERRUPTIBLE }
}

/// The thread that leaves, and what is told of its switch.
pub(super) fn told(data: &[u8]) -> Option<(u32, Body)> {
    let mut fields = Fields(data);
    let (previous, next) = (fields.u32()?, fields.u32()?);
    let (state, segment) = (state_of(fields.u16()?), fields.u16()?);
    let ran = fields.u64()?;
    let registers = Registers::from_ring(values(&mut fields)?);
    let registers = Registers::are_wide(segment).then_some(registers);
    Some((previous, Body::Switch { previous, state, next, registers, ran: Some(ran) }))
}
