//! What the kernel's own functions tell of a wait.

use crate::State;

/// Deeper frames are the way in, which the system call tells better.
const DEPTH: usize = 16;

/// The state the innermost telling frame names.
pub(super) fn state(frames: &[&str]) -> Option<State> {
    let told = frames
        .iter()
        .take(DEPTH)
        .find_map(|frame| TELLING.iter().find(|(names, _)| any(names, frame)))
        .map(|(_, state)| *state);
    match told {
        Some(State::IoDisk) if frames.iter().any(|frame| any(FAULTS, frame)) => Some(State::Memory),
        told => told,
    }
}

/// The state that a frame names which is the innermost of several kinds of waits: it tells
/// where nothing else does.
pub(super) fn vague_state(frames: &[&str]) -> Option<State> {
    frames.iter().any(|frame| any(VAGUE, frame)).then_some(State::IoOther)
}

/// Whether the wait is in a futex.
pub(super) fn in_futex(frames: &[&str]) -> bool {
    frames.iter().any(|frame| any(&["futex_", "do_futex"], frame))
}

/// A name that ends in `_` is a prefix; compilers append `.constprop.0` and the
/// like to the others.
fn any(names: &[&str], frame: &str) -> bool {
    let plain = frame.split('.').next().unwrap_or(frame);
    names.iter().any(
        |name| {
            if name.ends_with('_') { plain.starts_with(name) } else { plain == *name }
        },
    )
}

const FAULTS: &[&str] =
    &["exc_page_fault", "asm_exc_page_fault", "do_user_addr_fault", "do_page_fault"];

/// Of sockets, terminals and the like.
const VAGUE: &[&str] = &["wait_woken", "__skb_wait_for_more_packets"];

const TELLING: &[(&[&str], State)] = &[
    (&["ptrace_stop", "do_signal_stop", "do_jobctl_trap"], State::Stopped),
    (
        &[
            "rwsem_down_",
            "down_read",
            "down_read_",
            "down_write",
            "down_write_",
            "__mutex_lock",
            "__mutex_lock_",
            "mutex_lock",
            "mutex_lock_",
            "percpu_rwsem_wait",
            "__down_",
            "locks_lock_inode_wait",
        ],
        State::LockKernel,
    ),
    (
        &[
            "io_schedule",
            "io_schedule_timeout",
            "blk_",
            "folio_wait_",
            "wait_on_page_",
            "jbd2_",
            "submit_bio_wait",
            "ext4_",
            "xfs_",
            "btrfs_",
            "nfs_",
            "fuse_",
        ],
        State::IoDisk,
    ),
    (&["tcp_", "udp_", "inet_", "sk_wait_data", "sk_stream_wait_"], State::IoNetwork),
    (
        &[
            "pipe_",
            // From 6.15 on.
            "anon_pipe_",
            "fifo_pipe_",
            "unix_",
            "wait_for_partner",
            "eventfd_",
            "do_msgrcv",
            "do_msgsnd",
            "do_semtimedop",
            "wq_sleep",
        ],
        State::IoIpc,
    ),
    (&["n_tty_", "tty_"], State::IoTerminal),
    (&["hrtimer_nanosleep", "do_nanosleep", "common_nsleep"], State::Sleep),
    (&["do_wait", "kernel_wait4"], State::Child),
    (&["do_swap_page", "shrink_", "try_to_free_", "handle_mm_fault"], State::Memory),
];
