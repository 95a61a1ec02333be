//! One small program for each verdict.

mod convoys;

use whyslow_events::{
    Capabilities, Entry, Event, Frame, Header, InMemory, Mode, Object, Pid, Site, SiteId, SpaceId,
    StackEnd, StackId, SymbolKey, Tid, Wakener,
};

use crate::analyze;
use crate::report::{Class, Report};
use crate::script::{MS, Script, function as frame, header};

/// `doing` over and over, `columns` in all.
fn repeat(doing: &str, columns: usize) -> String {
    doing.chars().cycle().take(columns).collect()
}

#[track_caller]
fn check(script: &Script, class: Class, cause: &str) -> Report {
    let report = script.run().report;
    let verdict = &report.verdict;
    assert_eq!(
        (verdict.class, verdict.cause.as_str()),
        (class, cause),
        "{verdict:#?} {:#?}",
        report.bottleneck
    );
    report
}

fn share(report: &Report, state: &str) -> f64 {
    report.bottleneck.shares.get(state).copied().unwrap_or_default()
}

#[track_caller]
fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
}

#[test]
fn five_sleeps_one_after_the_other() {
    let script =
        Script::new(2).thread("main", &format!("{}#", repeat("#ssssssssssssssssssss", 105)));
    let report = check(&script, Class::IoBound, "sleep");
    close(share(&report, "sleep"), 100.0 / 106.0);
    assert_eq!(
        report.verdict.summary,
        "I/O-bound: 94 % of 0.1 s is spent asleep in timers; the CPU is used 6 %."
    );
    assert_eq!(report.waits[0].count, 5);
    assert_eq!(report.waits[0].p50_ns, 20_000_000);
}

#[test]
fn five_sleeping_threads() {
    let mut script = Script::new(2).thread("main", "#qqqqqqqqqqqqqqqqqqqq#");
    for index in 0..5 {
        script = script.thread(&format!("worker-{index}"), ".ssssssssssssssssssss.");
    }
    let report = check(&script, Class::IoBound, "sleep");
    close(share(&report, "sleep"), 20.0 / 22.0);
}

#[test]
fn four_own_spinners_on_one_cpu_are_cpu_bound() {
    let mut script = Script::new(2);
    for (name, offset) in [("a", 0), ("b", 1), ("c", 2), ("d", 3)] {
        let row = repeat("#rrr", 44).chars().skip((4 - offset) % 4).take(40).collect::<String>();
        script = script.thread(name, &row).pinned(0);
    }
    let report = check(&script, Class::CpuBound, "user");
    close(share(&report, "cpu.user"), 1.0);
    assert_eq!(report.ledger.process["runq.preempted"], 120_000_000);
}

#[test]
fn a_spinner_among_three_foreign_ones_is_starved() {
    let script = Script::new(2)
        .thread("main", &repeat("#rrr", 40))
        .pinned(0)
        .foreign(0, &repeat("-fff", 40));
    let report = check(&script, Class::CpuStarved, "neighbours");
    close(share(&report, "runq.preempted"), 0.75);
}

fn under_quota(script: Script, per_second_ns: u64) -> Script {
    let quota =
        |throttled_ns| Event::Quota { pid: Pid(100), per_second_ns, periods: 1, throttled_ns };
    script.at(1, quota(0)).at(39_000_000, quota(29_000_000))
}

#[test]
fn a_quota_starves() {
    let spinner = || Script::new(2).thread("main", &repeat("#rrr", 40));
    let report = check(&under_quota(spinner(), 250_000_000), Class::CpuStarved, "quota");
    close(share(&report, "runq.throttled"), 0.75);
    assert!(report.phases.iter().any(|phase| phase.cause == "quota"));
    // Others have the CPUs at times, which changes nothing.
    let busy = spinner().foreign(0, &repeat("-fff", 40)).foreign(1, &repeat("f", 40));
    check(&under_quota(busy.clone(), 250_000_000), Class::CpuStarved, "quota");
    // Had it not been for them, there was more to get, ...
    let roomy = under_quota(busy, 500_000_000);
    check(&roomy, Class::CpuStarved, "neighbours");
    // ... unless they are in the group, too.
    let ran = |ran_ns| Event::GroupRan { pid: Pid(100), ran_ns };
    let shared = |last| roomy.clone().at(1, ran(7)).at(39_000_000, ran(last));
    check(&shared(20_000_000), Class::CpuStarved, "quota");
    check(&shared(10_000_000), Class::CpuStarved, "neighbours");
}

