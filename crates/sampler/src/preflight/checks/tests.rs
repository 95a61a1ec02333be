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
    let diagnosis = diagnose(&readings, Ok(()), PROGRAM, true);
    assert_eq!(diagnosis.tier, Tier::PrivilegedPerf);
    assert!(diagnosis.is_healthy(), "{:#?}", diagnosis.checks);
}

#[test]
fn an_ordinary_user_is_told_the_least_to_grant() {
    let readings = host(&status("0000000000000000", ""), "4\n");
    let diagnosis = diagnose(&readings, Err(Errno::EACCES), PROGRAM, false);
    assert_eq!(diagnosis.tier, Tier::Procfs);
    assert!(!diagnosis.is_healthy());
    let grant = "setcap cap_perfmon,cap_sys_ptrace,cap_syslog+ep /usr/bin/whyslow";
    assert_eq!(check(&diagnosis, "capabilities").remedy.as_deref(), Some(grant));
    let perf = check(&diagnosis, "perf events");
    assert!(perf.remedy.as_ref().unwrap().contains(grant), "{perf:?}");
    assert!(perf.finding.contains("paranoid is 4"), "{perf:?}");
    assert_eq!(check(&diagnosis, "ptrace scope").status, Status::Missing);
}

#[test]
fn events_of_ones_own_processes_are_a_tier_of_their_own() {
    let readings = host(&status("0000000000000000", ""), "2\n");
    assert_eq!(diagnose(&readings, Ok(()), PROGRAM, false).tier, Tier::UnprivilegedPerf);
    let open = host(&status("0000000000000000", ""), "-1\n");
    assert_eq!(diagnose(&open, Ok(()), PROGRAM, false).tier, Tier::PrivilegedPerf);
}

#[test]
fn a_container_is_told_of_its_filter() {
    let more = "Seccomp:\t2\n";
    let readings = host(&status("0000000000000000", more), "2\n");
    let diagnosis = diagnose(&readings, Err(Errno::EPERM), PROGRAM, false);
    let seccomp = check(&diagnosis, "seccomp");
    assert_eq!(seccomp.status, Status::Missing);
    assert!(seccomp.remedy.as_ref().unwrap().contains("perf_event_open"));
    assert_eq!(check(&diagnose(&readings, Ok(()), PROGRAM, false), "seccomp").status, Status::Good);
}

#[test]
fn nothing_that_can_be_read_is_no_reason_to_fail() {
    let nowhere = Readings::of(&roots(Path::new("/nonexistent")));
    assert_eq!((nowhere.tracefs, nowhere.paranoid), (Access::Missing, None));
    let diagnosis = diagnose(&nowhere, Err(Errno::ENOSYS), PROGRAM, false);
    assert_eq!(diagnosis.tier, Tier::Procfs);
    assert!(check(&diagnosis, "tracefs").remedy.as_ref().unwrap().starts_with("mount it"));
}

#[test]
fn an_old_kernel_needs_another_capability() {
    let readings =
        Readings { kernel: "5.4.0".into(), ..host(&status("0000000000000000", ""), "2\n") };
    let diagnosis = diagnose(&readings, Err(Errno::EACCES), PROGRAM, false);
    let remedy = check(&diagnosis, "capabilities").remedy.clone().unwrap();
    assert!(remedy.starts_with("setcap cap_sys_admin,"), "{remedy}");
}
