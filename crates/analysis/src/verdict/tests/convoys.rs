//! Locks that threads and processes take turns at.

use whyslow_events::{Entry, Event, Object, Pid, Site, SiteId};

use super::{check, close, repeat};
use crate::report::{Class, Report, Verdict};
use crate::script::{Script, futex};

fn convoy(held: char) -> Script {
    let mut script = Script::new(4).thread("main", &repeat("q", 40));
    for offset in 0..4 {
        let row = repeat(&format!("{held}lll"), 44);
        let row = row.chars().skip((4 - offset) % 4).take(40).collect::<String>();
        script = script.thread(&format!("worker-{offset}"), &row);
    }
    script
}

#[test]
fn a_convoy_is_lock_bound_while_the_holder_computes() {
    let report = check(&convoy('#'), Class::LockBound, "user");
    close(report.verdict.share, 1.0);
}

#[test]
fn a_convoy_waits_for_its_lock_however_many_threads_are_idle() {
    let pool = (0..8).fold(convoy('#'), |script, _| script.thread("pool", &repeat("q", 40)));
    check(&pool, Class::LockBound, "user");
}

#[test]
fn a_convoy_is_lock_bound_while_the_holder_sleeps() {
    check(&convoy('s'), Class::LockBound, "user");
}

#[test]
fn a_semaphore_whose_waiters_wake_each_other_is_a_lock() {
    let mut script = Script::new(4);
    for offset in 0..4 {
        let row = repeat("#qqq", 44).chars().skip((4 - offset) % 4).take(40).collect::<String>();
        script = script.thread(&format!("worker-{offset}"), &row);
    }
    let report = check(&script, Class::LockBound, "user");
    assert_eq!(report.waits[0].state, "lock.user");
}

/// Three processes of which one computes and the others wait for `object`, as do two threads
/// for them.
fn processes(call: &str, object: Object) -> Report {
    let entry = Entry::Syscall(call.to_owned());
    let site = Site { pid: Pid(100), entry, pc: 0, object };
    let parents = || repeat("c", 40);
    let mut script = Script::new(4).thread("main", &parents()).thread("other", &parents());
    for offset in 0..3 {
        let row = repeat("#qq", 44).chars().skip((3 - offset) % 3).take(40).collect::<String>();
        script = script.child(&format!("worker-{offset}"), &row);
    }
    script.at(0, Event::Site { id: SiteId('q'.into()), site }).run().report
}

#[test]
fn processes_that_take_turns_at_one_semaphore_wait_for_a_lock() {
    let shared = |inode| Object::SharedFutex { inode, offset: 8, operation: 9, expected: 0 };
    for (call, object) in [("futex", shared(7)), ("semop", Object::Semaphores(3))] {
        let report = processes(call, object);
        let Verdict { class, cause, .. } = &report.verdict;
        assert_eq!((class, cause.as_str()), (&Class::LockBound, "user"), "{call}");
        let lock = report.waits.iter().find(|wait| wait.state == "lock.user").unwrap();
        assert_eq!(lock.total_ns, 80_000_000);
    }
    // At the same address in each, and for each something else.
    let report = processes("futex", futex(0x2000, 0));
    assert_eq!(report.verdict.class, Class::CpuBound);
    assert!(!report.ledger.process.contains_key("lock.user"));
}

#[test]
fn a_counter_that_passes_the_locked_value_is_no_lock() {
    // `l` and `q` on one futex: the value it expects varies.
    let counter = Site {
        pid: Pid(100),
        entry: Entry::Syscall("futex".to_owned()),
        pc: 0,
        object: futex(0x1000, 3),
    };
    let script = Script::new(2)
        .thread("main", "#lllllqqqqq#")
        .thread("worker", "############")
        .at(1, Event::Site { id: SiteId('q'.into()), site: counter });
    let report = script.run().report;
    assert_eq!(report.ledger.process["sync.thread"], 10_000_000);
}
