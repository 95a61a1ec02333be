//! Pauses of which the kernel tallied what was done: its amounts are exact.

use whyslow_events::StackId;

use super::*;
use crate::report::Wait;
use crate::segments::read;
use crate::timeline::{Doing, Timeline, Waker};

mod waits;

const OTHER: Tid = Tid(101);

fn tally_of(tid: Tid, off: Option<Off>, times: u64, [off_ms, queued_ms]: [u64; 2]) -> Event {
    Event::Tally { tid, off, times, off_ns: off_ms * MS, queued_ns: queued_ms * MS }
}

/// Off for this so often, for so many ms, and so many of them in the run queue.
fn tally(off: Off, times: u64, ms: [u64; 2]) -> Event {
    tally_of(TID, Some(off), times, ms)
}

/// Off for what it was off for as the pause began.
fn on_and_on(times: u64, ms: [u64; 2]) -> Event {
    tally_of(TID, None, times, ms)
}

fn look(site: char) -> Event {
    Event::Look { tid: TID, site: SiteId(site.into()), stack: None }
}

/// All of these at that time.
fn at(ms: u64, events: &[Event]) -> Vec<(u64, Event)> {
    events.iter().map(|event| (ms, event.clone())).collect()
}

fn timeline(events: &[(u64, Event)]) -> Timeline {
    read(&mut InMemory::new(header(2), scripted(events))).1
}

/// What a thread does, with `q` for the run queue and `#` for a CPU, and for how many ms.
fn drawn(timeline: &Timeline, thread: usize) -> String {
    let thread = &timeline.threads[thread];
    let parts = thread.spans().map(|(start, end, interval)| {
        let what = match interval.doing {
            Doing::OnCpu { .. } => "#".to_owned(),
            Doing::Runq { preempted: true, .. } => "r".to_owned(),
            Doing::Runq { .. } => "w".to_owned(),
            Doing::Blocked(wait) => {
                let letter = wait.site.and_then(|site| char::from_u32(site.0));
                letter.unwrap_or('?').to_string()
            }
            Doing::Stopped => "T".to_owned(),
            Doing::Unknown | Doing::Undetermined => "-".to_owned(),
        };
        format!("{what}{}", (end - start) / MS)
    });
    parts.collect::<Vec<_>>().join(" ")
}

/// A thread that runs for two of ten ms and is paused for ninety.
fn begin() -> Vec<(u64, Event)> {
    vec![
        (0, thread(Entrance::Born)),
        (0, switch_in()),
        (2, switch_out(blocked('s'))),
        (9, wakeup()),
        (10, switch_in()),
        (10, Event::Paused),
    ]
}

/// The same, with these told at the end of the pause, and at the CPU after it.
fn paused(told: &[Event]) -> Vec<(u64, Event)> {
    let rest = [(100, Event::Resumed), (104, switch_out(Off::Dead)), (104, end())];
    [begin(), at(100, told), rest.to_vec()].concat()
}

fn row(analysis: &Analysis, state: &str) -> Wait {
    analysis.report.waits.iter().find(|wait| wait.state == state).unwrap().clone()
}

#[test]
fn every_amount_of_a_tallied_pause_is_the_kernel_s() {
    let told = [
        tally(blocked('s'), 3, [40, 5]),
        tally(blocked('d'), 2, [7, 1]),
        tally(Off::Preempted, 4, [3, 3]),
        tally(Off::Stopped, 1, [9, 2]),
        Event::Tallied,
    ];
    // Of 90 it was off for 59: 31 on the CPU, and two and four that are told.
    check(
        &paused(&told),
        "cpu.user 37 io.disk 6 runq.preempted 3 runq.waking 9 sleep 42 stopped 7",
    );
}

#[test]
fn what_is_preempted_is_in_the_run_queue_whatever_of_it_the_kernel_calls_so() {
    let told = [tally(Off::Preempted, 4, [30, 2]), Event::Tallied];
    check(&paused(&told), "cpu.user 66 runq.preempted 30 runq.waking 1 sleep 7");
}

