//! The target's tree: forks, execs, children there before and after.

use nix::sys::signal::Signal;

use crate::{
    case::{Case, needs_root},
    process::{Process, signal_to},
    report::{pids, sound},
};

#[test]
fn a_storm_of_forks_and_execs_is_followed_to_the_last() {
    needs_root!();
    let case = Case::new();
    let script = "i=0; while [ $i -lt 100 ]; do /bin/true & i=$((i+1)); done; wait";
    case.run(&["record", "-o", "r.json", "--", "sh", "-c", script]).ended_with(0);
    let report = sound(case.json("r.json"));
    assert_eq!(report["target"]["processes"], 101);
    assert_eq!(report["quality"]["lost"], 0);
    let threads = report["ledger"]["threads"].as_array().unwrap();
    let named = threads.iter().filter(|thread| thread["name"] == "true").count();
    assert_eq!(named, 100, "each child is named for what it became");
}

#[test]
fn a_chain_of_execs_is_one_process_with_its_last_name() {
    needs_root!();
    let case = Case::new();
    let script = "exec sh -c 'exec env sleep 0.1'";
    case.run(&["record", "-o", "r.json", "--", "sh", "-c", script]).ended_with(0);
    let report = sound(case.json("r.json"));
    assert_eq!(report["target"]["processes"], 1);
    assert_eq!(report["ledger"]["threads"][0]["name"], "sleep");
}

/// A shell with a child that was there before; `child` in the folder holds its PID.
fn family(case: &Case) -> (Process, u64) {
    let script = format!("sleep 100 & echo $! > {}; wait", case.path("child").display());
    let mut parent = Process::shell(&script);
    let child = case.until_line(&mut parent, "child").parse().unwrap();
    (parent, child)
}

#[test]
fn children_present_at_attach_belong_to_the_target() {
    needs_root!();
    let case = Case::new();
    let (parent, child) = family(&case);
    let finished = case.run(&["record", "-p", &parent.pid(), "-d", "200ms", "-o", "r.json"]);
    signal_to(&child.to_string(), Signal::SIGKILL);
    finished.ended_with(0);
    let report = sound(case.json("r.json"));
    assert!(pids(&report).contains(&child), "{:?}", pids(&report));
}

#[test]
fn without_inheritance_the_children_stay_out() {
    needs_root!();
    let case = Case::new();
    let (parent, child) = family(&case);
    let arguments = ["record", "-p", &parent.pid(), "--no-inherit", "-d", "200ms", "-o", "r.json"];
    let finished = case.run(&arguments);
    signal_to(&child.to_string(), Signal::SIGKILL);
    finished.ended_with(0);
    let report = sound(case.json("r.json"));
    assert_eq!(pids(&report), [parent.pid().parse::<u64>().unwrap()]);
}

#[test]
fn a_child_that_outlives_the_command_does_not_hold_us() {
    needs_root!();
    let case = Case::new();
    let script = "sleep 100 >/dev/null 2>&1 & echo $! > child; exit 3";
    let finished = case.run(&["record", "-o", "r.json", "--", "sh", "-c", script]);
    signal_to(&case.text("child"), Signal::SIGKILL);
    finished.ended_with(3);
    sound(case.json("r.json"));
}

/// Prints who has ended, and is not waited for while others begin and end.
const LEAVES_A_ZOMBIE: &str = "\
import os, time
def child(work):
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return pid
def spin():
    while time.thread_time() < 0.15: pass
zombie = child(spin)
os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
for _ in range(5): os.waitpid(child(lambda: time.sleep(0.03)), 0)
print(zombie)";

#[test]
fn who_has_ended_and_is_not_waited_for_is_counted_once() {
    needs_root!();
    for engine in ["perf", "procfs"] {
        let case = Case::new();
        let record = ["record", "-q", "--engine", engine, "-o", "r.json"];
        let program = ["--", "python3", "-c", LEAVES_A_ZOMBIE];
        let finished = case.run(&[&record[..], &program].concat()).ended_with(0);
        let zombie: u64 = finished.stdout().trim().parse().unwrap();
        let report = sound(case.json("r.json"));
        let threads = report["ledger"]["threads"].as_array().unwrap().iter();
        let zombies: Vec<_> = threads.filter(|thread| thread["pid"] == zombie).collect();
        assert_eq!(zombies.len(), 1, "{engine}: {zombies:#?}");
        let off = report["quality"]["oncpu_vs_kernel"].as_f64().unwrap();
        assert!(off.abs() < 0.05, "{engine}: {}", report["quality"]);
    }
}

/// Commands one after the other, and what the kernel counted of all of them, ns.
const COMMANDS: &str = "\
import resource, subprocess
loop = 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done'
for _ in range(40): subprocess.run(['sh', '-c', loop], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(round((used.ru_utime + used.ru_stime) * 1e9))";

/// Each is gone before anybody could read its count; a hypervisor takes a part of the time.
#[test]
fn commands_that_live_for_ticks_sum_to_what_the_kernel_counted() {
    needs_root!();
    let case = Case::new();
    let record = ["record", "-q", "-o", "r.json", "--", "/usr/bin/python3", "-c", COMMANDS];
    let finished = case.run(&record).ended_with(0);
    let counted: f64 = finished.stdout().trim().parse().unwrap();
    let report = sound(case.json("r.json"));
    let shells = report["ledger"]["threads"].as_array().unwrap().iter();
    let shells: Vec<_> = shells.filter(|thread| thread["name"] == "sh").collect();
    assert_eq!(shells.len(), 40);
    let states = shells.iter().flat_map(|shell| shell["states"].as_object().unwrap());
    let ran = states.filter(|(state, _)| state.starts_with("cpu."));
    let ran: f64 = ran.filter_map(|(_, ns)| ns.as_f64()).sum();
    assert!((ran / counted - 1.0).abs() < 0.005, "{ran} {counted} {}", report["quality"]);
    let off = report["quality"]["oncpu_vs_kernel"].as_f64().unwrap();
    assert!(off.abs() < 0.005, "{}", report["quality"]);
}
