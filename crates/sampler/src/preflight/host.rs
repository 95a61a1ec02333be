//! What this host says of itself, read and not judged. The roots of `/proc` and
//! `/sys` can be other folders, for tests.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where readings come from.
#[derive(Clone, Debug)]
pub struct Roots {
    /// `/proc`.
    pub proc: PathBuf,
    /// `/sys`.
    pub sys: PathBuf,
    /// `/usr/lib/debug`.
    pub debug: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Roots { proc: "/proc".into(), sys: "/sys".into(), debug: "/usr/lib/debug".into() }
    }
}

/// Whether something can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It can.
    Granted,
    /// It is there, and we may not.
    Refused,
    /// It is not there.
    Missing,
}

/// What the checks rest on; `None` where it could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readings {
    /// The kernel's release.
    pub kernel: String,
    /// The architecture that this program was built for, such as `x86_64`.
    pub architecture: &'static str,
    /// Effective capabilities, a bit each (linux/capability.h).
    pub capabilities: u64,
    /// Capabilities of a file are ignored when it is executed.
    pub no_new_privileges: bool,
    /// System calls are filtered.
    pub filtered: bool,
    /// We are in the host's own PID namespace.
    pub initial_pid_namespace: bool,
    /// `/proc` is that of our PID namespace.
    pub own_proc: bool,
    /// We are in the host's own user namespace: our capabilities count for its kernel.
    pub initial_user_namespace: bool,
    /// `kernel.perf_event_paranoid`.
    pub paranoid: Option<i64>,
    /// `kernel.perf_event_mlock_kb`.
    pub mlock_kib: Option<u64>,
    /// `kernel.kptr_restrict`.
    pub kptr_restrict: Option<i64>,
    /// `kernel.yama.ptrace_scope`; `None` without that module.
    pub ptrace_scope: Option<i64>,
    /// Open files we may have: now, and when we ask for more.
    pub open_files: Option<(u64, u64)>,
    /// The tracepoints of tracefs.
    pub tracefs: Access,
    /// `/proc/PID/schedstat`.
    pub schedstat: Access,
    /// Types of the kernel, for eBPF.
    pub btf: bool,
    /// Files with debug information, by build id.
    pub debug_files: bool,
}

impl Readings {
    /// Reads the files below `roots`.
    #[must_use]
    pub fn of(roots: &Roots) -> Readings {
        let text = |path: &str| fs::read_to_string(roots.proc.join(path)).unwrap_or_default();
        let kernel = |name: &str| text(&format!("sys/kernel/{name}")).trim().parse::<i64>().ok();
        let status = text("self/status");
        let field = |name: &str| -> Option<&str> {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        let capabilities = field("CapEff").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        Readings {
            kernel: text("sys/kernel/osrelease").trim().to_owned(),
            architecture: std::env::consts::ARCH,
            capabilities: capabilities.unwrap_or(0),
            no_new_privileges: field("NoNewPrivs") == Some("1"),
            filtered: field("Seccomp") == Some("2"),
            initial_pid_namespace: initial_pid_namespace(roots),
            own_proc: own_proc(roots),
            initial_user_namespace: is_initial(roots, "user", INITIAL_USER),
            paranoid: kernel("perf_event_paranoid"),
            mlock_kib: kernel("perf_event_mlock_kb").and_then(|kib| u64::try_from(kib).ok()),
            kptr_restrict: kernel("kptr_restrict"),
            ptrace_scope: kernel("yama/ptrace_scope"),
            open_files: open_files(&text("self/limits")),
            tracefs: tracefs(&roots.sys),
            schedstat: access(&roots.proc.join("self/schedstat")),
            btf: roots.sys.join("kernel/btf/vmlinux").exists(),
            debug_files: roots.debug.join(".build-id").exists(),
        }
    }

    /// Whether we have a capability that counts: in a user namespace it does for
    /// the processes in there alone.
    #[must_use]
    pub fn can(&self, capability: super::Capability) -> bool {
        let counts = self.initial_user_namespace || capability == super::Capability::SysPtrace;
        counts && self.capabilities >> capability.number() & 1 == 1
    }

    /// Whether the paranoid level is above those of the kernel proper: where a distribution
    /// has added one (Debian's 3, Ubuntu's 4), `CAP_PERFMON` does not count there.
    #[must_use]
    pub fn needs_admin(&self) -> bool {
        self.paranoid.is_some_and(|level| level > 2)
    }

    /// Whether registers and stacks of this architecture are known to us.
    #[must_use]
    pub fn is_known_architecture(&self) -> bool {
        self.architecture == "x86_64"
    }

    /// The kernel's version, first two numbers.
    #[must_use]
    pub fn version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.kernel.split(|c: char| !c.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

/// Inode numbers of the host's own namespaces (linux/proc_ns.h).
const INITIAL_USER: u32 = 0xefff_fffd;
const INITIAL_PID: u32 = 0xefff_fffc;

/// Whether we are in the host's own PID namespace; yes where that cannot be read.
pub(super) fn initial_pid_namespace(roots: &Roots) -> bool {
    is_initial(roots, "pid", INITIAL_PID)
}

fn is_initial(roots: &Roots, kind: &str, inode: u32) -> bool {
    let link = fs::read_link(roots.proc.join("self/ns").join(kind));
    link.map_or(true, |link| link.as_os_str() == format!("{kind}:[{inode}]").as_str())
}

/// Whether `/proc` knows us by the number that we know.
pub(super) fn own_proc(roots: &Roots) -> bool {
    let own = roots.proc.join("self");
    match fs::read_link(&own) {
        Ok(link) => link.as_os_str() == std::process::id().to_string().as_str(),
        Err(_) => own.join("status").exists(),
    }
}

fn tracefs(sys: &Path) -> Access {
    let places = ["kernel/tracing", "kernel/debug/tracing"];
    let found = places.map(|place| access(&sys.join(place).join("events/sched/sched_switch/id")));
    match found {
        [Access::Granted, _] | [_, Access::Granted] => Access::Granted,
        [Access::Refused, _] | [_, Access::Refused] => Access::Refused,
        _ => Access::Missing,
    }
}

fn access(path: &Path) -> Access {
    match fs::read(path) {
        Ok(_) => Access::Granted,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Access::Missing,
        Err(_) => Access::Refused,
    }
}

/// `Max open files            1024                 524288               files`.
fn open_files(limits: &str) -> Option<(u64, u64)> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut limits = line.split_ascii_whitespace().map(|limit| match limit {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    });
    Some((limits.next()??, limits.next()??))
}
