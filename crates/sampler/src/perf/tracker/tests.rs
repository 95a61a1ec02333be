//! Records of a small machine, and the events they become.

use whyslow_events::{Entrance, Wakener};

use super::*;
use crate::target::Attached;

const ROOT: u32 = 100;
const START: u64 = 1000;

fn record(time: u64, tid: u32, body: Body) -> Record {
    Record { time, tid, body }
}

fn switch(time: u64, previous: u32, state: u64, next: u32) -> Record {
    record(time, previous, Body::switch(previous, state, next))
}

fn waking(time: u64, by: u32, woken: u32, interrupt: bool) -> Record {
    record(time, by, Body::Waking { woken, interrupt })
}

fn fork(time: u64, parent: u32, pid: u32, tid: u32) -> Record {
    record(time, parent, Body::Fork { pid, tid, parent })
}

fn root() -> Attached {
    Attached { pid: ROOT, parent: None, name: "prog".into(), mappings: vec![] }
}

/// A tracker of process 100 with its one thread, which is born at the start.
fn tracker(inherit: bool) -> Tracker {
    let mut tracker = Tracker::new(KernelCalls::default(), inherit, START);
    tracker.adopt(START, root());
    tracker.begin_thread(START, ROOT, ROOT, "prog".into());
    tracker
}

/// The events that `records`, pairs of CPU and record, become after the thread's birth.
fn events(mut tracker: Tracker, records: Vec<(u32, Record)>) -> Vec<(u64, Event)> {
    tracker.take_events();
    for (cpu, record) in records {
        tracker.record(cpu, record);
    }
    tracker.take_events().map(|timed| (timed.time.0, timed.event)).collect()
}

fn switch_in(tid: u32, cpu: u32) -> Event {
    Event::SwitchIn { tid: Tid(tid), cpu: Cpu(cpu) }
}

fn switch_out(tid: u32, cpu: u32, off: Off) -> Event {
    Event::SwitchOut { tid: Tid(tid), cpu: Cpu(cpu), off, stack: None }
}

fn occupant(cpu: u32, busy: bool) -> Event {
    Event::Occupant { cpu: Cpu(cpu), busy }
}

#[test]
fn only_the_targets_switches_are_reported() {
    let found = events(
        tracker(true),
        vec![
            (0, switch(1001, 7, 1, 8)),
            (0, switch(1002, 8, 1, ROOT)),
            (1, switch(1003, 9, 1, 7)),
            (0, switch(1004, ROOT, 0x100, 7)),
        ],
    );
    assert_eq!(
        found,
        [
            // The thread waits for a CPU, so it matters who has them.
            (1001, occupant(0, true)),
            (1002, switch_in(ROOT, 0)),
            (1004, switch_out(ROOT, 0, Off::Preempted)),
            (1004, occupant(1, true)),
            (1004, occupant(0, true)),
        ]
    );
}

#[test]
fn who_has_the_cpus_is_told_only_while_somebody_wants_one() {
    let blocked = Off::Blocked { site: None, uninterruptible: false };
    let found = events(
        tracker(true),
        vec![
            (0, switch(1001, 0, 0, ROOT)),
            (0, switch(1002, ROOT, 1, 0)),
            (0, switch(1003, 0, 0, 7)),
            (0, switch(1004, 7, 1, 0)),
            (0, switch(1005, 0, 0, 7)),
            (0, waking(1006, 0, ROOT, true)),
            (0, switch(1007, 7, 0, ROOT)),
        ],
    );
    assert_eq!(
        found,
        [
            (1001, switch_in(ROOT, 0)),
            (1002, switch_out(ROOT, 0, blocked)),
            (1002, occupant(0, false)),
            (1006, Event::Wakeup { tid: Tid(ROOT), by: Wakener::Interrupt }),
            (1006, occupant(0, true)),
            (1007, switch_in(ROOT, 0)),
        ]
    );
}

#[test]
fn a_switch_record_tells_what_the_tracepoint_did_not() {
    let switched_in = |time, tid| (0, record(time, tid, Body::SwitchedIn));
    let found = events(
        tracker(true),
        vec![
            (0, switch(1001, 7, 1, ROOT)),
            // Says the same again.
            switched_in(1002, ROOT),
            (0, switch(1003, ROOT, 1, 0)),
            switched_in(1004, 0),
            // From idleness, which the tracepoint kept to itself.
            switched_in(1005, ROOT),
        ],
    );
    let blocked = Off::Blocked { site: None, uninterruptible: false };
    assert_eq!(
        found,
        [
            (1001, switch_in(ROOT, 0)),
            (1003, switch_out(ROOT, 0, blocked)),
            (1003, occupant(0, false)),
            (1005, Event::Wakeup { tid: Tid(ROOT), by: Wakener::Interrupt }),
            (1005, switch_in(ROOT, 0)),
        ]
    );
}

