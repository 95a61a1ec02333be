//! Attached and detached again and again: nothing is left behind, on either side.

use std::{
    env, fs,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    case::needs_root,
    faults::cell::{Cell, ENDS, Mode, Tier},
    process::Process,
};

/// Threads of the program that is recorded.
const THREADS: &str = "200";
/// How long its throughput is measured.
const MEASURED: Duration = Duration::from_millis(700);
/// Its memory may vary by so much, KiB.
const VARIES: u64 = 4 << 10;
/// So many times the memory that a recorder has at first, and so much more, KiB.
const GROWS: (u64, u64) = (2, 16 << 10);

/// What a process has.
#[derive(Clone, Copy, Debug)]
struct Has {
    /// Open files without those of `/proc`: of these a recorder has one for each thread whose system
    /// call it looks at, for a moment.
    files: usize,
    threads: u64,
    memory_kib: u64,
}

fn has(pid: &str) -> Has {
    let lasts =
        |file: &fs::DirEntry| fs::read_link(file.path()).is_ok_and(|to| !to.starts_with("/proc"));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let number = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    Has {
        files: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten().filter(lasts).count(),
        threads: number("Threads:"),
        memory_kib: number("VmRSS:"),
    }
}

/// How many things the program does in a second of its CPU time.
fn throughput(cell: &Cell, pid: &str) -> f64 {
    let counts = || {
        let done = u64::from_ne_bytes(cell.case.read("done").try_into().unwrap());
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let ns = |text: String| text.split(' ').next()?.parse::<u64>().ok();
        let cpu: u64 = tasks
            .filter_map(|task| ns(fs::read_to_string(task.path().join("schedstat")).ok()?))
            .sum();
        (done, cpu)
    };
    let before = counts();
    std::thread::sleep(MEASURED);
    let after = counts();
    assert!(after.0 > before.0, "it does nothing");
    (after.0 - before.0) as f64 / (after.1 - before.1) as f64 * 1e9
}

/// Attaches and detaches until `enough` says so, beside a recorder that stays.
fn soak(mut enough: impl FnMut(u32) -> bool) {
    let Some(cell) = Cell::new(Mode::Attach, Tier::Ordinary) else { return };
    let target = cell.work(["busy", THREADS]);
    let pid = target.pid();
    let (before, fast) = (has(&pid), throughput(&cell, &pid));
    let mut command = cell.command("./whyslow");
    command.args(["record", "-q", "-o", "long.whyslow", "-p", &pid]);
    let mut stays = Process::start(command);
    let header = cell.case.until_recorded(&mut stays, "long.whyslow", 0);
    cell.case.until_recorded(&mut stays, "long.whyslow", header);
    let (mut first, mut cycles) = (has(&stays.pid()), 0);
    while !enough(cycles) {
        let engine = if cycles % 2 == 0 { "perf" } else { "procfs" };
        let mut command = cell.command("./whyslow");
        let options = ["record", "-q", "--engine", engine, "-d", "1ms", "--force"];
        command.args(options).args(["-o", "r.whyslow", "-p", &pid]);
        Process::start(command).finish().ended_with(0);
        cycles += 1;
        if cycles == 10 {
            // It has met all there is to meet.
            first = has(&stays.pid());
        }
    }
    let last = has(&stays.pid());
    stays.signal(Signal::SIGINT);
    stays.finish().ended_with(0);
    let (after, slow) = (has(&pid), throughput(&cell, &pid));
    println!("{cycles} cycles; the program had {before:?} and has {after:?}");
    println!("it did {fast:.0} and does {slow:.0} things in a second of CPU time");
    println!("the recorder that stays had {first:?} and has {last:?}");
    cell.untouched(&pid);
    cell.ends_right(&pid);
    target.finish().ended_with(ENDS);
    assert!(cycles >= 10, "{cycles} cycles");
    assert_eq!((after.files, after.threads), (before.files, before.threads));
    assert!(after.memory_kib <= before.memory_kib + VARIES, "{before:?} {after:?}");
    // Counters are open for a moment now and then.
    assert!(last.files <= first.files + 4 && last.threads == first.threads, "{last:?}");
    assert!(last.memory_kib <= first.memory_kib * GROWS.0 + GROWS.1, "{first:?} {last:?}");
    // Other programs share its caches.
    assert!(slow > fast * 0.6, "{fast} {slow}");
}

#[test]
fn attaching_a_thousand_times_leaves_nothing_behind() {
    needs_root!();
    soak(|cycles| cycles >= 1000);
}

#[test]
#[ignore = "takes the seconds that WHYSLOW_SOAK_SECONDS says: cargo xtask soak"]
fn attaching_for_long_leaves_nothing_behind() {
    needs_root!();
    let seconds = env::var("WHYSLOW_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let (start, time) = (Instant::now(), Duration::from_secs(seconds.unwrap_or(60)));
    soak(|cycles| {
        if cycles % 100 == 99 {
            let rate = f64::from(cycles) / start.elapsed().as_secs_f64();
            println!("{cycles} cycles, {rate:.1} a second");
        }
        start.elapsed() > time
    });
}