#[test]
fn a_tally_of_more_than_the_pause_is_scaled_down_to_it() {
    let told = [tally(blocked('s'), 3, [120, 0]), tally(blocked('d'), 2, [60, 0])];
    check(&paused(&told), "cpu.user 6 io.disk 30 runq.waking 1 sleep 67");
    let off = |off_ns, queued_ns| {
        let told = Event::Tally { tid: TID, off: Some(blocked('s')), times: 1, off_ns, queued_ns };
        paused(&[told.clone(), told])
    };
    check(&off(u64::MAX, 0), "cpu.user 6 runq.waking 1 sleep 97");
    check(&off(10 * MS, u64::MAX), "cpu.user 76 runq.waking 21 sleep 7");
}

#[test]
fn a_tally_wins_over_the_kernel_s_other_counts() {
    let counted = Event::KernelCpu { tid: Some(TID), cpu_ns: 80 * MS };
    let delayed = Event::RunDelay { tid: TID, delay_ns: 50 * MS };
    let told = [counted, delayed, tally(blocked('s'), 3, [40, 5]), Event::Tallied];
    check(&paused(&told), "cpu.user 56 runq.waking 6 sleep 42");
}

#[test]
fn what_the_kernel_charges_for_each_way_to_a_cpu_comes_from_the_waits_of_a_tally() {
    let ran = |cpu_us: u64| {
        let told = at(100, &[tally(blocked('s'), 3, [40, 5]), Event::Tallied, Event::Resumed]);
        let counted = Event::KernelCpu { tid: Some(TID), cpu_ns: cpu_us * 1000 };
        let rest = at(104, &[switch_out(blocked('s')), counted, end()]);
        let states = play(&[begin(), told, rest].concat()).report.ledger.process;
        assert_eq!(states.values().sum::<u64>(), 104 * MS);
        states["cpu.user"]
    };
    assert_eq!(ran(56_000), 56 * MS);
    assert_eq!(ran(56_250), 56 * MS + 250_000);
    // Six are known to be of the run queue, and of each wait it is a tenth at most.
    assert!((62_300_000..=62_400_000).contains(&ran(64_000)), "{}", ran(64_000));
}

#[test]
fn the_wait_that_a_pause_begins_in_goes_on_as_one() {
    let waits = [(0, thread(Entrance::Born)), (0, switch_in()), (1, switch_out(blocked('s')))];
    let told = [on_and_on(1, [30, 4]), tally(blocked('d'), 1, [10, 0]), Event::Tallied];
    let rest = [(105, Event::Resumed), (106, switch_out(Off::Dead)), (106, end())];
    let events = [&waits[..], &[(5, Event::Paused)], &at(105, &told), &rest].concat();
    let analysis = check(&events, "cpu.user 62 io.disk 10 runq.waking 4 sleep 30");
    let wait = row(&analysis, "sleep");
    assert_eq!((wait.count, wait.total_ns, wait.max_ns), (1, 30 * MS, 30 * MS));
    assert_eq!(drawn(&timeline(&events), 0), "#1 s30 w4 #60 d10 #1");
}

#[test]
fn who_waits_on_through_pauses_is_in_one_wait() {
    let waits = [(0, thread(Entrance::Born)), (0, switch_in()), (1, switch_out(blocked('s')))];
    let rest = [
        (30, Event::Paused),
        (50, on_and_on(1, [5, 0])),
        (50, Event::Tallied),
        (50, Event::Resumed),
        (51, switch_out(Off::Dead)),
        (51, end()),
    ];
    // The clocks differ by a little; or it has no tally at all.
    for told in [&[on_and_on(0, [14, 0]), Event::Tallied][..], &[Event::Tallied]] {
        let pause = [&[(5, Event::Paused)], &at(20, told)[..], &[(20, Event::Resumed)]].concat();
        let analysis = check(&[&waits, &pause[..], &rest].concat(), "cpu.user 17 sleep 34");
        let wait = row(&analysis, "sleep");
        assert_eq!((wait.count, wait.max_ns), (1, 34 * MS));
    }
}

