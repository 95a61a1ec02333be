//! Hosts as they are met, read from folders that look like theirs.

use std::fs;
use std::path::Path;

use super::super::host::Roots;
use super::*;

const PROGRAM: &str = "/usr/bin/whyslow";

/// `/proc/self/status` of a process with these capabilities.
fn status(capabilities: &str, more: &str) -> String {
    format!("Name:\twhyslow\nNSpid:\t7\nCapEff:\t{capabilities}\nNoNewPrivs:\t0\n{more}")
}

fn host(status: &str, paranoid: &str) -> Readings {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("proc/self/status", status);
    write("proc/self/schedstat", "1 2 3\n");
    write(
        "proc/self/limits",
        "Limit          Soft    Hard   Units\nMax open files 1024 524288 files\n",
    );
    write("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n");
    write("proc/sys/kernel/perf_event_paranoid", paranoid);
    write("proc/sys/kernel/perf_event_mlock_kb", "516\n");
    write("proc/sys/kernel/kptr_restrict", "1\n");
    write("proc/sys/kernel/yama/ptrace_scope", "1\n");
    write("sys/kernel/tracing/events/sched/sched_switch/id", "316\n");
    Readings::of(&roots(root.path()))
}

fn roots(root: &Path) -> Roots {
    Roots { proc: root.join("proc"), sys: root.join("sys"), debug: root.join("debug") }
}

fn check<'a>(diagnosis: &'a Diagnosis, id: &str) -> &'a Check {
    diagnosis.checks.iter().find(|check| check.id == id).unwrap()
}

#[test]
fn root_has_everything() {
    let readings = host(&status("000001ffffffffff", ""), "2\n");
    let diagnosis = diagnose(&readings, Opened::ALL, PROGRAM, true);
    assert_eq!(diagnosis.tier, Tier::PrivilegedPerf);
    assert!(diagnosis.is_healthy(), "{:#?}", diagnosis.checks);
}

#[test]
fn an_ordinary_user_is_told_the_least_to_grant() {
    let readings = host(&status("0000000000000000", ""), "4\n");
    let diagnosis = diagnose(&readings, Opened::no_perf(Errno::EACCES), PROGRAM, false);
    assert_eq!(diagnosis.tier, Tier::Procfs);
    assert!(!diagnosis.is_healthy());
    let grant = "setcap cap_perfmon,cap_sys_ptrace,cap_syslog+ep /usr/bin/whyslow";
    assert_eq!(check(&diagnosis, "capabilities").remedy.as_deref(), Some(grant));
    let perf = check(&diagnosis, "perf events");
    assert!(perf.remedy.as_ref().unwrap().contains(grant), "{perf:?}");
    assert!(perf.finding.contains("paranoid is 4"), "{perf:?}");
    assert_eq!(check(&diagnosis, "ptrace scope").status, Status::Missing);
}

/// Debian's kernels refuse all to all at 3, as seen on 5.10, 6.1 and 7.3.
#[test]
fn at_a_level_of_the_distribution_capabilities_are_not_enough() {
    const LOWER: &str = "sysctl kernel.perf_event_paranoid=2 ";
    let remedies = |readings: &Readings, own| {
        let refused = Err(Errno::EACCES);
        let opened = Opened { machine: refused, own, program: refused, ..Opened::ALL };
        let diagnosis = diagnose(readings, opened, PROGRAM, true);
        ["perf events", "switch program"].map(|id| check(&diagnosis, id).remedy.clone().unwrap())
    };
    let refused = Err(Errno::EACCES);
    let nobody = Readings { btf: true, ..host(&status("0000000000000000", ""), "3\n") };
    let [perf, _] = remedies(&nobody, refused);
    assert!(perf.starts_with(LOWER) && perf.contains("setcap cap_perfmon,"), "{perf}");
    // CAP_PERFMON, CAP_BPF, and the rest that is wanted.
    let granted = Readings { capabilities: 0x00c4_0008_0004, ..nobody.clone() };
    for remedy in remedies(&granted, refused) {
        assert!(remedy.starts_with(LOWER) && !remedy.contains("setcap"), "{remedy}");
    }
    // The kernel proper knows no level above 2: there they are.
    let [perf, _] = remedies(&nobody, Ok(()));
    assert!(perf.starts_with("grant the capabilities: setcap cap_perfmon,"), "{perf}");
}

#[test]
fn events_of_ones_own_processes_are_a_tier_of_their_own() {
    let readings = host(&status("0000000000000000", ""), "2\n");
    let opened = Opened { machine: Err(Errno::EACCES), ..Opened::ALL };
    let diagnosis = diagnose(&readings, opened, PROGRAM, false);
    assert_eq!(diagnosis.tier, Tier::UnprivilegedPerf);
    let perf = check(&diagnosis, "perf events");
    assert!(perf.finding.starts_with("of one's own programs alone"), "{perf:?}");
    let open = host(&status("0000000000000000", ""), "-1\n");
    assert_eq!(diagnose(&open, Opened::ALL, PROGRAM, false).tier, Tier::PrivilegedPerf);
}