#[test]
fn the_way_from_an_idle_cpu_belongs_to_the_wait() {
    let naps = || Script::new(2).thread("main", &repeat("#nw", 60));
    let report = check(&naps(), Class::IoBound, "network");
    assert_eq!(report.ledger.process["runq.waking"], 20_000_000);
    close(share(&report, "io.network"), 2.0 / 3.0);
    assert!(report.phases.iter().all(|phase| phase.class == Class::IoBound), "{:?}", report.phases);
    // Not while others have the CPUs, ...
    let foreign = naps().foreign(0, &repeat("f", 60)).foreign(1, &repeat("f", 60));
    close(share(&foreign.run().report, "runq.waking"), 1.0 / 3.0);
    // ... nor when a quota is what keeps it from them, ...
    let throttled = under_quota(naps(), 250_000_000).run().report;
    close(share(&throttled, "runq.throttled"), 1.0 / 3.0);
    // ... and who lost a CPU does not wait for anything else.
    let preempted = Script::new(2).thread("main", &repeat("n##rr#", 60)).run().report;
    close(share(&preempted, "runq.preempted"), 1.0 / 3.0);
}

#[test]
fn a_heartbeat_does_not_dilute_a_busy_thread() {
    let script = Script::new(2)
        .thread("main", &repeat("#", 40))
        .thread("heartbeat", &repeat("#sssssssss", 40));
    let report = check(&script, Class::CpuBound, "user");
    close(share(&report, "cpu.user"), 1.0);
}

#[test]
fn the_slow_middle_stage_of_a_pipeline_counts() {
    let script = Script::new(4)
        .child("produce", &repeat("PPPPPPPPP#", 40))
        .child("convert", &repeat("##########", 40))
        .child("consume", &repeat("#ppppppppp", 40));
    let report = check(&script, Class::CpuBound, "user");
    close(share(&report, "cpu.user"), 1.0);
}

#[test]
fn a_pipeline_that_waits_for_its_middle_stages_disk_is_io_bound() {
    let script = Script::new(4)
        .child("produce", &repeat("PPPPPPPPP#", 40))
        .child("convert", &repeat("dddddddd##", 40))
        .child("consume", &repeat("pppppppp##", 40));
    check(&script, Class::IoBound, "disk");
}

#[test]
fn threads_that_share_the_interpreter_lock() {
    let mut script = Script::new(4).thread("main", &repeat("q", 40));
    for offset in 0..4 {
        let row = repeat("#ggg", 44).chars().skip((4 - offset) % 4).take(40).collect::<String>();
        script = script.thread(&format!("worker-{offset}"), &row);
    }
    let report = check(&script, Class::CpuBound, "gil");
    assert!(report.verdict.summary.contains("4 threads share one interpreter lock"));
    assert_eq!(report.ledger.process["lock.gil"], 120_000_000);
}

#[test]
fn who_has_the_interpreter_lock_shares_it_though_another_alone_waits() {
    let script = Script::new(4)
        .thread("produce", &repeat("#", 40))
        .thread("consume", &repeat("gg#", 40))
        .thread("idle", &repeat("q", 40));
    let summary = check(&script, Class::CpuBound, "gil").verdict.summary;
    assert!(
        summary.contains("but 2 threads share one interpreter lock and use 1.3 CPUs"),
        "{summary}"
    );
    let script = script.child("other", &repeat("#", 40));
    let summary = check(&script, Class::CpuBound, "gil").verdict.summary;
    assert!(summary.contains("2 threads share one interpreter lock"), "{summary}");
}

