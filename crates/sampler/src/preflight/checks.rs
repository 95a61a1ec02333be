//! What readings of a host mean for us, and what to do about it. Pure.

use nix::errno::Errno;

use super::host::{Access, Readings};
use super::{
    Capability, HOST_REMEDY, OPEN_FILES_REMEDY, PROC_REMEDY, RING_REMEDY, Refused, TYPES_REMEDY,
    USER_NAMESPACE_REMEDY, grant, hidden_remedy, no_program_remedy, refused_remedy,
};
use crate::arch;

/// How good a recording will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Perf events of the whole machine.
    PrivilegedPerf,
    /// Perf events of one's own processes.
    UnprivilegedPerf,
    /// Looks at `/proc`.
    Procfs,
}

impl Tier {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::PrivilegedPerf => "privileged perf",
            Tier::UnprivilegedPerf => "unprivileged perf",
            Tier::Procfs => "procfs",
        }
    }

    /// What it cannot see.
    #[must_use]
    pub fn cannot_see(self) -> &'static [&'static str] {
        match self {
            Tier::PrivilegedPerf => &[],
            Tier::UnprivilegedPerf => {
                &["code of the kernel", "who wakes a thread", "other programs on the CPUs"]
            }
            Tier::Procfs => &[
                "single switches: where threads wait is sampled",
                "native stacks of threads that run",
                "code of the kernel",
                "who wakes a thread",
                "programs shorter than some 5 ms",
            ],
        }
    }
}

/// Whether something is as we would have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is.
    Good,
    /// Worth knowing; nothing depends on it.
    Note,
    /// It costs us something.
    Missing,
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name, stable.
    pub id: &'static str,
    /// How it is.
    pub status: Status,
    /// What was found.
    pub finding: String,
    /// What to do, least privilege first.
    pub remedy: Option<String>,
}

/// What a host allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The tier that results.
    pub tier: Tier,
    /// Everything that was checked.
    pub checks: Vec<Check>,
}

impl Diagnosis {
    /// Whether the best tier results and nothing is missing.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.tier == Tier::PrivilegedPerf
            && self.checks.iter().all(|check| check.status != Status::Missing)
    }
}

/// What the kernel said when it was asked for what we need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Perf events of the whole machine.
    pub machine: Result<(), Errno>,
    /// Those of our own threads.
    pub own: Result<(), Errno>,
    /// The smallest ring that is of use.
    pub ring: Result<(), Errno>,
    /// To read memory by `process_vm_readv`, though it is our own.
    pub memory: Result<(), Errno>,
    /// To run our program at switches, and hear from it.
    pub program: Result<(), Errno>,
}

impl Opened {
    /// Nothing was refused.
    pub const ALL: Opened =
        Opened { machine: Ok(()), own: Ok(()), ring: Ok(()), memory: Ok(()), program: Ok(()) };

    /// Every perf event was refused.
    #[must_use]
    pub fn no_perf(errno: Errno) -> Opened {
        let refused = Err(errno);
        Opened { machine: refused, own: refused, ring: refused, program: refused, ..Opened::ALL }
    }

    /// The tier a recording would have.
    fn tier(&self, readings: &Readings) -> Tier {
        match self {
            Opened { ring: Err(_), .. } => Tier::Procfs,
            Opened { machine: Ok(()), .. } if readings.initial_pid_namespace => {
                Tier::PrivilegedPerf
            }
            Opened { own: Ok(()), .. } => Tier::UnprivilegedPerf,
            Opened { .. } => Tier::Procfs,
        }
    }
}

/// Judges a host. `opened` is what came of asking for perf events, `program`
/// where our program is, `servers` whether servers of debug files are named.
#[must_use]
pub fn diagnose(readings: &Readings, opened: Opened, program: &str, servers: bool) -> Diagnosis {
    let tier = opened.tier(readings);
    let checks = vec![
        kernel(readings),
        architecture(readings),
        perf(readings, opened, program),
        capabilities(readings, program),
        tracefs(readings),
        seccomp(readings, opened),
        kptr(readings),
        ring_memory(readings, opened),
        open_files(readings),
        ptrace(readings),
        schedstat(readings),
        pid_namespace(readings),
        user_namespace(readings),
        btf(readings),
        switch_program(readings, opened, program),
        debug_files(readings, servers),
        perf_maps(),
    ];
    Diagnosis { tier, checks }
}

fn good(id: &'static str, finding: impl Into<String>) -> Check {
    Check { id, status: Status::Good, finding: finding.into(), remedy: None }
}

fn note(id: &'static str, finding: impl Into<String>, remedy: &str) -> Check {
    let remedy = (!remedy.is_empty()).then(|| remedy.to_owned());
    Check { id, status: Status::Note, finding: finding.into(), remedy }
}