#[test]
fn who_has_an_idle_cpu_was_woken_by_an_interrupt_unless_somebody_told() {
    let once = |told: bool, from: u64| {
        let waking = told.then(|| (1, waking(from + 2, 7, ROOT, false)));
        let leaves = (0, switch(from + 1, ROOT, 1, 0));
        [leaves].into_iter().chain(waking).chain([(0, switch(from + 3, 0, 0, ROOT))])
    };
    let found = events(tracker(true), once(true, 1000).chain(once(false, 1010)).collect());
    let wakers: Vec<_> = found
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Wakeup { by, .. } => Some(*by),
            _ => None,
        })
        .collect();
    assert_eq!(wakers, [Wakener::Foreign, Wakener::Interrupt]);
    let misses = |told: bool| {
        let mut tracker = tracker(true);
        let all = (1..=20).flat_map(|turn| once(told, 1000 + 10 * turn));
        all.for_each(|(cpu, record)| tracker.record(cpu, record));
        tracker.misses_wakeups()
    };
    assert_eq!([true, false].map(misses), [false, true]);
}

#[test]
fn wakers_are_told_apart() {
    let mut tracker = tracker(true);
    tracker.record(0, fork(1001, ROOT, ROOT, 101));
    let by = |events: Vec<(u64, Event)>| {
        events.into_iter().find_map(|(_, event)| match event {
            Event::Wakeup { by, .. } => Some(by),
            _ => None,
        })
    };
    tracker.record(0, switch(1002, 7, 1, ROOT));
    tracker.record(0, switch(1003, ROOT, 1, 7));
    assert_eq!(
        by(events(tracker, vec![(1, waking(1004, 101, ROOT, false))])),
        Some(Wakener::Thread(Tid(101)))
    );
    let of = |waker, interrupt| {
        by(events(self::tracker(true), vec![(1, waking(1004, waker, ROOT, interrupt))]))
    };
    assert_eq!(of(7, false), Some(Wakener::Foreign));
    assert_eq!(of(7, true), Some(Wakener::Interrupt));
    assert_eq!(of(0, false), Some(Wakener::Interrupt));
}