/// A dozen threads that do the same, each a moment after the one before.
fn crowd(cpus: u32, row: &str) -> Script {
    let mut script = Script::new(cpus);
    for offset in 0..12 {
        let turns: String = row.chars().cycle().skip(12 - offset).take(48).collect();
        script = script.thread(&format!("worker-{offset}"), &turns);
    }
    script
}

#[test]
fn a_crowd_that_waits_outside_does_not_hide_that_the_interpreter_lock_is_used_up() {
    let report = check(&crowd(4, "g#nnnnnnnnnn"), Class::CpuBound, "gil");
    close(report.verdict.share, 1.0);
    assert!(share(&report, "io.network") < 0.01);
    close(report.ratio.cpu, 1.0);
    // Woken to ask for it again, others are ready too, which makes it no less used up.
    check(&crowd(4, "grrr#nnnnnnn"), Class::CpuBound, "gil");
    // Who has it waits for a CPU, and not for the network.
    let asks = format!("{}#", repeat("g", 39));
    let mut script = Script::new(4).thread("holder", &repeat("#rrr", 40)).thread("asks", &asks);
    for number in 0..10 {
        script = script.thread(&format!("worker-{number}"), &repeat("n", 40));
    }
    check(&script, Class::CpuStarved, "neighbours");
    // Half of the time it is free.
    check(&crowd(4, "g#nnnnnnnnnnnnnnnnnnnnnn"), Class::IoBound, "network");
}

#[test]
fn a_crowd_that_waits_outside_does_not_hide_that_the_cpus_are_used_up() {
    let report = check(&crowd(2, "r##nnnnnnnnn"), Class::CpuBound, "user");
    close(report.verdict.share, 1.0);
    // With a CPU more nobody would be in the queue.
    check(&crowd(3, "r##nnnnnnnnn"), Class::IoBound, "network");
}

#[test]
fn an_idle_server() {
    let script = Script::new(2)
        .thread("main", &repeat("#aaaaaaaaaaaaaaaaaaa", 40))
        .thread("helper", &repeat("q", 40));
    let report = check(&script, Class::Idle, "work");
    close(report.verdict.share, 0.95);
    assert_eq!(report.verdict.active.class, Class::CpuBound);
    close(report.verdict.active.share, 1.0);
}

/// What was attached to.
fn found(script: &Script) -> Report {
    let mut header = Header { capabilities: Capabilities::ALL, ..header(2) };
    header.target.mode = Mode::Attach;
    analyze(&mut InMemory::new(header, script.events())).report
}

#[test]
fn a_heartbeat_does_not_make_a_server_busy_that_waits_for_work() {
    let beat = repeat(&format!("#{}", repeat("s", 39)), 120);
    let server = Script::new(2).thread("main", &repeat("a", 120));
    let report = found(&server.clone().thread("heartbeat", &beat));
    assert_eq!((report.verdict.class, report.prescription.unwrap().model), idle());
    // With nobody else about, it is what the program does, ...
    let report = found(&Script::new(2).thread("main", &beat));
    assert_eq!(report.verdict.cause, "sleep");
    // ... and who is woken by others, computes, or came later works for somebody.
    let naps = repeat("s", 39);
    for worker in [format!("q{naps}##{naps}"), repeat("#sss", 120), format!(".#{naps}")] {
        let server = Script::new(2).thread("main", &format!("#{}", repeat("a", 119)));
        let report = found(&server.thread("worker", &worker));
        assert!(share(&report, "sleep") > 0.3, "{worker} {:#?}", report.bottleneck);
    }
}

fn idle() -> (Class, String) {
    (Class::Idle, "keep".to_owned())
}

#[test]
fn a_heartbeat_hides_no_deadlock() {
    let beat = repeat(&format!("#{}", repeat("s", 39)), 120);
    let script = Script::new(2).thread("a", &repeat("l", 120)).thread("b", &repeat("l", 120));
    let report = found(&script.thread("heartbeat", &beat));
    assert_eq!(report.verdict.class, Class::LockBound, "{:#?}", report.bottleneck);
}

