//! Records of single threads, and the events they become.

use whyslow_events::{Seen, Site, SiteId};

use super::super::glances::Glance;
use super::*;
use crate::perf::record::{Body, Record};
use crate::perf::{Found, KernelCalls};
use crate::target::Attached;

const ROOT: u32 = 100;
const START: u64 = 1_000_000;
const FREQUENCY: u32 = 1000;
const MS: u64 = 1_000_000;

/// A tracker of process 100 with its one thread, which is born at the start.
fn tracker() -> Tracker {
    let mut tracker = Tracker::new(KernelCalls::default(), true, START);
    tracker.rely_on_looks(FREQUENCY);
    tracker.adopt(START, Attached { pid: ROOT, parent: None, name: "a".into(), mappings: vec![] });
    tracker.begin_thread(START, ROOT, ROOT, "a".into());
    tracker.take_events();
    tracker
}

fn record(tracker: &mut Tracker, time: u64, body: Body) {
    tracker.record(0, Record { time: START + time, tid: ROOT, body });
}

fn taken(tracker: &mut Tracker) -> Vec<(u64, Event)> {
    tracker.take_events().map(|timed| (timed.time.0 - START, timed.event)).collect()
}

fn out(off: Off) -> Event {
    Event::SwitchOut { tid: Tid(ROOT), cpu: Cpu(0), off, stack: None }
}

fn into() -> Event {
    Event::SwitchIn { tid: Tid(ROOT), cpu: Cpu(0) }
}

const BLOCKED: Off = Off::Blocked { site: None, uninterruptible: false };
const BLOCK: Body = Body::SwitchedOut { preempted: false };

fn look(tracker: &mut Tracker, from: u64, to: u64, site: u32) {
    let (tid, site) = (Tid(ROOT), SiteId(site));
    let (start, closely) = (START + from, false);
    let glance = Glance { start, tid, site, stack: None, limit: None, closely };
    tracker.looks.put(START + to, Reading::Glance(glance));
}

fn looked(site: u32) -> Event {
    Event::Look { tid: Tid(ROOT), site: SiteId(site), stack: None }
}

#[test]
fn the_preempt_flag_tells_a_turn_in_the_queue_from_a_wait() {
    let mut tracker = tracker();
    record(&mut tracker, 10, Body::SwitchedIn);
    record(&mut tracker, 20, Body::SwitchedOut { preempted: true });
    record(&mut tracker, 30, Body::SwitchedIn);
    record(&mut tracker, 40, BLOCK);
    let expected = [(10, into()), (20, out(Off::Preempted)), (30, into()), (40, out(BLOCKED))];
    assert_eq!(taken(&mut tracker), expected);
}

#[test]
fn a_look_counts_for_the_wait_around_it_alone() {
    let mut tracker = tracker();
    record(&mut tracker, 10, Body::SwitchedIn);
    record(&mut tracker, 20, BLOCK);
    look(&mut tracker, 30, 35, 2);
    look(&mut tracker, 38, 45, 3);
    record(&mut tracker, 40, Body::SwitchedIn);
    record(&mut tracker, 50, BLOCK);
    let expected = [(10, into()), (20, out(BLOCKED)), (35, looked(2)), (40, into())];
    assert_eq!(taken(&mut tracker)[..4], expected);
}

#[test]
fn a_look_at_a_thread_that_ran_when_it_began_counts_for_the_wait_it_went_to() {
    let mut tracker = tracker();
    record(&mut tracker, 10, Body::SwitchedIn);
    record(&mut tracker, 20, BLOCK);
    look(&mut tracker, 15, 25, 1);
    record(&mut tracker, 30, Body::SwitchedIn);
    record(&mut tracker, 40, BLOCK);
    // It had waited for something else when these began, or may have.
    look(&mut tracker, 28, 45, 2);
    record(&mut tracker, 50, BLOCK);
    look(&mut tracker, 48, 55, 3);
    record(&mut tracker, 60, Body::SwitchedIn);
    let looks = taken(&mut tracker).into_iter().filter(|it| matches!(it.1, Event::Look { .. }));
    assert_eq!(looks.collect::<Vec<_>>(), [(25, looked(1))]);
}

