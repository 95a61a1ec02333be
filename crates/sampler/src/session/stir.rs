//! Makes CPUs leave idleness, to hear whether they tell of it.

use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Sleeps a moment on each of the first CPUs, on a thread of its own: the
/// affinity of this one is the child's too.
pub(super) fn stir_cpus() {
    /// A machine with more has other threads that do the same.
    const CPUS: usize = 8;
    const TIMES: usize = 3;
    let stir = || {
        for cpu in 0..CPUS {
            let mut only = CpuSet::new();
            // A CPU that is not there or not ours is passed over.
            if only.set(cpu).is_ok() && sched_setaffinity(Pid::from_raw(0), &only).is_ok() {
                (0..TIMES).for_each(|_| std::thread::sleep(Duration::from_micros(50)));
            }
        }
    };
    // Nothing depends on it but how early a fault of the kernel is noticed.
    let _ = std::thread::spawn(stir).join();
}