/// A thread that waits at the site of this letter, in these functions of a program.
fn waits_below(functions: &[&str], program: &str, letter: char) -> Report {
    let (space, id) = (SpaceId(1), StackId(900));
    let names = [&["call"], functions].concat();
    let user: Vec<u64> = (901..).take(names.len()).collect();
    let frame = |name: &str| {
        let module = if name == "call" { "libc.so.6" } else { program };
        Frame { module: module.to_owned(), ..frame(name) }
    };
    let names = user
        .iter()
        .zip(names)
        .map(|(&address, name)| (SymbolKey { space: Some(space), address }, vec![frame(name)]));
    let symbols = Event::Symbols(names.collect());
    let (kernel, end, script) = (vec![], StackEnd::Complete, vec![]);
    let stack = Event::Stack { id, space, kernel, user, end, script };
    let look = Event::Look { tid: Tid(100), site: SiteId(letter.into()), stack: Some(id) };
    let script = Script::new(2).thread("waits", &repeat(&letter.to_string(), 40));
    found(&script.at(0, symbols).at(0, stack).at(2 * MS, look))
}

#[test]
fn a_runtime_that_looks_after_itself_is_idle() {
    let below = |function| waits_below(&["runtime.usleep", function], "/srv/server", 's').verdict;
    assert_eq!(below("runtime.sysmon").class, Class::Idle);
    assert_eq!(below("main.retry").cause, "sleep");
}