#[test]
fn a_wait_is_over_once_its_thread_is_found_ready_to_run() {
    let mut tracker = tracker();
    let found_ready = |tracker: &mut Tracker, from: u64, to: u64| {
        let reading = Reading::Awake { tid: Tid(ROOT), start: START + from };
        tracker.looks.put(START + to, reading);
    };
    record(&mut tracker, 10, Body::SwitchedIn);
    // It ran when this one began, and when the next ended.
    found_ready(&mut tracker, 15, 25);
    record(&mut tracker, 20, BLOCK);
    found_ready(&mut tracker, 30, 32);
    found_ready(&mut tracker, 40, 42);
    found_ready(&mut tracker, 48, 52);
    record(&mut tracker, 50, Body::SwitchedIn);
    record(&mut tracker, 60, Body::SwitchedOut { preempted: true });
    found_ready(&mut tracker, 70, 72);
    record(&mut tracker, 80, Body::SwitchedIn);
    let awake = taken(&mut tracker).into_iter().filter(|it| matches!(it.1, Event::Awake { .. }));
    assert_eq!(awake.collect::<Vec<_>>(), [(32, Event::Awake { tid: Tid(ROOT) })]);
}

#[test]
fn looks_come_sooner_while_waits_end_unseen_and_cost_no_more_than_they_may() {
    let mut tracker = tracker();
    assert_eq!(tracker.looks_again_after(), None);
    for round in 0..20 {
        record(&mut tracker, round * MS, Body::SwitchedIn);
        record(&mut tracker, round * MS + 10, BLOCK);
        tracker.glance(START + round * MS, [].iter(), &|| START + round * MS);
    }
    let soon = tracker.looks_again_after().unwrap();
    assert!(soon < 2 * MS, "{soon}");
    // Nothing ends unseen any more.
    for round in 20..200 {
        tracker.glance(START + round * MS, [].iter(), &|| START + round * MS);
    }
    assert_eq!(tracker.looks_again_after(), None);
}

#[test]
fn a_tick_that_does_not_come_fell_into_the_kernel() {
    let mut tracker = tracker();
    record(&mut tracker, 0, Body::SwitchedIn);
    let clock = || Body::Clock { kernel: false, chain: [].into(), user: None };
    record(&mut tracker, MS, clock());
    record(&mut tracker, 3 * MS, clock());
    // Half a period of the next has passed when the thread leaves.
    record(&mut tracker, 3 * MS + MS / 2, BLOCK);
    record(&mut tracker, 9 * MS, Body::SwitchedIn);
    record(&mut tracker, 9 * MS + MS / 2, clock());
    let samples: Vec<(u64, bool)> = taken(&mut tracker)
        .into_iter()
        .filter_map(|(time, event)| match event {
            Event::Sample { kernel, .. } => Some((time, kernel)),
            _ => None,
        })
        .collect();
    let missing = 2 * MS + MS / 2;
    let expected = [(MS, false), (missing, true), (3 * MS, false), (9 * MS + MS / 2, false)];
    assert_eq!(samples, expected);
}

#[test]
fn an_awaited_process_is_there_until_it_is_gone() {
    let mut tracker = tracker();
    tracker.await_end_of(Tid(ROOT));
    record(&mut tracker, 0, Body::SwitchedIn);
    record(&mut tracker, 10, Body::Exit { tid: ROOT });
    assert!(!tracker.is_over());
    tracker.gone(START + 20);
    tracker.settle(START + 30);
    assert!(tracker.is_over());
    assert_eq!(taken(&mut tracker).last(), Some(&(20, out(Off::Dead))));
}

#[test]
fn a_stopped_thread_has_a_site_of_its_own() {
    let mut tracker = tracker();
    let mut sites = vec![];
    tracker.waits.stopped(whyslow_events::Pid(ROOT), |event| sites.push(event));
    let [Event::Site { site: Site { entry, .. }, .. }] = &sites[..] else { panic!("{sites:?}") };
    assert_eq!(*entry, whyslow_events::Entry::Stopped);
}