#[test]
fn who_is_ready_to_run_after_the_wait_that_a_pause_begins_in_waits_for_a_cpu() {
    let waits = [(0, thread(Entrance::Born)), (0, switch_in()), (1, switch_out(blocked('s')))];
    let heard = [(2, wakeup()), (3, switch_in()), (4, switch_out(blocked('s')))];
    let pause = [(5, Event::Paused), (20, on_and_on(0, [15, 3])), (20, Event::Resumed)];
    let rest = [(25, switch_in()), (26, switch_out(Off::Dead)), (26, end())];
    let events = [&waits[..], &heard, &pause, &rest].concat();
    assert_eq!(drawn(&timeline(&events), 0), "#1 s1 w1 #1 s13 w3 w5 #1");
}

#[test]
fn without_a_tally_it_went_on_doing_what_it_did() {
    let born = (0, thread(Entrance::Born));
    let runs = [born.clone(), (0, switch_in())];
    let queues = [&runs[..], &[(4, switch_out(Off::Preempted))]].concat();
    let pause = |told: &[Event]| {
        let rest = [(60, Event::Resumed), (61, switch_in()), (62, end())];
        [&[(10, Event::Paused)][..], &at(60, told), &rest].concat()
    };
    let tallied = pause(&[Event::Tallied]);
    check(&[&queues[..], &tallied].concat(), "cpu.user 5 runq.preempted 57");
    // It has run for five ms, and waited before.
    let comes = [(2, switch_out(blocked('s'))), (4, wakeup()), (5, switch_in())];
    let resumed = [(60, Event::Resumed), (62, switch_out(Off::Dead)), (62, end())];
    let runs_on = [&runs[..], &comes, &[(10, Event::Paused), (60, Event::Tallied)], &resumed];
    check(&runs_on.concat(), "cpu.user 59 runq.waking 1 sleep 2");
    // No word that this is all: as if nobody tallied.
    check(&[&queues[..], &pause(&[])].concat(), "cpu.user 25 runq.preempted 36 unknown 1");
}

#[test]
fn who_waited_in_a_pause_without_a_tally_waits_on_where_nothing_is_told() {
    let untallied = |counted_ms: u64, behind: &[(u64, Event)]| {
        let counted = (60, Event::KernelCpu { tid: Some(TID), cpu_ns: counted_ms * MS });
        let next =
            [(70, Event::Paused), (100, Event::Tallied), (100, Event::Resumed), (100, end())];
        [&begin()[..], &[counted, (60, Event::Resumed)], behind, &next].concat()
    };
    check(&untallied(5, &[]), "cpu.user 5 runq.waking 6 sleep 88");
    check(&untallied(52, &[]), "cpu.user 92 runq.waking 1 sleep 7");
    // Most of the time it ran, and was seen to wait behind the pause.
    check(&untallied(42, &[]), "cpu.user 82 runq.waking 2 sleep 15");
    check(&untallied(42, &[(61, look('d'))]), "cpu.user 42 io.disk 40 runq.waking 2 sleep 15");
}

#[test]
fn shares_of_the_wall_clock_are_as_sure_as_stretches_are_alike() {
    let width = |sites: [char; 2]| {
        let other = Event::Thread {
            tid: OTHER,
            pid: Pid(100),
            name: "other".to_owned(),
            entrance: Entrance::Born,
        };
        let mut events = vec![(0, thread(Entrance::Born)), (0, other)];
        for cycle in 0..8 {
            let (begin, off) = (100 * cycle, blocked(sites[cycle as usize % 2]));
            for (tid, cpu) in [(TID, Cpu(0)), (OTHER, Cpu(1))] {
                let out = Event::SwitchOut { tid, cpu, off, stack: None };
                events.push((begin, Event::SwitchIn { tid, cpu }));
                events.push((begin + 1, out));
            }
            let pause = [Event::Tallied, Event::Resumed];
            events.extend([vec![(begin + 10, Event::Paused)], at(begin + 100, &pause)].concat());
        }
        events.sort_by_key(|(ms, _)| *ms);
        let report = play(&[&events[..], &[(800, end())]].concat()).report;
        let [low, high] = report.verdict.interval;
        assert!(report.quality.sampling.is_none(), "of the ledger all is known");
        (high - low, report.verdict.summary)
    };
    let ((alike, _), (others, summary)) = (width(['d', 'd']), width(['d', 'q']));
    assert!(alike < 0.01 && others > 0.3, "{alike} {others}");
    assert!(summary.contains("only known to ±") && summary.ends_with("for longer."), "{summary}");
}