#[test]
fn without_memory_for_a_ring_there_is_no_perf() {
    let readings = host(&status("0000000000000000", ""), "2\n");
    let opened = Opened { ring: Err(Errno::EPERM), ..Opened::ALL };
    let diagnosis = diagnose(&readings, opened, PROGRAM, false);
    assert_eq!(diagnosis.tier, Tier::Procfs);
    let ring = check(&diagnosis, "ring memory");
    assert_eq!(ring.status, Status::Missing);
    assert!(ring.finding.contains("EPERM") && ring.remedy.is_some(), "{ring:?}");
}

/// As Yama has it (Documentation/admin-guide/LSM/Yama.rst), and 6.8 did.
#[test]
fn what_helps_against_yama_depends_on_its_scope() {
    let found = |scope, capabilities: &str| {
        let readings =
            Readings { ptrace_scope: Some(scope), ..host(&status(capabilities, ""), "2\n") };
        let diagnosis = diagnose(&readings, Opened::ALL, PROGRAM, true);
        let found = check(&diagnosis, "ptrace scope");
        (found.status, found.remedy.clone().unwrap_or_default())
    };
    let (nobody, root) = ("0000000000000000", "000001ffffffffff");
    assert!(found(1, nobody).1.contains("whyslow record --"));
    let (status, remedy) = found(2, nobody);
    assert_eq!(status, Status::Missing);
    assert!(remedy.contains("CAP_SYS_PTRACE") && !remedy.contains("record --"), "{remedy}");
    assert_eq!(found(2, root).0, Status::Good);
    // Root, too, and until the next boot.
    for user in [nobody, root] {
        let (status, remedy) = found(3, user);
        assert_eq!(status, Status::Missing);
        assert!(remedy.contains("boot") && !remedy.contains("CAP_SYS_PTRACE"), "{remedy}");
    }
}

#[test]
fn the_root_of_a_user_namespace_is_an_ordinary_user() {
    let root = host(&status("000001ffffffffff", ""), "2\n");
    let inside = Readings { initial_user_namespace: false, ..root.clone() };
    let opened = Opened { machine: Err(Errno::EACCES), ..Opened::ALL };
    let diagnosis = diagnose(&inside, opened, PROGRAM, false);
    let capabilities = check(&diagnosis, "capabilities");
    assert!(capabilities.finding.contains("outside this user namespace"), "{capabilities:?}");
    assert!(!capabilities.remedy.as_ref().unwrap().contains("setcap"), "{capabilities:?}");
    assert_eq!(check(&diagnosis, "user namespace").status, Status::Note);
    // What counts for processes in there does.
    assert_eq!(check(&diagnosis, "ptrace scope").status, Status::Good);
    assert!(check(&diagnose(&root, Opened::ALL, PROGRAM, true), "user namespace").remedy.is_none());
}

#[test]
fn another_pid_namespace_costs_the_scheduler_s_events() {
    let inside =
        Readings { initial_pid_namespace: false, ..host(&status("000001ffffffffff", ""), "2\n") };
    let diagnosis = diagnose(&inside, Opened::ALL, PROGRAM, true);
    assert_eq!(diagnosis.tier, Tier::UnprivilegedPerf);
    assert_eq!(check(&diagnosis, "PID namespace").status, Status::Missing);
    let foreign = Readings { own_proc: false, ..inside };
    let diagnosis = diagnose(&foreign, Opened::ALL, PROGRAM, true);
    assert!(check(&diagnosis, "PID namespace").remedy.as_ref().unwrap().starts_with("mount"));
}

#[test]
fn an_architecture_that_was_never_tested_is_named_with_what_is_missing() {
    let tested = host(&status("000001ffffffffff", ""), "2\n");
    assert_eq!(tested.architecture, std::env::consts::ARCH);
    let other = Readings { architecture: "aarch64", ..tested };
    let opened = Opened { machine: Err(Errno::EOPNOTSUPP), ..Opened::ALL };
    let diagnosis = diagnose(&other, opened, PROGRAM, true);
    assert_eq!(diagnosis.tier, Tier::UnprivilegedPerf);
    let finding = &check(&diagnosis, "architecture").finding;
    assert!(finding.starts_with("aarch64, on which nothing was ever tested"), "{finding}");
    let perf = check(&diagnosis, "perf events");
    assert!(perf.remedy.as_ref().unwrap().contains("x86-64"), "{perf:?}");
}

