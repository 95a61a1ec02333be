//! What the kernel's count of CPU time corrects, and what it may not.

use whyslow_events::{Entrance, Event, Off, Pid, Seen, Tid};

use super::{CPU, TID, blocked, check, end, found, lost, play, sample, switch_in, switch_out};
use super::{thread, wakeup};
use crate::Analysis;
use crate::script::MS;

fn counted(ms: u64) -> Event {
    counted_us(ms * 1000)
}

fn counted_us(us: u64) -> Event {
    Event::KernelCpu { tid: Some(TID), cpu_ns: us * 1000 }
}

fn all(ms: u64) -> Event {
    Event::KernelCpu { tid: None, cpu_ns: ms * MS }
}

/// Born at 0, on the CPU from 1 to 11, asleep until 21, on the CPU until 31.
fn two_turns(readings: &[(u64, Event)]) -> Vec<(u64, Event)> {
    let mut events = vec![
        (0, thread(Entrance::Born)),
        (1, switch_in()),
        (4, sample()),
        (11, switch_out(blocked('s'))),
        (21, switch_in()),
        (31, switch_out(blocked('d'))),
        (40, end()),
    ];
    events.extend_from_slice(readings);
    events.sort_by_key(|(time, _)| *time);
    events
}

fn difference(analysis: &Analysis) -> f64 {
    analysis.report.quality.oncpu_vs_kernel.unwrap()
}

#[test]
fn what_the_kernel_did_not_count_was_stolen() {
    let analysis = check(
        &two_turns(&[(15, counted(8)), (35, counted(18))]),
        "cpu.user 18 io.disk 9 runq.preempted 2 runq.waking 1 sleep 10",
    );
    assert_eq!(analysis.report.quality.stolen_ns, 2 * MS);
    assert!(difference(&analysis).abs() < 1e-9);
    // It belongs to the turn it was taken from, in the shares, too.
    let shares = &analysis.report.bottleneck.shares;
    assert!((shares["runq.preempted"] - 2.0 / 40.0).abs() < 1e-9, "{shares:?}");
    let late = play(&two_turns(&[(15, counted(10)), (35, counted(18))]));
    assert_eq!(late.report.quality.stolen_ns, 2 * MS);
}

#[test]
fn a_count_that_may_lag_steals_nothing() {
    // A tick is 10 ms here: at 25 the thread ran for 14, and the count says 5.
    check(&two_turns(&[(25, counted(5))]), "cpu.user 20 io.disk 9 runq.waking 1 sleep 10");
    // Beyond a tick it is stolen.
    check(
        &two_turns(&[(25, counted(3))]),
        "cpu.user 19 io.disk 9 runq.preempted 1 runq.waking 1 sleep 10",
    );
    // The comparison, too, knows how far it may lag.
    assert!(difference(&play(&two_turns(&[(25, counted(5))]))).abs() < 1e-9);
    let short = difference(&play(&two_turns(&[(25, counted(20))])));
    assert!((short + 0.245).abs() < 1e-9, "{short}");
    // An exact one follows.
    check(
        &two_turns(&[(25, counted(5)), (35, counted(20))]),
        "cpu.user 20 io.disk 9 runq.waking 1 sleep 10",
    );
}

#[test]
fn what_is_counted_as_a_thread_leaves_does_not_lag() {
    // Of 10 ms on the CPU a tick, which is 10 ms here, might be missing.
    let turns = |counted_at: u64| {
        let events = [
            (0, thread(Entrance::Born)),
            (1, switch_in()),
            (counted_at, counted(8)),
            (11, switch_out(Off::Dead)),
            (20, end()),
        ];
        play(&events).report.quality.stolen_ns
    };
    assert_eq!([10, 11].map(turns), [0, 2 * MS]);
}

#[test]
fn a_woken_thread_is_charged_from_its_wakeup_on() {
    let turn = |readings: &[(u64, Event)]| {
        let events = [
            (0, thread(Entrance::Born)),
            (0, switch_in()),
            (1, switch_out(blocked('s'))),
            (9, wakeup()),
            (10, switch_in()),
            (11, switch_out(blocked('s'))),
        ];
        play(&[&events[..], readings].concat())
    };
    let analysis = turn(&[(12, counted_us(2080)), (15, end())]);
    let states = &analysis.report.ledger.process;
    assert_eq!((states["cpu.user"], states["runq.waking"]), (2_080_000, 920_000));
    assert_eq!(states["sleep"], 12 * MS);
    assert!(difference(&analysis).abs() < 1e-9);
    // A CPU whose host is busy takes longer to wake.
    let analysis = turn(&[(12, counted_us(2600)), (15, end())]);
    assert_eq!(analysis.report.ledger.process["runq.waking"], 400_000);
    assert!(difference(&analysis).abs() < 1e-9);
    // More than it was woken for is not explained, and stays to be seen.
    let analysis = turn(&[(12, counted(4)), (15, end())]);
    assert_eq!(analysis.report.ledger.process.get("runq.waking"), None);
    assert!((difference(&analysis) + 0.25).abs() < 1e-9);
}

