//! What the host allows, and the remedy for each refusal: `host` reads, `checks`
//! judges, `tracefs` finds tracepoints. The words are the same in `doctor` and in
//! errors.

pub(crate) mod checks;
pub(crate) mod host;
mod tracefs;

use nix::errno::Errno;

use host::{Access, Readings, Roots};
pub(crate) use tracefs::tracepoint_id;

use crate::arch;

/// What to do when a ring may not be as large as we want.
pub(crate) const RING_REMEDY: &str = "raise kernel.perf_event_mlock_kb, or grant CAP_IPC_LOCK";
/// What to do without tracefs.
const MOUNT_REMEDY: &str = "mount it: mount -t tracefs nodev /sys/kernel/tracing";
/// What to do in a PID namespace of one's own.
pub(crate) const HOST_REMEDY: &str =
    "run on the host, or with its PID namespace (docker run --pid=host)";
/// What to do with the `/proc` of another PID namespace.
pub(crate) const PROC_REMEDY: &str =
    "mount our own: mount -t proc proc /proc (unshare --mount-proc)";
/// What to do when there are too few file descriptors.
const OPEN_FILES_REMEDY: &str = "raise the limit of open files: ulimit -n";

/// Where the kernel does not describe its types.
const TYPES_REMEDY: &str = "use a kernel with CONFIG_DEBUG_INFO_BTF";
/// What to do where capabilities do not count for the kernel's own.
const USER_NAMESPACE_REMEDY: &str =
    "run outside the user namespace, with the capabilities of the host";
/// Why the paranoid level must be lower: distributions add levels of their own.
const LEVEL_REASON: &str = "(above it this kernel heeds CAP_SYS_ADMIN alone)";

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
    /// Programs in the kernel.
    Bpf,
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
            Capability::Bpf => 39,
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
            Capability::Bpf => "cap_bpf",
        }
    }

    /// The one that perf events of the whole machine need.
    fn for_perf(readings: &Readings) -> Capability {
        match readings.version() {
            Some(version) if version < (5, 8) => Capability::SysAdmin,
            _ => Capability::Perfmon,
        }
    }

    /// The least that make the best recording on a host.
    fn wanted(readings: &Readings) -> Vec<Capability> {
        let mut wanted = vec![Self::for_perf(readings), Capability::SysPtrace, Capability::Syslog];
        if readings.tracefs != Access::Granted {
            wanted.push(Capability::DacReadSearch);
        }
        wanted
    }
}

/// How to grant what is wanted to `program`.
fn grant(readings: &Readings, program: &str) -> String {
    grant_all(&Capability::wanted(readings), program)
}

/// The same with what our program at switches needs.
fn grant_program(readings: &Readings, program: &str) -> String {
    grant_all(&[&Capability::wanted(readings)[..], &[Capability::Bpf]].concat(), program)
}

fn grant_all(wanted: &[Capability], program: &str) -> String {
    let names: Vec<&str> = wanted.iter().map(|it| it.name()).collect();
    format!("setcap {}+ep {program}", names.join(","))
}

/// Of which programs perf events were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Of all but one's own, as far as is known.
    Others,
    /// Of one's own, too.
    All,
}

