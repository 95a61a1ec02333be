//! Stops one thread and lets it go on. The kernel lets it go on, too, when we are killed.

use libc::{c_int, c_void, pid_t};
use nix::errno::Errno;

/// A thread that stands still until this value is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    tid: pid_t,
    /// It was about to get this signal when it stopped; 0 for none.
    signal: c_int,
    /// See [`hold`].
    child: bool,
}

/// What became of a thread that was asked to stop.
enum State {
    Stopped { signal: c_int },
    Ended,
}

/// Stops `tid`, which should be running: a system call that it blocks in would be
/// interrupted. `child` says whether it is the first thread of a child of ours, of whose
/// end somebody else wants to know.
///
/// # Errors
/// `EPERM` when that is not allowed or it is traced, `ESRCH` when it ended.
pub(crate) fn hold(tid: u32, child: bool) -> nix::Result<Held> {
    let tid = pid_t::try_from(tid).map_err(|_| Errno::ESRCH)?;
    trace(libc::PTRACE_SEIZE, tid, 0)?;
    // Fails when it ends just now, which the wait tells, too.
    let asked = trace(libc::PTRACE_INTERRUPT, tid, 0);
    match wait(tid)? {
        State::Stopped { signal } => {
            let held = Held { tid, signal, child };
            asked.map(|()| held)
        }
        State::Ended => {
            if !child {
                reap(tid);
            }
            Err(Errno::ESRCH)
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let detached = trace(libc::PTRACE_DETACH, self.tid, self.signal);
        // Killed while it stood still?
        if detached.is_err() && !self.child && matches!(wait(self.tid), Ok(State::Ended)) {
            reap(self.tid);
        }
    }
}

fn trace(request: libc::c_uint, tid: pid_t, data: c_int) -> nix::Result<()> {
    let nothing = std::ptr::null_mut::<c_void>();
    // SAFETY: seizing, interrupting and detaching pass numbers alone; no memory of ours
    // is touched.
    Errno::result(unsafe { libc::ptrace(request, tid, nothing, data as usize as *mut c_void) })
        .map(drop)
}

/// Waits until a thread that was seized stands still or has ended; leaves its end to be
/// heard of.
fn wait(tid: pid_t) -> nix::Result<State> {
    let options = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT | libc::__WALL;
    // SAFETY: all zeros are a siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: `info` is ours, and lives until the call returns.
        let result = unsafe { libc::waitid(libc::P_PID, tid as libc::id_t, &mut info, options) };
        match Errno::result(result) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => return Err(Errno::ESRCH),
            Err(errno) => return Err(errno),
        }
    }
    if !matches!(info.si_code, libc::CLD_TRAPPED | libc::CLD_STOPPED) {
        return Ok(State::Ended);
    }
    // SAFETY: waitid fills this field.
    let status = unsafe { info.si_status() };
    // In the second byte is what happened, if that is no signal.
    Ok(State::Stopped { signal: if status >> 8 == 0 { status } else { 0 } })
}

/// Hears of the end of a thread, which then is gone.
fn reap(tid: pid_t) {
    let mut status = 0;
    // SAFETY: `status` is ours, and lives until the call returns.
    unsafe { libc::waitpid(tid, &mut status, libc::__WALL | libc::WNOHANG) };
}
