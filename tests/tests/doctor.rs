//! `whyslow doctor` on hosts that refuse one thing or another, each made for
//! the test, and that recordings then do what it says.

use std::{fs, process::Command};

use serde_json::Value;

use crate::{
    case::{Case, needs_root},
    namespaces::compile,
    process::{Finished, Process},
    report::{sound, verdict},
};

/// `EPERM`, `ENOSYS`, `EACCES`.
const ERRNOS: [(&str, &str); 3] = [("1", "EPERM"), ("38", "ENOSYS"), ("13", "EACCES")];

/// Runs whyslow behind these words, as `nobody`.
fn behind(case: &Case, words: &[&str], arguments: &[&str]) -> Finished {
    let ordinary = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let words: Vec<&str> = words
        .iter()
        .chain(&ordinary)
        .copied()
        .chain(["./whyslow"])
        .chain(arguments.iter().copied())
        .collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(case.path(".")).stdin(std::process::Stdio::null());
    Process::start(command).finish()
}

fn open_case() -> Case {
    use std::os::unix::fs::PermissionsExt;
    let case = Case::new();
    fs::copy(case.whyslow(&[]).get_program(), case.path("whyslow")).unwrap();
    fs::set_permissions(case.path("."), fs::Permissions::from_mode(0o777)).unwrap();
    case
}

fn doctor(case: &Case, words: &[&str]) -> Value {
    let finished = behind(case, words, &["doctor", "--json"]).ended_with(1);
    serde_json::from_slice(&finished.stdout).unwrap()
}

fn check<'a>(doctor: &'a Value, id: &str) -> &'a Value {
    let mut checks = doctor["checks"].as_array().unwrap().iter();
    checks.find(|check| check["id"] == id).unwrap()
}

fn says(check: &Value, key: &str, what: &str) {
    assert!(check[key].as_str().is_some_and(|text| text.contains(what)), "{what}: {check}");
}

/// Without perf events a program is recorded all the same, and the report says why.
fn looks_instead(case: &Case, words: &[&str], errno: &str) {
    let record = ["record", "-q", "--force", "-o", "r.json", "--", "sleep", "0.3"];
    behind(case, words, &record).ended_with(0);
    let report = sound(case.json("r.json"));
    assert_eq!(verdict(&report), ("io-bound", "sleep"), "{}", report["bottleneck"]);
    let engine = &report["engine"];
    assert_eq!(engine["name"], "procfs", "{engine}");
    let fallback = &engine["fallbacks"][0];
    assert_eq!(fallback["errno"], errno, "{engine}");
    assert!(!fallback["remedy"].as_str().unwrap().is_empty(), "{engine}");
    fs::remove_file(case.path("r.json")).unwrap();
}

#[test]
fn a_filter_of_system_calls_is_named_with_its_errno() {
    needs_root!();
    let case = open_case();
    if !compile(&case, "filter") {
        return;
    }
    for (number, errno) in ERRNOS {
        let words = ["./filter", number, "perf_event_open"];
        let doctor = doctor(&case, &words);
        assert_eq!(doctor["tier"], "procfs", "{doctor:#}");
        says(check(&doctor, "perf events"), "finding", errno);
        let seccomp = check(&doctor, "seccomp");
        // The kernel itself says EACCES at a paranoid level of 3 or 4.
        let guilty = errno != "EACCES";
        assert_eq!(seccomp["status"] == "missing", guilty, "{seccomp}");
        if guilty {
            says(seccomp, "finding", errno);
            says(seccomp, "remedy", "seccomp=PROFILE");
        }
        looks_instead(&case, &words, errno);
    }
    let doctor = doctor(&case, &["./filter", "1", "process_vm_readv"]);
    says(check(&doctor, "seccomp"), "finding", "process_vm_readv (EPERM)");
    // No memory is read, then, and all else goes on.
    let words = ["./filter", "38", "perf_event_open,process_vm_readv,pidfd_open"];
    looks_instead(&case, &words, "ENOSYS");
}

/// Who is root, but for system calls that are refused.
fn root_behind(case: &Case, words: &[&str]) -> Finished {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["./whyslow", "doctor", "--json"]);
    command.current_dir(case.path(".")).stdin(std::process::Stdio::null());
    Process::start(command).finish()
}

#[test]
fn a_program_that_the_kernel_does_not_run_is_told_and_is_nothing_that_is_missing() {
    needs_root!();
    let case = open_case();
    if !compile(&case, "filter") {
        return;
    }
    let told = |finished: Finished| -> Value { serde_json::from_slice(&finished.stdout).unwrap() };
    let whole = case.run(&["doctor", "--json"]);
    let refused = root_behind(&case, &["./filter", "1", "bpf"]);
    let code = |finished: &Finished| finished.status.code();
    // The filter alone is nothing that is missing either.
    assert_eq!(code(&refused), code(&whole));
    let (whole, refused) = (told(whole), told(refused));
    assert_eq!(refused["tier"], "privileged perf", "{refused:#}");
    let program = check(&refused, "switch program");
    assert_eq!(program["status"], "note", "{program}");
    says(program, "finding", "EPERM");
    // Root has what could be granted.
    says(program, "remedy", "seccomp");
    // A recording finds the same.
    case.run(&["record", "-q", "--force", "-o", "r.json", "--", "true"]).ended_with(0);
    let report = case.json("r.json");
    let fallbacks = report["engine"]["fallbacks"].as_array().unwrap();
    let without = fallbacks.iter().any(|it| it["wanted"] == "a program at sched_switch");
    assert_eq!(check(&whole, "switch program")["status"] == "note", without, "{whole:#}");
}

#[test]
fn an_ordinary_user_is_told_what_the_program_at_switches_needs() {
    needs_root!();
    let case = open_case();
    let program = doctor(&case, &[]);
    let program = check(&program, "switch program");
    assert_eq!(program["status"], "note", "{program}");
    says(program, "remedy", "cap_bpf");
}

#[test]
fn too_few_open_files_are_told() {
    needs_root!();
    let case = open_case();
    let few = ["sh", "-c", "ulimit -n 64 && exec \"$0\" \"$@\""];
    let doctor = doctor(&case, &few);
    let files = check(&doctor, "open files");
    assert_eq!(files["status"], "missing", "{files}");
    says(files, "remedy", "ulimit -n");
}
