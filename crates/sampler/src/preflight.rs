//! What the host allows, and the remedy for each refusal: `host` reads, `checks`
//! judges, `tracefs` finds tracepoints. The words are the same in `doctor` and in
//! errors.

pub(crate) mod checks;
pub(crate) mod host;
mod tracefs;

use nix::errno::Errno;

use host::{Access, Readings, Roots};
pub(crate) use tracefs::tracepoint_id;

/// What to do when a ring may not be as large as we want.
pub(crate) const RING_REMEDY: &str = "raise kernel.perf_event_mlock_kb, or grant CAP_IPC_LOCK";
/// What to do without tracefs.
const MOUNT_REMEDY: &str = "mount it: mount -t tracefs nodev /sys/kernel/tracing";
/// What to do when there are too few file descriptors.
const OPEN_FILES_REMEDY: &str = "raise the limit of open files: ulimit -n";

/// A capability that is of use to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Perf events.
    Perfmon,
    /// The same on kernels before 5.8.
    SysAdmin,
    /// Looking at other processes.
    SysPtrace,
    /// Addresses of the kernel.
    Syslog,
    /// Files that are another user's, such as tracefs.
    DacReadSearch,
    /// Ring memory without a limit.
    IpcLock,
}

impl Capability {
    /// Its bit (linux/capability.h).
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Capability::DacReadSearch => 2,
            Capability::IpcLock => 14,
            Capability::SysPtrace => 19,
            Capability::SysAdmin => 21,
            Capability::Syslog => 34,
            Capability::Perfmon => 38,
        }
    }

    /// Its name as `setcap` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Capability::DacReadSearch => "cap_dac_read_search",
            Capability::IpcLock => "cap_ipc_lock",
            Capability::SysPtrace => "cap_sys_ptrace",
            Capability::SysAdmin => "cap_sys_admin",
            Capability::Syslog => "cap_syslog",
            Capability::Perfmon => "cap_perfmon",
        }
    }

    /// The least that make the best recording on a host.
    fn wanted(readings: &Readings) -> Vec<Capability> {
        let perf = match readings.version() {
            Some(version) if version < (5, 8) => Capability::SysAdmin,
            _ => Capability::Perfmon,
        };
        let mut wanted = vec![perf, Capability::SysPtrace, Capability::Syslog];
        if readings.tracefs != Access::Granted {
            wanted.push(Capability::DacReadSearch);
        }
        wanted
    }
}

/// How to grant what is wanted to `program`.
fn grant(readings: &Readings, program: &str) -> String {
    let names: Vec<&str> = Capability::wanted(readings).iter().map(|it| it.name()).collect();
    format!("setcap {}+ep {program}", names.join(","))
}

/// What to do when `perf_event_open` gives `errno`.
fn refused_remedy(errno: Errno, readings: &Readings, program: &str) -> String {
    match errno {
        Errno::EACCES | Errno::EPERM => format!(
            "grant the capabilities: {}; or run as root; in a container, its seccomp profile \
             must allow perf_event_open",
            grant(readings, program)
        ),
        Errno::ENOSYS => {
            "this kernel, or the container's seccomp profile, has no perf_event_open".to_owned()
        }
        Errno::EMFILE => OPEN_FILES_REMEDY.to_owned(),
        Errno::ENOENT | Errno::EOPNOTSUPP => "this kernel does not support the event".to_owned(),
        Errno::EBUSY => "another program holds the event exclusively".to_owned(),
        _ => "see perf_event_open(2)".to_owned(),
    }
}

/// The same on this host.
pub(crate) fn open_event_remedy(errno: Errno) -> String {
    let readings = Readings::of(&Roots::default());
    let paranoid = readings.paranoid.map_or_else(|| "unknown".to_owned(), |it| it.to_string());
    let remedy = refused_remedy(errno, &readings, &program());
    match errno {
        Errno::EACCES | Errno::EPERM => {
            format!("kernel.perf_event_paranoid is {paranoid}: {remedy}")
        }
        _ => remedy,
    }
}

/// Where our program is.
fn program() -> String {
    let path = std::env::current_exe().ok();
    path.map_or_else(|| "$(which whyslow)".to_owned(), |path| path.display().to_string())
}

/// Judges this host: reads it, and opens the events of the perf engine once.
/// `servers` is whether servers of debug files are named.
#[must_use]
pub fn examine(servers: bool) -> checks::Diagnosis {
    let readings = Readings::of(&Roots::default());
    let opened = crate::perf::Rings::open(crate::system_facts(), 1, 0);
    let opened = opened.map(drop).map_err(|error| error.errno().unwrap_or(Errno::EIO));
    checks::diagnose(&readings, opened, &program(), servers)
}