/// What to do when `perf_event_open` gives `errno`.
fn refused_remedy(
    (refused, errno): (Refused, Errno),
    readings: &Readings,
    program: &str,
) -> String {
    let level = || format!("sysctl kernel.perf_event_paranoid=2 {LEVEL_REASON}");
    match errno {
        Errno::EACCES if refused == Refused::All && readings.needs_admin() => {
            match readings.can(Capability::Perfmon) {
                true => level(),
                false => format!(
                    "{} gives one's own programs; for others, too, grant the capabilities: {}; \
                     or run as root",
                    level(),
                    grant(readings, program)
                ),
            }
        }
        Errno::EACCES | Errno::EPERM if !readings.initial_user_namespace => {
            USER_NAMESPACE_REMEDY.to_owned()
        }
        Errno::EACCES | Errno::EPERM
            if readings.can(Capability::for_perf(readings))
                && readings.tracefs == Access::Granted =>
        {
            "the seccomp profile of a container, or another policy, must allow perf_event_open"
                .to_owned()
        }
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
pub(crate) fn open_event_remedy(refused: Refused, errno: Errno) -> String {
    let readings = Readings::of(&Roots::default());
    let paranoid = readings.paranoid.map_or_else(|| "unknown".to_owned(), |it| it.to_string());
    let remedy = refused_remedy((refused, errno), &readings, &program());
    match errno {
        Errno::EACCES | Errno::EPERM => {
            format!("kernel.perf_event_paranoid is {paranoid}: {remedy}")
        }
        _ => remedy,
    }
}

/// What to do when our program at switches does not run, for which the kernel says `errno`.
fn no_program_remedy(errno: Errno, readings: &Readings, program: &str) -> String {
    /// The first whose `sched_switch` says in which state a thread leaves.
    const STATE: (u32, u32) = (5, 18);
    // A filter says that there is no such call, too.
    let refused = matches!(errno, Errno::EPERM | Errno::EACCES | Errno::ENOSYS);
    let may = [Capability::Bpf, Capability::Perfmon].into_iter().all(|it| readings.can(it));
    match () {
        () if !readings.is_known_architecture() => arch::REMEDY.to_owned(),
        () if !readings.btf => TYPES_REMEDY.to_owned(),
        // An older kernel refuses what it does not understand, and what needs locked memory.
        () if !refused || readings.version().is_some_and(|version| version < STATE) => {
            "use a kernel from 5.18 on".to_owned()
        }
        () if !readings.initial_user_namespace => USER_NAMESPACE_REMEDY.to_owned(),
        () if !may => format!(
            "grant CAP_BPF with the others: {}; or run as root; in a container, its seccomp \
             profile must allow bpf",
            grant_program(readings, program)
        ),
        () if readings.needs_admin() && !readings.can(Capability::SysAdmin) => {
            format!("sysctl kernel.perf_event_paranoid=2 {LEVEL_REASON}")
        }
        () => "lockdown of the kernel, or the seccomp profile of a container, must allow bpf"
            .to_owned(),
    }
}

/// The same on this host.
pub(crate) fn run_program_remedy(errno: Errno) -> String {
    no_program_remedy(errno, &Readings::of(&Roots::default()), &program())
}

/// What to do where threads that wait, and memory, may not be looked at, with
/// `kernel.yama.ptrace_scope` at `scope`.
fn hidden_remedy(scope: Option<i64>) -> &'static str {
    match scope {
        None | Some(..=0) => "grant CAP_SYS_PTRACE, or run as root",
        Some(1) => {
            "start the program with whyslow record -- CMD, set kernel.yama.ptrace_scope to 0, or \
             grant CAP_SYS_PTRACE"
        }
        Some(2) => "grant CAP_SYS_PTRACE, or set kernel.yama.ptrace_scope to 0",
        Some(_) => "kernel.yama.ptrace_scope forbids it to all: it must be lower from the boot on",
    }
}

/// The same on this host.
pub(crate) fn look_remedy() -> String {
    hidden_remedy(Readings::of(&Roots::default()).ptrace_scope).to_owned()
}

/// Whether tracepoints number threads as our calls do: in the host's PID
/// namespace alone.
pub(crate) fn names_threads_as_the_kernel() -> bool {
    host::initial_pid_namespace(&Roots::default())
}

/// Makes sure that `/proc` numbers processes as our calls do.
///
/// # Errors
/// When it does not.
pub(crate) fn check_proc() -> Result<(), crate::Error> {
    if host::own_proc(&Roots::default()) { Ok(()) } else { Err(crate::Error::ForeignProc) }
}

/// Where our program is.
fn program() -> String {
    let path = std::env::current_exe().ok();
    path.map_or_else(|| "$(which whyslow)".to_owned(), |path| path.display().to_string())
}

/// Judges this host: reads it, and asks for one perf event of each sort.
/// `servers` is whether servers of debug files are named.
#[must_use]
pub fn examine(servers: bool) -> checks::Diagnosis {
    // First, for it mounts tracefs as a recording would.
    let opened = crate::perf::probe(crate::system_facts());
    let readings = Readings::of(&Roots::default());
    checks::diagnose(&readings, opened, &program(), servers)
}
