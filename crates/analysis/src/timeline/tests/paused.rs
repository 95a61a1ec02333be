//! Pauses of the recording: what is told before shows what is done in them, and the kernel
//! counts for how long.

use super::*;

/// The kernel's count of the thread's CPU time by then.
fn counted(ms: u64) -> Event {
    Event::KernelCpu { tid: Some(TID), cpu_ns: ms * MS }
}

fn look(site: char) -> Event {
    Event::Look { tid: TID, site: SiteId(site.into()), stack: None }
}

/// A thread that runs for two of ten ms, is paused for ninety, and goes on after `rest`.
fn paused(rest: &[(u64, Event)]) -> String {
    let mut events = vec![
        (0, thread(Entrance::Born)),
        (0, switch_in()),
        (2, switch_out(blocked('s'))),
        (9, wakeup()),
        (10, switch_in()),
        (10, Event::Paused),
    ];
    events.extend_from_slice(rest);
    states(&play(&events))
}

#[test]
fn a_pause_is_like_the_stretch_before_it_at_the_kernel_s_count() {
    let end = [(100, Event::Resumed), (104, switch_out(Off::Dead)), (104, end())];
    // Eighteen of ninety, and two and four that are told.
    assert_eq!(paused(&end), "cpu.user 24 runq.waking 10 sleep 70");
    let with = |event| [&[(100, event)][..], &end].concat();
    assert_eq!(paused(&with(counted(47))), "cpu.user 51 runq.waking 6 sleep 46");
    assert_eq!(paused(&with(counted(2))), "cpu.user 6 runq.waking 12 sleep 85");
}

#[test]
fn what_a_count_had_too_little_the_next_pause_has() {
    let again = [
        (50, counted(10)),
        (50, Event::Resumed),
        (60, switch_out(blocked('s'))),
        (60, Event::Paused),
        (100, counted(40)),
        (100, Event::Resumed),
        (101, wakeup()),
        (102, switch_in()),
        (102, switch_out(Off::Dead)),
        (102, end()),
    ];
    let states = paused(&again);
    assert!(states.starts_with("cpu.user 40 "), "{states}");
}

#[test]
fn what_is_counted_no_more_goes_on_as_the_pause_did_so_far() {
    // It has computed for half of what was counted, and then for half of ten ms.
    let dies = [(90, counted(42)), (100, Event::Exit { tid: TID }), (110, Event::Resumed)];
    assert_eq!(
        paused(&[&dies[..], &[(110, end())]].concat()),
        "cpu.user 47 runq.waking 6 sleep 46"
    );
    // Of a shorter time than is left, the stretch before tells more.
    let dies = [(20, counted(12)), (100, Event::Exit { tid: TID }), (100, end())];
    assert_eq!(paused(&dies), "cpu.user 28 runq.waking 9 sleep 63");
}

#[test]
fn who_has_not_run_waits_on_and_it_is_one_wait() {
    let analysis = play(&[
        (0, thread(Entrance::Born)),
        (0, switch_in()),
        (1, switch_out(blocked('s'))),
        (5, Event::Paused),
        (20, counted(1)),
        (20, Event::Resumed),
        (30, Event::Paused),
        (60, counted(1)),
        (60, Event::Resumed),
        (70, wakeup()),
        (70, switch_in()),
        (71, switch_out(Off::Dead)),
        (71, end()),
    ]);
    assert_eq!(states(&analysis), "cpu.user 2 sleep 69");
    let wait = &analysis.report.waits[0];
    assert_eq!((wait.count, wait.max_ns), (1, 69 * MS));
}

#[test]
fn waits_of_a_pause_are_not_counted_and_their_time_is() {
    let analysis = play(&[
        (0, thread(Entrance::Born)),
        (0, switch_in()),
        (1, switch_out(blocked('s'))),
        (2, switch_in()),
        (2, Event::Paused),
        (40, Event::Resumed),
        (42, switch_out(Off::Dead)),
        (42, end()),
    ]);
    let wait = &analysis.report.waits[0];
    assert_eq!((wait.count, wait.total_ns, wait.max_ns), (1, 20 * MS, MS));
}

#[test]
fn a_wait_of_a_pause_that_is_lent_its_place_is_not_counted_either() {
    let analysis = play(&[
        (0, thread(Entrance::Born)),
        (0, switch_in()),
        (2, Event::Paused),
        (40, counted(12)),
        (40, Event::Resumed),
        (42, switch_out(blocked('s'))),
        (43, wakeup()),
        (43, switch_in()),
        (44, switch_out(Off::Dead)),
        (44, end()),
    ]);
    let wait = &analysis.report.waits[0];
    assert_eq!((wait.count, wait.total_ns), (1, 29 * MS));
}

#[test]
fn a_wait_that_nobody_recorded_is_such_as_the_last_until_a_look_sees_another() {
    let events = [
        (0, thread(Entrance::Born)),
        (0, switch_in()),
        (1, switch_out(blocked('d'))),
        (10, Event::Paused),
        (19, counted(1)),
        (20, Event::Resumed),
        (25, Event::Paused),
        (49, look('s')),
        (50, counted(11)),
        (50, Event::Resumed),
        (52, wakeup()),
        (52, switch_in()),
        (53, switch_out(Off::Dead)),
        (53, end()),
    ];
    assert_eq!(states(&play(&events)), "cpu.user 12 io.disk 39 sleep 2");
}

#[test]
fn who_is_born_in_a_pause_is_unknown_but_for_what_is_counted_and_seen() {
    let born = |rest: &[(u64, Event)]| {
        let begin = [(0, Event::Paused), (10, thread(Entrance::Born))];
        states(&play(&[&begin[..], rest].concat()))
    };
    let dies = [(20, Event::Exit { tid: TID }), (30, Event::Resumed), (30, end())];
    assert_eq!(born(&dies), "unknown 10");
    let seen = [(20, look('s')), (30, counted(4)), (30, Event::Resumed), (30, end())];
    assert_eq!(born(&seen), "cpu.user 4 sleep 16");
}

#[test]
fn the_report_says_for_how_long_switches_were_recorded() {
    let thinned = whyslow_events::Thinned::default();
    let analysis = play(&[
        (0, thread(Entrance::Born)),
        (0, switch_in()),
        (10, Event::Paused),
        (40, Event::Resumed),
        (50, Event::Paused),
        (100, Event::Thinned(thinned)),
        (100, end()),
    ]);
    let thinned = analysis.report.quality.thinned.unwrap();
    assert!((thinned.switches - 0.2).abs() < 1e-9, "{thinned:?}");
    assert_eq!(analysis.report.quality.lost, 0);
}
