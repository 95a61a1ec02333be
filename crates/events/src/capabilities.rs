//! What an engine can see on this host, and what it had to do without.

use serde::{Deserialize, Serialize};

/// What the analysis may rely on. Nothing downstream asks which engine ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Every switch off and on the CPU is reported, with its time.
    pub exact_switches: bool,
    /// Every wakeup is reported, with who woke.
    pub wakeups: bool,
    /// What runs on each CPU beside the target is reported.
    pub neighbours: bool,
    /// On-CPU samples are taken.
    pub cpu_samples: bool,
    /// Call chains include kernel frames.
    pub kernel_stacks: bool,
    /// Call chains include user frames.
    pub user_stacks: bool,
    /// Waits carry the system call and the object they wait on.
    pub causes: bool,
}

impl Capabilities {
    /// All there is.
    pub const ALL: Capabilities = Capabilities {
        exact_switches: true,
        wakeups: true,
        neighbours: true,
        cpu_samples: true,
        kernel_stacks: true,
        user_stacks: true,
        causes: true,
    };

    /// The names of what is available, in a fixed order.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        [
            (self.exact_switches, "exact-switches"),
            (self.wakeups, "wakeups"),
            (self.neighbours, "neighbours"),
            (self.cpu_samples, "cpu-samples"),
            (self.kernel_stacks, "kernel-stacks"),
            (self.user_stacks, "user-stacks"),
            (self.causes, "causes"),
        ]
        .into_iter()
        .filter_map(|(have, name)| have.then_some(name))
        .collect()
    }
}

/// Something wanted, refused by the host, and replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// What was asked for.
    pub wanted: String,
    /// What is used in its place.
    pub got: String,
    /// The name of the error the kernel gave, such as `EACCES`, or [`Fallback::NO_ERROR`].
    pub errno: String,
    /// What the reader can do about it.
    pub remedy: String,
}

impl Fallback {
    /// The `errno` of what the kernel did not refuse, and is not to be had all the same.
    pub const NO_ERROR: &'static str = "no error";
}