#[test]
fn what_was_found_runnable_and_went_on_is_as_unknown_as_it_was() {
    let pause = [(10, Event::Paused), (60, Event::Tallied), (60, Event::Resumed), (60, end())];
    check(&[&[(0, found(Seen::Runnable))][..], &pause].concat(), "unknown 60");
}

#[test]
fn who_is_born_in_a_pause_has_no_tally() {
    let events = [(0, Event::Paused), (10, thread(Entrance::Born)), (20, Event::Tallied)];
    let rest = [(20, Event::Resumed), (20, end())];
    check(&[&events[..], &rest].concat(), "unknown 10");
}

#[test]
fn a_tally_of_who_is_gone_or_not_known_is_of_no_stranger() {
    let gone = [(20, Event::Exit { tid: TID }), (30, tally(blocked('s'), 3, [5, 0]))];
    let unknown = [(30, tally_of(OTHER, None, 1, [5, 0])), (30, Event::Tallied)];
    let events = [&begin()[..], &gone, &unknown, &[(30, Event::Resumed), (30, end())]].concat();
    assert_eq!(play(&events).anomalies, crate::Anomalies::default());
}

#[test]
fn a_tally_outside_of_a_pause_says_nothing() {
    let told = [(5, tally(blocked('d'), 3, [4, 0])), (5, Event::Tallied)];
    let events = [&begin()[..4], &told, &[(10, switch_in()), (12, end())]].concat();
    check(&events, "cpu.user 4 runq.waking 1 sleep 7");
}

#[test]
fn what_threads_do_at_the_same_time_they_do_at_the_same_time_in_a_pause() {
    let second = |event| match event {
        Event::Thread { pid, name, entrance, .. } => {
            Event::Thread { tid: OTHER, pid, name, entrance }
        }
        Event::SwitchIn { cpu, .. } => Event::SwitchIn { tid: OTHER, cpu },
        Event::SwitchOut { cpu, off, stack, .. } => {
            Event::SwitchOut { tid: OTHER, cpu, off, stack }
        }
        other => other,
    };
    let events = [
        (0, thread(Entrance::Born)),
        (0, second(thread(Entrance::Born))),
        (0, switch_in()),
        (5, switch_out(blocked('l'))),
        (5, second(switch_in())),
        (10, second(switch_out(blocked('l')))),
        (10, switch_in()),
        (15, switch_out(blocked('l'))),
        (15, second(switch_in())),
        (20, Event::Paused),
        (60, on_and_on(1, [0, 0])),
        (60, tally(blocked('l'), 7, [20, 0])),
        (60, tally_of(OTHER, Some(blocked('l')), 7, [20, 10])),
        (60, Event::Tallied),
        (60, Event::Resumed),
        (60, end()),
    ];
    let timeline = timeline(&events);
    assert_eq!(drawn(&timeline, 0), "#5 l5 #5 l5 #10 l10 #10 l10");
    assert_eq!(drawn(&timeline, 1), "w5 #5 l5 #5 w10 #10 l10 #10");
}

#[test]
fn what_the_pattern_has_not_comes_after_it_waits_first() {
    let told = [
        tally(Off::Preempted, 4, [10, 10]),
        tally(blocked('d'), 2, [20, 0]),
        tally(blocked('s'), 3, [14, 0]),
        Event::Tallied,
    ];
    let timeline = timeline(&paused(&told));
    assert_eq!(drawn(&timeline, 0), "#2 s7 w1 #46 s14 d20 r10 #4");
    // A site of the pattern without a tally gets nothing.
    let told = [tally(blocked('d'), 2, [20, 0]), Event::Tallied];
    assert_eq!(drawn(&self::timeline(&paused(&told)), 0), "#2 s7 w1 #70 d20 #4");
}