#[test]
fn a_database_that_waits_for_a_row_is_not_idle() {
    // `a` waits in one call for a statement, a lock, and a moment.
    let waits = |function: &str| {
        waits_below(&["WaitEventSetWait", "WaitLatch", function], "/usr/lib/postgres", 'a')
    };
    let row = waits("ProcSleep");
    assert_eq!((row.verdict.class, row.verdict.cause.as_str()), (Class::LockBound, "user"));
    assert_eq!(row.waits[0].r#where.as_deref(), Some("ProcSleep (ProcSleep.c:10)"));
    assert!(
        row.verdict.summary.contains("for a lock, mostly in ProcSleep (ProcSleep.c:10); 1.0 of")
    );
    assert_eq!(waits("pg_sleep").verdict.cause, "sleep");
    assert_eq!(waits("secure_read").verdict.class, Class::Idle);
}

#[test]
fn a_deadlock_is_lock_bound_not_idle() {
    let script = Script::new(2).thread("main", "#lllllllllllll").thread("b", "#lllllllllllll");
    check(&script, Class::LockBound, "user");
    let script = Script::new(2).thread("main", "#qqqqqqqqqqqqq").thread("b", "#qqqqqqqqqqqqq");
    check(&script, Class::LockBound, "thread");
}

#[test]
fn a_futex_that_only_timers_end_is_a_sleep() {
    let row = repeat("#qqqqqqqqq", 40);
    check(&Script::new(2).thread("main", &row), Class::IoBound, "sleep");
    let script = Script::new(2).thread("main", &row).thread("helper", &repeat("q", 40));
    check(&script, Class::IoBound, "sleep");
}

#[test]
fn fifty_idle_workers_do_not_drown_a_busy_one() {
    let mut script = Script::new(2).thread("main", &repeat("#", 40));
    for index in 0..50 {
        let row = repeat(if index % 2 == 0 { "q" } else { "a" }, 40);
        script = script.thread(&format!("worker-{index}"), &row);
    }
    let report = check(&script, Class::CpuBound, "user");
    close(share(&report, "cpu.user"), 1.0);
}

#[test]
fn eight_workers_that_mostly_await_the_network() {
    let mut script = Script::new(8);
    for offset in 0..8 {
        let row = repeat("#nnnnnnnnn", 50).chars().skip(10 - offset).take(40).collect::<String>();
        script = script.thread(&format!("worker-{offset}"), &row);
    }
    let report = check(&script, Class::IoBound, "network");
    close(share(&report, "io.network"), 0.9);
    assert!(report.verdict.summary.contains("tcp 10.0.0.2:5432 (recvfrom)"));
}

#[test]
fn half_and_half_is_mixed() {
    let report = check(&Script::new(2).thread("main", &repeat("#s", 40)), Class::Mixed, "cpu+io");
    close(report.ratio.io_to_cpu.unwrap(), 1.0);
}

#[test]
fn kernel_time_disk_memory_and_children() {
    check(&Script::new(1).thread("main", &repeat("KKK#", 40)), Class::CpuBound, "kernel");
    check(&Script::new(1).thread("main", &repeat("ddd#", 40)), Class::IoBound, "disk");
    check(&Script::new(1).thread("main", &repeat("mmm#", 40)), Class::MemoryBound, "page-fault");
    check(&Script::new(1).thread("main", &repeat("TTT#", 40)), Class::Idle, "stopped");
    // Nothing of the child is recorded, so it is outside.
    check(&Script::new(1).thread("main", "#ccccccccccccc"), Class::IoBound, "child");
}

#[test]
fn a_signal_that_ends_a_parents_wait_says_nothing_of_its_child() {
    for by in [Wakener::Foreign, Wakener::Interrupt] {
        let events = Script::new(2)
            .thread("make", &format!("#{}", repeat("c", 39)))
            .child("cc", &repeat("#", 40))
            .at(40 * MS - 1, Event::Wakeup { tid: Tid(100), by })
            .events();
        let header = Header { capabilities: Capabilities::ALL, ..header(2) };
        let report = analyze(&mut InMemory::new(header, events)).report;
        assert_eq!(report.verdict.class, Class::CpuBound, "{by:?} {:#?}", report.bottleneck);
        assert!(share(&report, "child") < 1e-6, "{by:?} {:#?}", report.bottleneck);
    }
}

#[test]
fn a_parent_waits_for_what_its_child_waits_for() {
    let script = Script::new(2)
        .thread("make", &format!("#{}#", repeat("c", 38)))
        .child("cc", &format!(".{}.", repeat("#", 38)));
    check(&script, Class::CpuBound, "user");
}

#[test]
fn much_unknown_time_refuses_an_answer() {
    let script = Script::new(2).thread("main", &repeat("#?", 40));
    let report = check(&script, Class::Inconclusive, "unknown");
    assert!(report.verdict.summary.contains("record again"));
    close(report.verdict.interval[1] - report.verdict.interval[0], 0.5);
    // A little of it cannot change this one.
    check(&Script::new(2).thread("main", &repeat("#######?", 40)), Class::CpuBound, "user");
}

#[test]
fn phases_follow_the_change() {
    let script = Script::new(2).thread("main", &(repeat("#", 20) + &repeat("s", 20)));
    let report = check(&script, Class::Mixed, "cpu+io");
    let phases: Vec<_> = report.phases.iter().map(|it| (it.from_ns, it.to_ns, it.class)).collect();
    assert_eq!(
        phases,
        [(0, 20_000_000, Class::CpuBound), (20_000_000, 40_000_000, Class::IoBound)]
    );
}

#[test]
fn what_most_is_waited_for_is_named_and_nothing_that_is_not() {
    let files = |doing: &str| {
        let mut script = Script::new(2).thread("main", &repeat(doing, 100));
        for letter in "xyz".chars() {
            let object = Object::File(format!("/data/{letter}"));
            let entry = Entry::Syscall("pread64".to_owned());
            let site = Site { pid: Pid(100), entry, pc: letter.into(), object };
            script = script.at(0, Event::Site { id: SiteId(letter.into()), site });
        }
        check(&script, Class::IoBound, "disk").verdict.summary
    };
    assert!(files("xxxxxxyyzz").contains("disk, mostly /data/x (pread64)"));
    assert!(files("xxxxyyyzzz").contains("disk, mostly in pread64"));
}

#[test]
fn only_who_was_refused_something_is_told_to_be_root() {
    let script = Script::new(2).thread("main", "??????????#");
    let summary = |capabilities| {
        let header = Header { capabilities, ..header(2) };
        let verdict = analyze(&mut InMemory::new(header, script.events())).report.verdict;
        assert_eq!(verdict.class, Class::Inconclusive);
        verdict.summary
    };
    assert!(summary(Capabilities::default()).ends_with("record again as root, or for longer."));
    assert!(summary(Capabilities::ALL).ends_with("record again, for longer."));
}
