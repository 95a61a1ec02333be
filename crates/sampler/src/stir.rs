//! Makes CPUs leave idleness, to hear whether they tell of it.

use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The first CPUs. A machine with more has other threads that do the same.
pub(crate) const FIRST: [u32; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

/// Sleeps a moment on each of these CPUs, on a thread of its own: the
/// affinity of this one is the child's too.
pub(crate) fn stir_cpus(cpus: &[u32]) {
    const TIMES: usize = 3;
    let cpus = cpus.to_vec();
    let stir = move || {
        for cpu in cpus {
            let mut only = CpuSet::new();
            // A CPU that is not there or not ours is passed over.
            if only.set(cpu as usize).is_ok() && sched_setaffinity(Pid::from_raw(0), &only).is_ok()
            {
                (0..TIMES).for_each(|_| std::thread::sleep(Duration::from_micros(50)));
            }
        }
    };
    // Nothing depends on it but how early a fault of the kernel is noticed.
    let _ = std::thread::spawn(stir).join();
}