#[test]
fn threads_without_a_pattern_compute_at_different_times() {
    let threads = 0..8_u32;
    let born = |number: u32| Event::Thread {
        tid: Tid(100 + number),
        pid: Pid(100),
        name: "worker".to_owned(),
        entrance: Entrance::Found(Seen::Off(blocked('s'))),
    };
    let mut events: Vec<(u64, Event)> = threads.clone().map(|it| (0, born(it))).collect();
    events.push((10, Event::Paused));
    for number in threads.clone() {
        let tid = Tid(100 + number);
        events.push((110, tally_of(tid, None, 1, [0, 0])));
        events.push((110, tally_of(tid, Some(blocked('d')), 5, [90, 0])));
    }
    events.extend([(110, Event::Tallied), (110, Event::Resumed), (110, end())]);
    let timeline = timeline(&events);
    let ran = |number: u32| {
        let spans = timeline.threads[number as usize].spans();
        let ran = spans.filter(|(.., it)| matches!(it.doing, Doing::OnCpu { .. }));
        ran.map(|(start, end, _)| start..end).collect::<Vec<_>>()
    };
    assert_eq!(drawn(&timeline, 0), "s10 d90 #10");
    for number in threads {
        let ran = ran(number);
        assert_eq!(ran.iter().map(|it| it.end - it.start).sum::<u64>(), 10 * MS);
        let at_end = ran.iter().filter(|it| it.end == START + 110 * MS);
        assert!(number == 0 || at_end.map(|it| it.end - it.start).sum::<u64>() < 10 * MS);
    }
    assert!(ran(1)[0].end < ran(2)[0].start || ran(2)[0].end < ran(1)[0].start);
}

#[test]
fn who_is_preempted_as_the_pause_ends_is_so_until_it_has_a_cpu() {
    let told = [tally(blocked('s'), 2, [10, 0]), tally(Off::Preempted, 0, [5, 5]), Event::Tallied];
    let rest = [(100, Event::Resumed), (110, switch_in()), (111, end())];
    check(
        &[&begin()[..], &at(100, &told), &rest].concat(),
        "cpu.user 78 runq.preempted 15 runq.waking 1 sleep 17",
    );
}

#[test]
fn where_nothing_is_told_between_two_pauses_the_second_tells_of_it() {
    let first = [tally(blocked('s'), 2, [50, 5]), Event::Tallied, Event::Resumed];
    let with = |told: &[Event]| {
        let second = [&[(150, Event::Paused)][..], &at(200, told)].concat();
        let rest = [(200, Event::Resumed), (201, switch_out(Off::Dead)), (201, end())];
        [&begin()[..], &at(100, &first), &second, &rest].concat()
    };
    // Not off its CPU as the second begins: it ran all along.
    let ran = with(&[tally(blocked('d'), 1, [20, 0]), Event::Tallied]);
    check(&ran, "cpu.user 123 io.disk 20 runq.waking 6 sleep 52");
    check(&with(&[Event::Tallied]), "cpu.user 143 runq.waking 6 sleep 52");
    let queued = with(&[on_and_on(1, [20, 20]), Event::Tallied]);
    check(&queued, "cpu.user 73 runq.waking 76 sleep 52");
    // The wait that the first ends in goes on to the second, and into it.
    let first = [tally(blocked('d'), 0, [50, 0]), look('d'), Event::Tallied, Event::Resumed];
    let second = [(150, Event::Paused), (200, on_and_on(1, [20, 0])), (200, Event::Tallied)];
    let rest = [(200, Event::Resumed), (201, switch_out(Off::Dead)), (201, end())];
    let events = [&begin()[..], &at(100, &first), &second, &rest].concat();
    let analysis = check(&events, "cpu.user 73 io.disk 120 runq.waking 1 sleep 7");
    let wait = row(&analysis, "io.disk");
    assert_eq!((wait.count, wait.max_ns), (1, 120 * MS));
}