#[test]
fn children_join_by_fork_unless_told_not_to() {
    let joined = |inherit| {
        let records = vec![(0, fork(1001, ROOT, 200, 200)), (0, fork(1002, ROOT, ROOT, 101))];
        let found = events(tracker(inherit), records);
        found
            .into_iter()
            .filter_map(|(_, event)| match event {
                Event::Thread { tid, entrance: Entrance::Born, .. } => Some(tid.0),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(joined(true), [200, 101]);
    assert_eq!(joined(false), [101]);
}

#[test]
fn an_exec_ends_the_other_threads_and_begins_a_space() {
    let records = vec![
        (0, fork(1001, ROOT, ROOT, 101)),
        (
            0,
            record(1002, ROOT, Body::Comm { pid: ROOT, tid: ROOT, exec: true, name: "new".into() }),
        ),
    ];
    let mut followed = tracker(true);
    followed.take_events();
    for (cpu, record) in records {
        followed.record(cpu, record);
    }
    let found: Vec<Event> = followed.take_events().map(|timed| timed.event).collect();
    assert!(found.contains(&Event::Exit { tid: Tid(101) }));
    assert!(found.iter().any(|event| matches!(event, Event::Exec { name, .. } if name == "new")));
    assert_eq!(followed.threads().map(|(tid, _)| tid.0).collect::<Vec<_>>(), [ROOT]);
}

#[test]
fn the_target_is_over_with_its_last_thread() {
    let mut tracker = tracker(true);
    tracker.record(0, fork(1001, ROOT, 200, 200));
    tracker.record(0, switch(1002, ROOT, 0x10, 200));
    assert!(!tracker.is_over());
    tracker.record(0, switch(1003, 200, 0x20, 0));
    assert!(tracker.is_over());
    assert_eq!(tracker.processes().count(), 0);
}

#[test]
fn a_chain_belongs_to_the_switch_of_its_own_thread_only() {
    let chain = |time, tid| {
        let chain = Box::from([u64::MAX - 511, 0x10]);
        (0, record(time, tid, Body::Stack { chain, user: None }))
    };
    let stacks = |records: Vec<(u32, Record)>| {
        let found = events(tracker(true), records);
        found
            .into_iter()
            .filter_map(|(_, event)| match event {
                Event::SwitchOut { stack, .. } => Some(stack.is_some()),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let ran = (0, switch(1001, 7, 1, ROOT));
    assert_eq!(stacks(vec![ran.clone(), chain(1002, ROOT), (0, switch(1003, ROOT, 1, 7))]), [true]);
    // Its switch was lost.
    let lost = vec![chain(1001, 7), (0, switch(1002, 9, 1, ROOT)), (0, switch(1003, ROOT, 1, 7))];
    assert_eq!(stacks(lost), [false]);
}

/// What a thread that was found at 900 is let in with at the start, after `records`.
fn found_after(seen: Seen, records: Vec<(u32, Record)>) -> Vec<(u64, Event)> {
    let mut tracker = Tracker::new(KernelCalls::default(), true, 0);
    tracker.adopt(900, root());
    tracker.find(Found { time: 900, pid: ROOT, tid: ROOT, name: "prog".into(), seen });
    tracker.begin_window(START);
    let mut found = events(tracker, records);
    found.retain(|(_, event)| !matches!(event, Event::Occupant { .. }));
    found
}

fn enters(seen: Seen) -> (u64, Event) {
    let (tid, pid, name) = (Tid(ROOT), Pid(ROOT), "prog".to_owned());
    (START, Event::Thread { tid, pid, name, entrance: Entrance::Found(seen) })
}

#[test]
fn found_threads_enter_with_the_start_whenever_they_were_found() {
    let stopped = Seen::Off(Off::Stopped);
    assert_eq!(found_after(stopped, vec![(0, switch(1500, 7, 1, 8))]), [enters(stopped)]);
}

#[test]
fn records_between_the_look_and_the_start_are_newer_than_the_look() {
    let blocked = Off::Blocked { site: None, uninterruptible: false };
    let end = (0, switch(1500, 7, 1, 8));
    let ran = vec![(0, switch(950, 7, 1, ROOT)), end.clone()];
    assert_eq!(
        found_after(Seen::Off(Off::Stopped), ran)[..2],
        [enters(Seen::Runnable), (START, switch_in(ROOT, 0))]
    );
    let left = vec![(1, switch(950, ROOT, 1, 7)), end.clone()];
    assert_eq!(found_after(Seen::Runnable, left), [enters(Seen::Off(blocked))]);
    // Older than the look.
    let before = vec![(1, switch(850, ROOT, 1, 7)), end.clone()];
    assert_eq!(found_after(Seen::Runnable, before), [enters(Seen::Runnable)]);
    let died = vec![(1, switch(950, ROOT, 0x10, 7)), end];
    assert_eq!(found_after(Seen::Runnable, died), []);
}

#[test]
fn a_thread_born_between_the_look_and_the_start_is_not_missed() {
    let records = vec![(0, fork(950, ROOT, ROOT, 101)), (0, switch(1500, 7, 1, 8))];
    let found = found_after(Seen::Runnable, records);
    let tids: Vec<u32> = found
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Thread { tid, .. } => Some(tid.0),
            _ => None,
        })
        .collect();
    assert_eq!(tids, [ROOT, 101]);
}

#[test]
fn a_gap_in_a_ring_begins_with_the_last_record_before_it() {
    let found = events(
        tracker(true),
        vec![(1, switch(1100, 7, 1, 8)), (1, record(1200, 8, Body::Lost { records: 5 }))],
    );
    let lost = Event::Lost { cpu: Cpu(1), since: Ns(1100), records: 5 };
    assert_eq!(found.last(), Some(&(1200, lost)));
}

#[test]
fn what_ends_was_counted_by_the_kernel_from_its_birth_on() {
    let dies = |time: u64, tid: u32| {
        let body =
            Body::Switch { previous: tid, state: 0x20, next: 7, registers: None, ran: Some(3) };
        record(time, tid, body)
    };
    let records = [
        fork(1001, ROOT, 101, 101),
        switch(1002, 8, 1, 101),
        // One that goes on is counted when it is read.
        record(
            1003,
            101,
            Body::Switch { previous: 101, state: 0, next: 8, registers: None, ran: Some(1) },
        ),
        switch(1004, 8, 1, 101),
        dies(1005, 101),
        // Before it was followed it has run for nobody knows how long.
        switch(1006, 7, 1, ROOT),
        dies(1007, ROOT),
    ];
    let found = events(tracker(true), records.map(|record| (0, record)).into());
    let counted = found.iter().filter(|(_, event)| matches!(event, Event::KernelCpu { .. }));
    let expected = (1005, Event::KernelCpu { tid: Some(Tid(101)), cpu_ns: 3 });
    assert_eq!(counted.collect::<Vec<_>>(), [&expected]);
}
