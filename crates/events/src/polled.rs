//! What an engine reports that is not told of switches and looks now and then.

use serde::{Deserialize, Serialize};

use crate::{Ns, Seen, StackId, Tid};

/// What a thread did since it was looked at before, or since it was found. The
/// kernel counts two times for each thread; what is left of the time between
/// the looks it waited. Where, is known of the two moments alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polled {
    /// The thread.
    pub tid: Tid,
    /// When it was looked at before.
    pub since: Ns,
    /// Time on a CPU that the kernel counted meanwhile, ns. While the thread
    /// runs the count may be a tick behind.
    pub cpu_ns: u64,
    /// Of it in the kernel, as its clock ticks sampled it; ns.
    pub kernel_ns: u64,
    /// Time in the run queue, ns, counted when the thread gets a CPU.
    pub runq_ns: u64,
    /// How often it got a CPU. With none it is where it was, all the time.
    pub switches: u64,
    /// What it does now.
    pub seen: Seen,
    /// Where in the code, when that could be read.
    pub stack: Option<StackId>,
}