#[test]
fn a_wakeup_that_was_not_seen_is_part_of_the_wait() {
    let analysis = play(&two_turns(&[(35, counted_us(20_060))]));
    let states = &analysis.report.ledger.process;
    assert_eq!(states["cpu.user"], 20_060_000);
    assert_eq!(states["sleep"] + states["runq.waking"], 11 * MS - 60_000);
}

#[test]
fn what_ran_in_a_gap_is_told_by_the_count() {
    let gap = |ms| [(13, lost(12)), (35, counted(ms))];
    // Half of the gap and a tenth of a millisecond on the way to the CPU, in proportion.
    let analysis = play(&two_turns(&gap(20)));
    let states = &analysis.report.ledger.process;
    assert_eq!((states["cpu.user"], states["unknown"]), (20 * MS, MS));
    let analysis = play(&two_turns(&[(13, lost(12)), (35, counted_us(20_550))]));
    let states = &analysis.report.ledger.process;
    let unknown = states["unknown"];
    assert_eq!(states["cpu.user"], 20_550_000);
    assert!((500_000..550_000).contains(&unknown), "{unknown}");
    assert!(difference(&analysis).abs() < 1e-9);
    // What the kernel counted less than what we know of was stolen all the same.
    let analysis = play(&two_turns(&gap(19)));
    assert_eq!(analysis.report.quality.stolen_ns, MS);
}

#[test]
fn what_a_gap_and_the_ways_are_too_short_for_stays_to_be_seen() {
    let analysis = play(&two_turns(&[(13, lost(12)), (35, counted(25))]));
    assert_eq!(analysis.report.ledger.process.get("unknown"), None);
    assert!(difference(&analysis) < -0.1);
}

#[test]
fn a_gap_over_several_readings_has_what_each_counted() {
    let events = [
        (0, thread(Entrance::Born)),
        (0, switch_in()),
        (10, switch_out(blocked('s'))),
        (15, counted(10)),
        (25, counted(12)),
        (30, lost(20)),
        (32, counted(14)),
        (40, switch_in()),
        (50, switch_out(Off::Dead)),
        (50, all(24)),
        (50, end()),
    ];
    let analysis = check(&events, "cpu.user 24 sleep 20 unknown 6");
    assert!(difference(&analysis).abs() < 1e-9);
}

#[test]
fn a_found_thread_is_corrected_from_its_first_reading_on() {
    let events = |found: Event, first: u64| {
        let mut events = two_turns(&[(15, counted(first)), (35, counted(first + 9))]);
        events[0].1 = found;
        events
    };
    // Its count before the window is not known so well.
    let runnable = events(found(Seen::Runnable), 0);
    let expected = "cpu.user 19 io.disk 9 runq.preempted 2 sleep 10";
    let analysis = check(&runnable, expected);
    assert!(difference(&analysis).abs() < 1e-9);
}

#[test]
fn the_count_of_a_whole_program_tells_of_the_ends_of_its_threads() {
    let other = Tid(101);
    let born = Event::Thread {
        tid: other,
        pid: Pid(100),
        name: "other".to_owned(),
        entrance: Entrance::Born,
    };
    let more = [
        (15, counted(10)),
        (31, born),
        (31, Event::SwitchIn { tid: other, cpu: CPU }),
        (39, Event::SwitchOut { tid: other, cpu: CPU, off: Off::Dead, stack: None }),
        (40, all(25)),
    ];
    let mut events = two_turns(&more);
    let place = events.iter().position(|(_, event)| *event == end()).unwrap();
    let last = events.remove(place);
    events.push(last);
    // Of the 18 ms after the last readings 3 were stolen, from both alike.
    let analysis = play(&events);
    let [first, second] = &analysis.report.ledger.threads[..] else { panic!() };
    assert_eq!(first.states["runq.preempted"] + second.states["runq.preempted"], 3 * MS);
    assert_eq!(second.states["runq.preempted"], 3 * MS * 8 / 18 + 1);
    assert!(difference(&analysis).abs() < 1e-9);
}

#[test]
fn a_program_that_computes_under_a_hypervisor_is_cpu_bound() {
    let analysis = play(&two_turns(&[(15, counted(9)), (35, counted(18))]));
    assert_eq!(analysis.report.verdict.class.as_str(), "mixed");
    let spinner = [
        (0, thread(Entrance::Born)),
        (0, switch_in()),
        (50, switch_out(Off::Preempted)),
        (51, counted(47)),
        (51, switch_in()),
        (100, switch_out(Off::Dead)),
        (100, all(94)),
        (100, end()),
    ];
    let analysis = play(&spinner);
    let verdict = &analysis.report.verdict;
    assert_eq!((verdict.class.as_str(), verdict.cause.as_str()), ("cpu-bound", "user"));
    assert_eq!(analysis.report.quality.stolen_ns, 5 * MS);
}
