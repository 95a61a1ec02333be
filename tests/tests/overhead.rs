//! `--max-overhead`: detail is left out, and CPU time is not.

use std::{
    fs::{self, File},
    io::BufReader,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use whyslow_events::{Event, EventSource, recording::Reader};

use crate::{
    case::{Case, needs_root},
    faults::cell::{Cell, ENDS, Mode, Tier},
    process::{Process, until},
    report::{sound, time},
};

/// Nothing that switches a hundred thousand times a second can be had for this.
const LOW: [&str; 2] = ["--max-overhead", "0.5%"];
/// So long that the limit has its effect.
const WHILE: Duration = Duration::from_millis(1500);

/// Records threads that hand a byte to and fro.
fn record(tier: Tier, options: &[&str]) -> Option<(Cell, Value)> {
    let cell = Cell::new(Mode::Launch, tier)?;
    let options = [&["-q", "-o", "r.whyslow", "-o", "r.json"], options].concat();
    let running = cell.start(["switch", "2"], &options);
    thread::sleep(WHILE);
    cell.ends_right(&running.pid);
    running.recorder.finish().ended_with(ENDS);
    let report = cell.report();
    Some((cell, report))
}

/// How many events of the recording are such.
fn count(cell: &Cell, mut such: impl FnMut(&Event) -> bool) -> f64 {
    let file = BufReader::new(File::open(cell.case.path("r.whyslow")).unwrap());
    let mut reader = Reader::new(file).unwrap();
    let mut found = 0;
    while let Some(timed) = reader.next_event().unwrap() {
        found += u32::from(such(&timed.event));
    }
    f64::from(found)
}

fn samples(cell: &Cell) -> f64 {
    count(cell, |event| matches!(event, Event::Sample { .. }))
}

fn thinned(report: &Value, key: &str) -> f64 {
    report["quality"]["thinned"][key].as_f64().unwrap_or_else(|| panic!("{}", report["quality"]))
}

fn agrees_with_the_kernel(report: &Value) {
    let quality = &report["quality"];
    if quality["lost"] != 0 {
        println!("NOTE records were lost: this machine is too busy to tell");
        return;
    }
    let off = quality["oncpu_vs_kernel"].as_f64().unwrap();
    assert!(off.abs() < 0.02, "{quality}");
}

#[test]
fn many_switches_under_a_low_limit_have_fewer_samples_and_all_their_time() {
    let Some((whole, report)) = record(Tier::Privileged, &[]) else { return };
    assert!(report["quality"]["thinned"].is_null(), "{}", report["quality"]);
    let samples_whole = samples(&whole);
    let Some((thin, report)) = record(Tier::Privileged, &LOW) else { return };
    let samples_thin = samples(&thin);
    assert!(samples_thin < 0.7 * samples_whole, "{samples_thin} {samples_whole}");
    for key in ["stacks", "samples", "looks"] {
        let part = thinned(&report, key);
        assert!(part > 0.0 && part < 0.7, "{key} {part}");
    }
    let said = thin.case.run(&["report", "r.whyslow"]).ended_with(0);
    assert!(said.stdout().contains("limit 0.5 %"), "{}", said.stdout());
    assert!(said.stdout().contains("of stacks of waits"), "{}", said.stdout());
    agrees_with_the_kernel(&report);
}

/// Two processes on one CPU hand a byte to and fro for so many seconds; then how often they
/// switched, and their CPU time in seconds, by the kernel's count.
const PING_PONG: &str = "
import os, resource, sys, time
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
there, back = os.pipe(), os.pipe()
if child := os.fork():
    os.close(there[0])
    end = time.monotonic() + float(sys.argv[1])
    while time.monotonic() < end:
        os.write(there[1], b'x')
        os.read(back[0], 1)
    os.close(there[1])
    os.waitpid(child, 0)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(sum(it.ru_nvcsw + it.ru_nivcsw for it in used), sum(it.ru_utime + it.ru_stime for it in used))
else:
    os.close(there[1])
    while os.read(there[0], 1):
        os.write(back[1], b'x')
";

fn a_limit_holds_and_time_agrees(tier: Tier) -> Option<(Cell, Value)> {
    let cell = Cell::new(Mode::Launch, tier)?;
    let mut command = cell.command(cell.case.path("whyslow"));
    command.args(cell.record(&["-q", "-o", "r.whyslow", "-o", "r.json", "--max-overhead", "5%"]));
    command.args(["--", "/usr/bin/python3", "-c", PING_PONG, "4"]);
    let finished = Process::start(command).finish().ended_with(0);
    let told: Vec<f64> =
        finished.stdout().split_whitespace().map(|it| it.parse().unwrap()).collect();
    let [switched, used] = told[..] else { panic!("{told:?}") };
    let report = cell.report();
    let recorded = count(&cell, |event| matches!(event, Event::SwitchIn { .. }));
    assert!(recorded < 0.4 * switched, "{recorded} of {switched}");
    let part = thinned(&report, "switches");
    assert!(part > 0.0 && part < 0.4, "{part}");
    assert!(thinned(&report, "cost") <= thinned(&report, "limit"), "{}", report["quality"]);
    assert_eq!(report["quality"]["lost"], 0);
    let ledger = &report["ledger"]["process"];
    let state = |key: &str| ledger[key].as_f64().unwrap_or(0.0) / 1e9;
    let ran = state("cpu.user") + state("cpu.kernel");
    let wall = report["window"]["duration_ns"].as_f64().unwrap() / 1e9;
    // What the interpreter does after it has counted is ours alone.
    assert!((ran - used).abs() < 0.02 * wall, "{ran} {used} {wall}");
    assert!(state("unknown") < 0.1 * wall, "{ledger}");
    let said = cell.case.run(&["report", "r.whyslow"]).ended_with(0);
    assert!(said.stdout().contains(" of switches"), "{}", said.stdout());
    Some((cell, report))
}

#[test]
fn switches_that_cost_too_much_are_recorded_for_a_part_of_the_time() {
    a_limit_holds_and_time_agrees(Tier::Privileged);
}

#[test]
fn those_of_an_ordinary_user_as_well() {
    let Some((cell, report)) = a_limit_holds_and_time_agrees(Tier::Ordinary) else { return };
    // The kernel's count tells of each stretch what its records leave out.
    let mut counted = false;
    let uncounted = count(&cell, |event| match event {
        Event::Paused => !counted,
        Event::Resumed | Event::KernelCpu { .. } => {
            counted = matches!(event, Event::KernelCpu { .. });
            false
        }
        _ => false,
    });
    assert_eq!(uncounted, 0.0, "stretches that are not counted");
    // Nobody counts for him what threads waited for meanwhile.
    let margin = report["quality"]["sampling"]["margin"].as_f64().unwrap_or(0.0);
    assert!(margin > 0.0 && margin < 0.2, "{}", report["quality"]);
    let [low, high] = [0, 1].map(|end| report["verdict"]["interval"][end].as_f64().unwrap());
    assert!(low < high, "{}", report["verdict"]);
}

/// It reads what another process writes somewhat later, and sleeps, in turn for so many
/// seconds; then how often, and how long each took it in seconds.
const TAKES_TURNS: &str = "
import os, sys, time
there, back = os.pipe(), os.pipe()
if child := os.fork():
    os.close(there[0])
    now, times, waited, slept = time.monotonic, 0, 0, 0
    end = now() + float(sys.argv[1])
    while (begun := now()) < end:
        os.write(there[1], b'x')
        os.read(back[0], 1)
        read = now()
        time.sleep(0.0001 + times % 3 * 0.0001)
        times, waited, slept = times + 1, waited + read - begun, slept + now() - read
    os.close(there[1])
    os.waitpid(child, 0)
    print(os.getpid(), times, waited, slept)
else:
    os.close(there[1])
    while os.read(there[0], 1):
        time.sleep(0.0003)
        os.write(back[1], b'x')
";

#[test]
fn what_is_not_recorded_is_tallied_for_what_and_how_often() {
    let Some(cell) = Cell::new(Mode::Launch, Tier::Privileged) else { return };
    let mut command = cell.command(cell.case.path("whyslow"));
    let files = ["-q", "-o", "r.whyslow", "-o", "r.json"];
    command.args(cell.record(&[&files[..], &["--max-overhead", "1.5%"]].concat()));
    command.args(["--", "/usr/bin/python3", "-c", TAKES_TURNS, "4"]);
    let finished = Process::start(command).finish().ended_with(0);
    let told: Vec<f64> =
        finished.stdout().split_whitespace().map(|it| it.parse().unwrap()).collect();
    let [pid, times, waited, slept] = told[..] else { panic!("{told:?}") };
    let report = cell.report();
    if report["engine"]["fallbacks"].to_string().contains("a program at sched_switch") {
        println!("SKIP what_is_not_recorded_is_tallied: the kernel runs no program of ours");
        return;
    }
    let pauses = count(&cell, |event| matches!(event, Event::Paused));
    let tallied = count(&cell, |event| matches!(event, Event::Tallied));
    assert!(tallied > 0.0, "{}", report["quality"]);
    if tallied < pauses {
        println!("NOTE {tallied} of {pauses} pauses are tallied: this machine is too busy to tell");
        return;
    }
    let recorded = count(&cell, |event| matches!(event, Event::SwitchIn { .. }));
    assert!(recorded < 3.0 * times, "{recorded} of {times} times four");
    let threads = report["ledger"]["threads"].as_array().unwrap();
    let of = |thread: &&Value| thread["tid"].as_f64() == Some(pid);
    let states = &threads.iter().find(of).unwrap()["states"];
    let state = |key: &str| states[key].as_f64().unwrap_or(0.0) / 1e9;
    let (reads, sleeps) = (state("io.ipc"), state("sleep"));
    // What it takes to call, and to get a CPU again, the program counts as well.
    assert!((0.4 * waited..1.01 * waited).contains(&reads), "{waited} {states}");
    assert!((0.4 * slept..1.01 * slept).contains(&sleeps), "{slept} {states}");
    let (part, own) = (reads / (reads + sleeps), waited / (waited + slept));
    assert!((part - own).abs() < 0.05, "{part} {own}");
    let counted: f64 = waits(&report, "io.ipc").filter_map(|wait| wait["count"].as_f64()).sum();
    let of_both = 2.0 * times;
    assert!((counted - of_both).abs() < 0.02 * of_both, "{counted} {times}");
    // What the kernel charges for getting a CPU, it charges in pauses, too.
    agrees_with_the_kernel(&report);
    // Nobody reads the stack of a thread that may have moved since.
    let torn = &report["quality"]["stacks"]["waits"]["truncated"]["bad-unwind-info"];
    assert!(torn.as_f64().unwrap_or(0.0) < 0.01, "{}", report["quality"]["stacks"]);
}

/// A server of 200 threads that wait for requests or for the interpreter's lock.
const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/bench/server.py");
/// Those that take turns at a lock wait together: their part varies from stretch to stretch.
const LOCK_VARIES: f64 = 0.03;
/// Of root's recording so many of their waits have no stack at most, until each was seen once
/// at the places where it waits.
const UNSEEN: f64 = 0.4;
/// By then it is recorded.
const BEGINS: Duration = Duration::from_secs(1);
/// Between two looks at all its threads.
const BETWEEN: Duration = Duration::from_millis(50);

/// How often a thread of a process was found in this call, of all looks, in a part of a
/// recording that has just been started and lasts for so many seconds.
fn found_in(call: i64, pid: &str, seconds: u64) -> f64 {
    let end = Instant::now() + Duration::from_secs(seconds);
    thread::sleep(BEGINS);
    let call = format!("{call} ");
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let calls: Vec<_> = tasks.map(|task| task.unwrap().path().join("syscall")).collect();
    let (mut found, mut looks) = (0, 0);
    while Instant::now() < end {
        thread::sleep(BETWEEN);
        for path in &calls {
            let said = fs::read_to_string(path).unwrap_or_default();
            found += u32::from(said.starts_with(&call));
            looks += 1;
        }
    }
    assert!(looks > 1000, "{looks}");
    f64::from(found) / f64::from(looks)
}

#[test]
fn what_threads_wait_for_in_pauses_is_what_others_see() {
    for tier in [Tier::Privileged, Tier::Ordinary] {
        let Some(cell) = Cell::new(Mode::Attach, tier) else { continue };
        fs::copy(SERVER, cell.case.path("server.py")).unwrap();
        let mut server = cell.command("/usr/bin/python3");
        server.args(["server.py", "5000"]).stdout(Stdio::null());
        let server = Process::start_as_is(server);
        let tasks = || fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
        until("its threads", || (tasks().count() > 200).then_some(()));
        let mut command = cell.command(cell.case.path("whyslow"));
        command.args(cell.record(&["-q", "-o", "r.json", "--max-overhead", "1%", "-d", "6"]));
        command.args(["-p", &server.pid()]);
        let recorder = Process::start(command);
        let seen = found_in(nix::libc::SYS_futex, &server.pid(), 6);
        recorder.finish().ended_with(0);
        server.signal_group(Signal::SIGKILL);
        let report = cell.report();
        assert!(thinned(&report, "switches") < 0.9, "{}", report["quality"]);
        let ledger = &report["ledger"]["process"];
        let all: f64 = ledger.as_object().unwrap().values().filter_map(Value::as_f64).sum();
        let told = ledger["lock.gil"].as_f64().unwrap() / all;
        let margin = report["quality"]["sampling"]["margin"].as_f64().unwrap_or(0.0);
        assert!((told - seen).abs() <= margin.max(LOCK_VARIES), "{told} {seen} {margin}");
        let nowhere = report["quality"]["stacks"]["waits"]["none"].as_f64().unwrap();
        let known = tier != Tier::Privileged || nowhere < UNSEEN;
        assert!(known, "{}", report["quality"]["stacks"]);
    }
}

fn waits<'a>(report: &'a Value, state: &'a str) -> impl Iterator<Item = &'a Value> {
    report["waits"].as_array().unwrap().iter().filter(move |wait| wait["state"] == state)
}

#[test]
fn looks_at_proc_keep_to_a_limit() {
    let Some((cell, report)) = record(Tier::Procfs, &LOW) else { return };
    let looks = thinned(&report, "looks");
    assert!(looks > 0.0 && looks < 0.9, "{}", report["quality"]["thinned"]);
    let off = report["quality"]["oncpu_vs_kernel"].as_f64().unwrap();
    assert!(off.abs() < 0.01, "{}", report["quality"]);
    assert!(cell.reported()["quality"]["damage"].is_null());
}

/// Commands of which each waits once, at a place that is new with it.
const COMMANDS: &str = "for i in $(seq 60); do sleep 0.01; done";

#[test]
fn waits_at_new_places_have_their_stacks_under_a_limit() {
    needs_root!();
    let case = Case::new();
    let record = ["record", "-q", "-o", "r.json", "--max-overhead", "2%", "--", "sh", "-c"];
    case.run(&[&record[..], &[COMMANDS]].concat()).ended_with(0);
    let report = sound(case.json("r.json"));
    assert!(thinned(&report, "stacks") < 0.7, "{}", report["quality"]);
    let stacks = &report["quality"]["stacks"]["waits"];
    assert!(stacks["none"].as_f64().unwrap() < 0.1, "{stacks}");
}

#[test]
fn what_costs_little_is_recorded_in_full() {
    let Some(cell) = Cell::new(Mode::Launch, Tier::Privileged) else { return };
    let options = ["-q", "-o", "r.json", "--max-overhead", "100%"];
    let running = cell.start(["work", "3"], &options);
    thread::sleep(WHILE / 5);
    cell.ends_right(&running.pid);
    running.recorder.finish().ended_with(ENDS);
    let report = cell.report();
    for key in ["stacks", "samples", "looks"] {
        assert!((thinned(&report, key) - 1.0).abs() < 1e-3, "{}", report["quality"]["thinned"]);
    }
}

#[test]
fn what_recording_takes_of_the_program_is_more_where_more_is_recorded() {
    needs_root!();
    let share = |options: &[&str]| {
        let case = Case::new();
        let loops = "for _ in range(10**7): pass";
        let program = ["-o", "r.json", "--", "/usr/bin/python3", "-c", loops];
        case.run(&[&["record", "-q"], options, &program].concat()).ended_with(0);
        let report = sound(case.json("r.json"));
        let took = report["quality"]["overhead"]["target_cpu_ns"].as_f64();
        took.map(|took| took / time(&report, "cpu.") as f64)
    };
    let [few, many] = ["50", "1000"].map(|hertz| share(&["-F", hertz]).unwrap());
    assert!(few > 0.0 && many > 4.0 * few && many < 1.0, "{few} {many}");
    // Who only looks at /proc writes nothing where the program runs.
    assert_eq!(share(&["--engine", "procfs"]), None);
}
