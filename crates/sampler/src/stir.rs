//! Makes a CPU switch, to hear whether that is told.

use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Sleeps a few moments on a CPU, on a thread of its own: the affinity of this one is
/// the child's too. A CPU that is not there or not ours is passed over.
pub(crate) fn stir(cpu: u32) {
    const TIMES: usize = 3;
    let sleep = move || {
        let mut only = CpuSet::new();
        if only.set(cpu as usize).is_ok() && sched_setaffinity(Pid::from_raw(0), &only).is_ok() {
            (0..TIMES).for_each(|_| std::thread::sleep(Duration::from_micros(50)));
        }
    };
    // Who asks hears that nothing was told.
    let _ = std::thread::spawn(sleep).join();
}