#[test]
fn who_is_hidden_from_us_when_it_changes_its_user_neither_ends_nor_computes() {
    let begun = || {
        let mut tracker = tracker();
        record(&mut tracker, 0, Body::SwitchedIn);
        tracker
    };
    let mut tracker = begun();
    tracker.await_end_of(Tid(ROOT));
    let exec = Body::Comm { pid: ROOT, tid: ROOT, exec: true, name: "su".into() };
    record(&mut tracker, 5, exec.clone());
    record(&mut tracker, 10, Body::Exit { tid: ROOT });
    let told = taken(&mut tracker);
    assert!(told.contains(&(10, out(BLOCKED))), "{told:?}");
    let named = |event: &Event| matches!(event, Event::Fallback(it) if it.wanted.contains("su"));
    assert!(told.iter().any(|(_, event)| named(event)), "{told:?}");
    assert!(!told.iter().any(|(_, event)| matches!(event, Event::Exit { .. })), "{told:?}");
    tracker.gone(START + 20);
    tracker.settle(START + 30);
    assert!(tracker.is_over());
    assert_eq!(taken(&mut tracker).last(), Some(&(20, out(Off::Dead))));
    // Of whom nobody waits for no end is ever heard: it is in the recording no longer.
    let mut tracker = begun();
    record(&mut tracker, 5, exec);
    record(&mut tracker, 10, Body::Exit { tid: ROOT });
    assert!(tracker.is_over());
    assert!(taken(&mut tracker).contains(&(10, Event::Exit { tid: Tid(ROOT) })));
}

/// The threads that live after these were found or born, and did this before the window.
fn entered(found: &[u32], records: &[(u64, u32, Body)]) -> Vec<u32> {
    let mut tracker = Tracker::new(KernelCalls::default(), true, 0);
    tracker.rely_on_looks(FREQUENCY);
    tracker.adopt(START, Attached { pid: ROOT, parent: None, name: "a".into(), mappings: vec![] });
    for tid in found {
        let (time, name, seen) = (START - 50, "a".to_owned(), Seen::Runnable);
        tracker.find(Found { time, pid: ROOT, tid: *tid, name, seen });
    }
    tracker.begin_window(START);
    for (before, tid, body) in records.iter().cloned() {
        tracker.record(0, Record { time: START - before, tid, body });
    }
    tracker.settle(START + 1);
    let mut alive: Vec<u32> = tracker.threads().map(|(tid, _)| tid.0).collect();
    alive.sort_unstable();
    alive
}

#[test]
fn who_ended_before_the_window_is_not_in_it() {
    let born = |tid| Body::Fork { pid: ROOT, tid, parent: ROOT };
    let records =
        [(90, ROOT, born(101)), (40, ROOT, born(102)), (30, 102, Body::Exit { tid: 102 })];
    assert_eq!(entered(&[ROOT, 101], &records), [ROOT, 101]);
    // It was on its way out when it was found.
    let records = [(60, 101, Body::Exit { tid: 101 })];
    assert_eq!(entered(&[ROOT, 101], &records), [ROOT]);
}

#[test]
fn who_is_found_gone_has_ended() {
    let mut tracker = tracker();
    record(&mut tracker, 10, Body::SwitchedIn);
    tracker.found_gone(START + 30, Tid(ROOT));
    record(&mut tracker, 40, Body::Other);
    assert_eq!(taken(&mut tracker), [(10, into()), (30, out(Off::Dead))]);
    assert!(tracker.is_over());
}

#[test]
fn who_has_gone_on_by_records_that_are_still_to_come_is_looked_at() {
    let mut tracker = tracker();
    record(&mut tracker, 10, Body::SwitchedIn);
    record(&mut tracker, 20, BLOCK);
    if let Some(thread) = tracker.threads.get_mut(&Tid(ROOT)) {
        thread.looked_at = Looked::Closely;
    }
    let of = |tid: u32, body| Record { time: START + 30, tid, body };
    let mut looks = |ahead: &[Record]| {
        tracker.glance(START + 40, ahead.iter(), &|| START + 40);
        tracker.unseen()
    };
    assert_eq!(looks(&[of(ROOT, Body::SwitchedIn), of(ROOT, BLOCK)]), [Tid(ROOT)]);
    assert_eq!(
        looks(&[of(ROOT + 1, Body::SwitchedIn), of(ROOT, Body::Exit { tid: ROOT + 1 })]),
        []
    );
}