fn missing(id: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Check {
    let remedy = Some(remedy.into());
    Check { id, status: Status::Missing, finding: finding.into(), remedy }
}

fn kernel(readings: &Readings) -> Check {
    /// The first with `pidfd_open`.
    const PIDFD: (u32, u32) = (5, 3);
    /// The first with `CAP_PERFMON`.
    const PERFMON: (u32, u32) = (5, 8);
    let id = "kernel";
    let release = &readings.kernel;
    match readings.version() {
        Some(version) if version >= PERFMON => good(id, format!("Linux {release}")),
        Some(version) if version >= PIDFD => {
            note(id, format!("Linux {release} has no CAP_PERFMON"), "grant CAP_SYS_ADMIN instead")
        }
        Some(_) => missing(id, format!("Linux {release} is older than 5.3"), "use a newer kernel"),
        None => note(id, "the release is not known", ""),
    }
}

fn architecture(readings: &Readings) -> Check {
    let id = "architecture";
    let name = readings.architecture;
    if readings.is_known_architecture() {
        return good(id, name);
    }
    let finding = format!(
        "{name}, on which nothing was ever tested: no events of the whole machine, stacks by frame \
         pointers alone, none of interpreted programs"
    );
    missing(id, finding, arch::REMEDY)
}

fn perf(readings: &Readings, opened: Opened, program: &str) -> Check {
    let id = "perf events";
    let paranoid =
        readings.paranoid.map_or_else(|| "not known".to_owned(), |paranoid| paranoid.to_string());
    let (found, refused, errno) = match (opened.machine, opened.own) {
        (Err(_), Ok(())) if !readings.is_known_architecture() => {
            return missing(id, "of one's own programs alone", arch::REMEDY);
        }
        (Ok(()), _) => {
            return good(id, format!("can be opened; kernel.perf_event_paranoid is {paranoid}"));
        }
        (Err(errno), Ok(())) => {
            ("of one's own programs alone, others refused", Refused::Others, errno)
        }
        (Err(_), Err(errno)) => ("refused", Refused::All, errno),
    };
    missing(
        id,
        format!("{found}: {errno:?}; kernel.perf_event_paranoid is {paranoid}"),
        refused_remedy((refused, errno), readings, program),
    )
}

fn capabilities(readings: &Readings, program: &str) -> Check {
    let id = "capabilities";
    let wanted = Capability::wanted(readings);
    let absent: Vec<&str> =
        wanted.iter().filter(|it| !readings.can(**it)).map(|it| it.name()).collect();
    if absent.is_empty() {
        return good(id, "all that are of use");
    }
    let absent = absent.join(", ");
    if !readings.initial_user_namespace {
        let finding = format!("without {absent} outside this user namespace");
        return missing(id, finding, USER_NAMESPACE_REMEDY);
    }
    let ignored = if readings.no_new_privileges { "; those of files are ignored here" } else { "" };
    missing(id, format!("without {absent}{ignored}"), grant(readings, program))
}

fn tracefs(readings: &Readings) -> Check {
    let id = "tracefs";
    match readings.tracefs {
        Access::Granted => good(id, "can be read"),
        Access::Refused => missing(
            id,
            "cannot be read",
            "grant CAP_DAC_READ_SEARCH with the others, or: mount -o remount,mode=755 \
             /sys/kernel/tracing",
        ),
        Access::Missing => missing(id, "is not mounted", super::MOUNT_REMEDY),
    }
}

fn seccomp(readings: &Readings, opened: Opened) -> Check {
    let id = "seccomp";
    if !readings.filtered {
        return good(id, "no filter");
    }
    let calls = [("perf_event_open", opened.own), ("process_vm_readv", opened.memory)];
    // The kernel itself says EACCES where the paranoid level forbids.
    let refused = calls.iter().filter_map(|(call, opened)| match opened {
        Err(errno @ (Errno::EPERM | Errno::ENOSYS)) => Some(format!("{call} ({errno:?})")),
        _ => None,
    });
    let refused: Vec<String> = refused.collect();
    if refused.is_empty() {
        return good(id, "a filter, which lets our calls through");
    }
    missing(
        id,
        format!("a filter, which refuses {}", refused.join(" and ")),
        "in a container, allow the system calls: docker run --security-opt \
         seccomp=PROFILE, with perf_event_open and process_vm_readv in it",
    )
}

fn kptr(readings: &Readings) -> Check {
    let id = "kernel symbols";
    match readings.kptr_restrict {
        None => note(id, "kernel.kptr_restrict is not known", ""),
        Some(2..) => missing(id, "hidden from everybody", "sysctl kernel.kptr_restrict=1"),
        Some(_) if readings.can(Capability::Syslog) => good(id, "can be read"),
        Some(_) => note(id, "hidden from this user", "grant CAP_SYSLOG with the others"),
    }
}

fn ring_memory(readings: &Readings, opened: Opened) -> Check {
    /// What the kernel gives everybody unless it is told otherwise.
    const USUAL: u64 = 516;
    let id = "ring memory";
    if let (Ok(()), Err(errno)) = (opened.own, opened.ring) {
        return missing(id, format!("not even the smallest ring: {errno:?}"), RING_REMEDY);
    }
    match readings.mlock_kib {
        _ if readings.can(Capability::IpcLock) => good(id, "without a limit"),
        Some(kib) if kib >= USUAL => good(id, format!("{kib} KiB for each CPU")),
        Some(kib) => missing(id, format!("{kib} KiB for each CPU"), RING_REMEDY),
        None => note(id, "the limit is not known", ""),
    }
}

fn open_files(readings: &Readings) -> Check {
    /// Some ten for each CPU, and one for each thread that is looked at.
    const ENOUGH: u64 = 1024;
    let id = "open files";
    match readings.open_files {
        Some((_, most)) if most < ENOUGH => {
            missing(id, format!("{most} at most"), OPEN_FILES_REMEDY)
        }
        Some((now, _)) => good(id, format!("{now} at a time")),
        None => note(id, "the limit is not known", ""),
    }
}

fn ptrace(readings: &Readings) -> Check {
    let id = "ptrace scope";
    let remedy = hidden_remedy(readings.ptrace_scope);
    match readings.ptrace_scope {
        Some(3..) => missing(id, "no process may be looked at", remedy),
        _ if readings.can(Capability::SysPtrace) => good(id, "any process may be looked at"),
        None | Some(..=0) => good(id, "one's own processes may be looked at"),
        Some(1) => missing(id, "only descendants may be looked at", remedy),
        Some(_) => missing(id, "only administrators may look at processes", remedy),
    }
}

fn schedstat(readings: &Readings) -> Check {
    let id = "schedstat";
    match readings.schedstat {
        Access::Granted => good(id, "counts CPU and run-queue time"),
        _ => note(
            id,
            "not there: the procfs engine cannot run",
            "use a kernel with CONFIG_SCHED_INFO",
        ),
    }
}

fn pid_namespace(readings: &Readings) -> Check {
    let id = "PID namespace";
    match (readings.own_proc, readings.initial_pid_namespace) {
        (false, _) => missing(id, "/proc is that of another", PROC_REMEDY),
        (true, true) => good(id, "the host's own"),
        (true, false) => missing(
            id,
            "not the host's: processes outside are not seen, and the scheduler's events, which \
             number threads as the host does, are of no use",
            HOST_REMEDY,
        ),
    }
}

fn user_namespace(readings: &Readings) -> Check {
    let id = "user namespace";
    if readings.initial_user_namespace {
        return good(id, "the host's own");
    }
    note(
        id,
        "not the host's: its root is an ordinary user for perf events and the kernel's files",
        "run on the host, or without it (docker run --userns=host)",
    )
}

fn btf(readings: &Readings) -> Check {
    let id = "BTF";
    match readings.btf {
        true => good(id, "there"),
        false => note(id, "not there", TYPES_REMEDY),
    }
}

/// Without it a recording costs the target more, and shows the same.
fn switch_program(readings: &Readings, opened: Opened, program: &str) -> Check {
    let id = "switch program";
    let Err(errno) = opened.program else { return good(id, "runs in the kernel") };
    let remedy = no_program_remedy(errno, readings, program);
    let finding = format!("does not run: {errno:?}; switches cost the target a third more");
    note(id, finding, &remedy)
}

fn debug_files(readings: &Readings, servers: bool) -> Check {
    let id = "debug files";
    match (readings.debug_files, servers) {
        (true, true) => good(id, "/usr/lib/debug, and servers"),
        (true, false) => good(id, "/usr/lib/debug"),
        (false, true) => good(id, "from servers"),
        (false, false) => note(
            id,
            "none: stripped programs show as module+offset",
            "install debug packages, or name a server in DEBUGINFOD_URLS",
        ),
    }
}

fn perf_maps() -> Check {
    note(
        "perf maps",
        "runtimes that compile name their code only when asked",
        "node --perf-basic-prof, java -XX:+UnlockDiagnosticVMOptions -XX:+DumpPerfMapAtExit, \
         dotnet with DOTNET_PerfMapEnabled=1",
    )
}

#[cfg(test)]
mod tests;
