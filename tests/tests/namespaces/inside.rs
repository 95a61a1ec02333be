//! whyslow in namespaces of its own, as in a container.

use std::{fs, process::Command};

use serde_json::Value;

use super::{ORDINARY, PYTHON, open_case, start, unshare};
use crate::{
    case::{Case, needs_root, skip},
    report::{sound, time},
};

const SLEEPS: &str = "import time\nfor _ in range(40): time.sleep(0.01)";

/// A command of the ordinary user.
fn ordinary(command: &[&str]) -> Vec<String> {
    let to = ["setpriv", "--reuid", ORDINARY, "--regid", ORDINARY, "--clear-groups"];
    to.iter().chain(command).map(|word| (*word).to_owned()).collect()
}

fn run(case: &Case, options: &[&str], user: bool, command: &[&str]) -> crate::process::Finished {
    let unshare = unshare(case, options, command);
    if !user {
        return start(unshare).finish();
    }
    let words: Vec<&str> = std::iter::once(unshare.get_program())
        .chain(unshare.get_args())
        .map(|word| word.to_str().unwrap())
        .collect();
    let words = ordinary(&words);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir(case.path("."));
    start(command).finish()
}

/// It waits for its timer and hardly for anything else, whoever has the CPUs.
fn sleeps(report: &Value) {
    let [sleep, other] = ["sleep", "io."].map(|state| time(report, state));
    assert!(sleep > 10 * other && sleep > 0, "{}", report["ledger"]["process"]);
}

/// Records a sleeper by its own switch records; the first fallback's remedy.
fn sleeper(case: &Case, options: &[&str], user: bool) -> String {
    let record = ["./whyslow", "record", "-q", "--force", "-o", "r.json", "--"];
    let command = [&record[..], &[PYTHON, "-c", SLEEPS]].concat();
    run(case, options, user, &command).ended_with(0);
    let report = sound(case.json("r.json"));
    sleeps(&report);
    assert_eq!(report["target"]["exit"]["code"], 0);
    let engine = &report["engine"];
    assert_eq!(engine["name"], "perf", "{engine}");
    let fallback = &engine["fallbacks"][0];
    assert_eq!(fallback["wanted"], "system-wide scheduler events", "{engine}");
    fallback["remedy"].as_str().unwrap().to_owned()
}

fn doctor(case: &Case, options: &[&str], user: bool) -> Value {
    let finished = run(case, options, user, &["./whyslow", "doctor", "--json"]).ended_with(1);
    serde_json::from_slice(&finished.stdout).unwrap()
}

fn check<'a>(doctor: &'a Value, id: &str) -> &'a Value {
    let mut checks = doctor["checks"].as_array().unwrap().iter();
    checks.find(|check| check["id"] == id).unwrap()
}

#[test]
fn in_a_pid_namespace_the_program_s_own_records_are_taken() {
    needs_root!();
    if !fs::exists(PYTHON).unwrap() {
        skip!("no {PYTHON}");
    }
    let case = open_case();
    let options = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    let remedy = sleeper(&case, &options, false);
    assert!(remedy.contains("--pid=host"), "{remedy}");
    let doctor = doctor(&case, &options, false);
    assert_eq!(doctor["tier"], "unprivileged perf", "{doctor:#}");
    assert_eq!(check(&doctor, "PID namespace")["status"], "missing");
    // A program that runs in there already.
    let script = "\"$0\" -c \"$1\" & ./whyslow record -q --force -o r.json -p $!";
    let command = ["sh", "-c", script, PYTHON, &SLEEPS.replace("40", "100")];
    run(&case, &options, false, &command).ended_with(0);
    sleeps(&sound(case.json("r.json")));
}

#[test]
fn the_root_of_a_user_namespace_gets_what_its_user_would() {
    needs_root!();
    if !fs::exists(PYTHON).unwrap() {
        skip!("no {PYTHON}");
    }
    let case = open_case();
    let options = ["--user", "--map-root-user"];
    if !run(&case, &options, true, &["true"]).status.success() {
        skip!("an ordinary user may have no user namespace");
    }
    let contained = [&options[..], &["--pid", "--fork", "--kill-child", "--mount-proc"]].concat();
    for options in [&options[..], &contained] {
        sleeper(&case, options, true);
        fs::remove_file(case.path("r.json")).unwrap();
        let doctor = doctor(&case, options, true);
        assert_eq!(doctor["tier"], "unprivileged perf", "{doctor:#}");
        let capabilities = check(&doctor, "capabilities");
        let finding = capabilities["finding"].as_str().unwrap();
        assert!(finding.contains("outside this user namespace"), "{capabilities}");
        assert_eq!(check(&doctor, "user namespace")["status"], "note");
    }
}

#[test]
fn the_proc_of_another_namespace_is_not_believed() {
    needs_root!();
    let case = open_case();
    let options = ["--pid", "--fork", "--kill-child"];
    let record = ["./whyslow", "record", "-q", "-o", "r.json", "--", "echo", "ran"];
    let finished = run(&case, &options, false, &record).ended_with(125);
    assert!(finished.stderr.contains("mount -t proc proc /proc"), "{}", finished.stderr);
    assert_eq!(finished.stdout(), "");
    let doctor = doctor(&case, &options, false);
    assert_eq!(check(&doctor, "PID namespace")["finding"], "/proc is that of another");
}