#[test]
fn a_container_is_told_of_its_filter() {
    let more = "Seccomp:\t2\n";
    let readings = host(&status("0000000000000000", more), "2\n");
    let diagnosis = diagnose(&readings, Opened::no_perf(Errno::EPERM), PROGRAM, false);
    let seccomp = check(&diagnosis, "seccomp");
    assert_eq!(seccomp.status, Status::Missing);
    assert_eq!(seccomp.finding, "a filter, which refuses perf_event_open (EPERM)");
    assert!(seccomp.remedy.as_ref().unwrap().contains("perf_event_open"));
    // Who has every capability is not told to grant them.
    let root = host(&status("000001ffffffffff", more), "2\n");
    let refused = diagnose(&root, Opened::no_perf(Errno::EPERM), PROGRAM, false);
    for id in ["perf events", "switch program"] {
        let remedy = check(&refused, id).remedy.as_ref().unwrap();
        let named = remedy.contains("seccomp") || remedy.contains("BTF");
        assert!(named && !remedy.contains("setcap"), "{id}: {remedy}");
    }
    // The kernel's own word for the paranoid level.
    let level = diagnose(&readings, Opened::no_perf(Errno::EACCES), PROGRAM, false);
    assert_eq!(check(&level, "seccomp").status, Status::Good);
    let opened = Opened { memory: Err(Errno::ENOSYS), ..Opened::ALL };
    let memory = diagnose(&readings, opened, PROGRAM, false);
    assert!(check(&memory, "seccomp").finding.contains("process_vm_readv (ENOSYS)"));
    assert_eq!(
        check(&diagnose(&readings, Opened::ALL, PROGRAM, false), "seccomp").status,
        Status::Good
    );
}

#[test]
fn the_program_at_switches_is_worth_a_note_and_no_more() {
    let readings = Readings { btf: true, ..host(&status("000001ffffffffff", ""), "2\n") };
    let without = |errno, readings: &Readings| {
        let opened = Opened { program: Err(errno), ..Opened::ALL };
        diagnose(readings, opened, PROGRAM, true)
    };
    let diagnosis = without(Errno::EPERM, &readings);
    assert!(diagnosis.is_healthy(), "{:#?}", diagnosis.checks);
    let found = check(&diagnosis, "switch program");
    assert_eq!(found.status, Status::Note);
    assert!(found.finding.contains("EPERM"), "{found:?}");
    let remedy = |errno, readings: &Readings| {
        check(&without(errno, readings), "switch program").remedy.clone().unwrap()
    };
    let nobody = Readings { capabilities: 0, ..readings.clone() };
    let grant = "setcap cap_perfmon,cap_sys_ptrace,cap_syslog,cap_bpf+ep /usr/bin/whyslow; or run";
    let found = remedy(Errno::EPERM, &nobody);
    assert!(found.contains(grant), "{found}");
    // Who has it all is not told to grant it.
    assert!(remedy(Errno::EPERM, &readings).starts_with("lockdown"));
    let old = Readings { kernel: "5.10.0-46-amd64".to_owned(), ..nobody };
    assert_eq!(remedy(Errno::EACCES, &old), "use a kernel from 5.18 on");
    let no_types = Readings { btf: false, ..readings.clone() };
    assert!(remedy(Errno::ENOENT, &no_types).contains("CONFIG_DEBUG_INFO_BTF"));
    let inside = Readings { initial_user_namespace: false, ..readings.clone() };
    assert!(!remedy(Errno::EPERM, &inside).contains("setcap"));
    assert!(remedy(Errno::EINVAL, &readings).contains("5.18"));
    let best = diagnose(&readings, Opened::ALL, PROGRAM, true);
    assert_eq!(check(&best, "switch program").status, Status::Good);
}

#[test]
fn nothing_that_can_be_read_is_no_reason_to_fail() {
    let nowhere = Readings::of(&roots(Path::new("/nonexistent")));
    assert_eq!((nowhere.tracefs, nowhere.paranoid), (Access::Missing, None));
    let diagnosis = diagnose(&nowhere, Opened::no_perf(Errno::ENOSYS), PROGRAM, false);
    assert_eq!(diagnosis.tier, Tier::Procfs);
    assert!(check(&diagnosis, "tracefs").remedy.as_ref().unwrap().starts_with("mount it"));
}

#[test]
fn an_old_kernel_needs_another_capability() {
    let readings =
        Readings { kernel: "5.4.0".into(), ..host(&status("0000000000000000", ""), "2\n") };
    let diagnosis = diagnose(&readings, Opened::no_perf(Errno::EACCES), PROGRAM, false);
    let remedy = check(&diagnosis, "capabilities").remedy.clone().unwrap();
    assert!(remedy.starts_with("setcap cap_sys_admin,"), "{remedy}");
}
