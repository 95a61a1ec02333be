//! Engines that hear of no wakeup.

use whyslow_events::{Capabilities, Entry, Object, Site};

use super::*;
use crate::segments::read;
use crate::timeline::Doing;

const OTHER: Tid = Tid(101);
const OTHER_CPU: Cpu = Cpu(1);

/// Of an engine that sees switches and no wakeups.
fn without_wakeups() -> whyslow_events::Header {
    let capabilities = Capabilities { exact_switches: true, ..Capabilities::default() };
    whyslow_events::Header { capabilities, ..header(2) }
}

/// As [`play`], of such an engine.
fn unheard(events: &[(u64, Event)]) -> Analysis {
    play_with(without_wakeups(), events)
}

fn delay(ms: u64) -> Event {
    Event::RunDelay { tid: TID, delay_ns: ms * MS }
}

#[test]
fn the_kernel_s_time_in_the_queue_is_taken_from_the_waits_and_not_twice() {
    let analysis = unheard(&[
        (0, thread(Entrance::Born)),
        (1, switch_in()),
        (2, switch_out(blocked('s'))),
        (10, switch_in()),
        (11, switch_out(Off::Preempted)),
        (14, switch_in()),
        (15, switch_out(blocked('s'))),
        (16, switch_in()),
        // One to begin with, three preempted, four in the waits: three and one.
        (17, delay(8)),
        (18, switch_out(Off::Dead)),
        (18, end()),
    ]);
    let expected = "cpu.user 5, runq.preempted 3, runq.waking 5, sleep 5".replace(',', "");
    let found = states(&analysis);
    assert_eq!(found.replace(',', ""), expected);
}

/// A thread that is found ready to run six ms before it does so, and waits once more; the
/// kernel's counts of its time in the queue.
fn found_ready(delays: &[(u64, Event)]) -> String {
    let mut events = vec![
        (0, thread(Entrance::Born)),
        (0, switch_in()),
        (1, switch_out(blocked('s'))),
        (4, Event::Awake { tid: TID }),
        (10, switch_in()),
        (11, switch_out(blocked('s'))),
        (14, switch_in()),
        (15, switch_out(Off::Dead)),
        (15, end()),
    ];
    for (time, delay) in delays {
        let place = events.partition_point(|(at, event)| {
            at < time || at == time && matches!(event, Event::SwitchIn { .. })
        });
        events.insert(place, (*time, delay.clone()));
    }
    states(&unheard(&events)).replace(',', "")
}

#[test]
fn who_is_found_ready_to_run_waits_no_more() {
    // Six are told; of the two that are not, each wait has one at its end.
    assert_eq!(found_ready(&[(15, delay(8))]), "cpu.user 3 runq.waking 8 sleep 4");
}

#[test]
fn what_was_told_beyond_a_count_is_part_of_the_next() {
    // Six are told by the first.
    let delays = [(10, delay(4)), (15, delay(8))];
    assert_eq!(found_ready(&delays), "cpu.user 3 runq.waking 8 sleep 4");
}

#[test]
fn a_pause_has_as_much_of_the_queue_as_the_kernel_counted() {
    let analysis = unheard(&[
        (0, thread(Entrance::Born)),
        (0, switch_in()),
        (2, switch_out(Off::Preempted)),
        (6, switch_in()),
        (8, switch_out(blocked('s'))),
        (10, switch_in()),
        (10, Event::Paused),
        // By what was before, forty and more of the ninety.
        (100, Event::KernelCpu { tid: Some(TID), cpu_ns: 20 * MS }),
        (100, delay(10)),
        (100, Event::Resumed),
        (101, switch_in()),
        (104, switch_out(Off::Dead)),
        (104, end()),
    ]);
    let process = analysis.report.ledger.process.iter();
    let queued: u64 = process.filter(|(it, _)| it.starts_with("runq.")).map(|(_, ns)| ns).sum();
    assert_eq!(queued, 10 * MS, "{}", states(&analysis));
}

#[test]
fn the_queue_of_a_pause_is_not_that_of_the_stretch_before() {
    let mut events = vec![(0, thread(Entrance::Born)), (0, delay(0))];
    for cycle in 0..5 {
        events.extend([(4 * cycle, switch_in()), (4 * cycle + 2, switch_out(blocked('s')))]);
    }
    events.extend([
        (20, Event::Paused),
        (220, Event::KernelCpu { tid: Some(TID), cpu_ns: 110 * MS }),
        (220, delay(55)),
        (220, Event::Resumed),
        (220, switch_in()),
        (221, switch_out(Off::Dead)),
        (221, end()),
    ]);
    let timeline = read(&mut InMemory::new(without_wakeups(), scripted(&events))).1;
    let queued = |from: u64, to: u64| {
        let (from, to) = (START + from * MS, START + to * MS);
        let turns = timeline.threads[0].spans();
        let turns = turns.filter(|(.., it)| matches!(it.doing, Doing::Runq { .. }));
        let inside = |start: u64, end: u64| end.min(to).saturating_sub(start.max(from));
        turns.map(|(start, end, _)| inside(start, end)).sum::<u64>() as f64 / MS as f64
    };
    let (stretch, pause) = (queued(0, 20), queued(20, 220));
    assert!((stretch + pause - 55.0).abs() < 0.1, "{stretch} and {pause}");
    assert!((5.0..7.0).contains(&stretch), "as much as of ten ms of a hundred: {stretch}");
}

#[test]
fn a_wait_is_for_the_thread_that_ran_when_it_ended() {
    let other = |event: fn(Tid) -> Event| event(OTHER);
    let enter = |tid: Tid| Event::Thread {
        tid,
        pid: Pid(100),
        name: "other".to_owned(),
        entrance: Entrance::Born,
    };
    let run = |tid: Tid| Event::SwitchIn { tid, cpu: OTHER_CPU };
    let locked = |tid: Tid| Event::SwitchOut {
        tid,
        cpu: OTHER_CPU,
        off: Off::Blocked { site: Some(SiteId('q'.into())), uninterruptible: false },
        stack: None,
    };
    // Two threads that wait on the same futex, each until the other has run.
    let contended = unheard(&[
        (0, thread(Entrance::Born)),
        (0, other(enter)),
        (0, switch_in()),
        (0, other(run)),
        (1, switch_out(blocked('q'))),
        (5, switch_in()),
        (5, other(locked)),
        (9, other(run)),
        (9, switch_out(blocked('q'))),
        (13, switch_in()),
        (14, end()),
    ]);
    assert!(states(&contended).contains("lock.user"), "{}", states(&contended));
    // The same futex, and nobody of ours can have ended the waits: their time limit has.
    let expired = unheard(&[
        (0, thread(Entrance::Born)),
        (0, switch_in()),
        (1, switch_out(blocked('q'))),
        (5, switch_in()),
        (6, end()),
    ]);
    assert!(states(&expired).contains("sleep"), "{}", states(&expired));
}

#[test]
fn waits_of_equal_length_that_end_together_end_by_their_time_limits() {
    let other = Event::Thread {
        tid: OTHER,
        pid: Pid(100),
        name: "other".to_owned(),
        entrance: Entrance::Found(Seen::Off(blocked('q'))),
    };
    let mut events = vec![(0, found(Seen::Off(blocked('q')))), (0, other)];
    for round in 1..=6 {
        let out = |tid, cpu| Event::SwitchOut { tid, cpu, off: blocked('q'), stack: None };
        events.extend([
            (round * 10, switch_in()),
            (round * 10, Event::SwitchIn { tid: OTHER, cpu: OTHER_CPU }),
            (round * 10 + 1, switch_out(blocked('q'))),
            (round * 10 + 1, out(OTHER, OTHER_CPU)),
        ]);
    }
    events.push((70, end()));
    let analysis = unheard(&events);
    assert!(states(&analysis).ends_with("sleep 64"), "{}", states(&analysis));
}

/// A reader, woken long before it has a CPU, beside a sleeper; the share of both.
fn reads_beside_a_sleeper(site: char, known: Option<Event>) -> [f64; 2] {
    let sleeper = Event::Thread {
        tid: OTHER,
        pid: Pid(100),
        name: "other".to_owned(),
        entrance: Entrance::Found(Seen::Off(blocked('s'))),
    };
    let mut events: Vec<(u64, Event)> = known.into_iter().map(|event| (0, event)).collect();
    events.extend([
        (0, found(Seen::Off(blocked(site)))),
        (0, sleeper),
        // Nobody of ours has run for long by now.
        (10, switch_in()),
        (11, switch_out(blocked(site))),
        (20, switch_in()),
        (21, end()),
    ]);
    let shares = unheard(&events).report.bottleneck.shares;
    ["io.ipc", "sleep"].map(|key| shares.get(key).copied().unwrap_or_default())
}

#[test]
fn a_pipe_whose_other_end_is_known_to_be_inside_is_no_matter_of_who_ran() {
    let [pipe, sleep] = reads_beside_a_sleeper('p', None);
    assert!(pipe > 0.5 && sleep < 0.1, "{pipe} {sleep}");
    let known = Event::Inside { site: SiteId('p'.into()) };
    let [pipe, sleep] = reads_beside_a_sleeper('p', Some(known));
    assert!(pipe < 0.1 && sleep > 0.5, "{pipe} {sleep}");
    // An event has no name by which another program could find it.
    let (id, entry) = (SiteId('p'.into()), Entry::Syscall("read".to_owned()));
    let site = Site { pid: Pid(100), entry, pc: 1, object: Object::EventFd };
    let [event, sleep] = reads_beside_a_sleeper('p', Some(Event::Site { id, site }));
    assert!(event < 0.1 && sleep > 0.5, "{event} {sleep}");
}

#[test]
fn those_who_are_all_woken_at_once_have_not_woken_each_other() {
    let enter = |tid: u32| {
        let entrance = Entrance::Found(Seen::Off(blocked('q')));
        (0, Event::Thread { tid: Tid(tid), pid: Pid(100), name: "pool".to_owned(), entrance })
    };
    let run = |tid: u32| (50, Event::SwitchIn { tid: Tid(tid), cpu: OTHER_CPU });
    let die = |tid: u32| {
        let (tid, off) = (Tid(tid), Off::Dead);
        (50, Event::SwitchOut { tid, cpu: OTHER_CPU, off, stack: None })
    };
    let mut events = vec![(0, thread(Entrance::Born)), (0, switch_in())];
    events.extend((101..110).map(enter));
    events.extend((101..110).flat_map(|tid| [run(tid), die(tid)]));
    events.push((51, end()));
    let analysis = unheard(&events);
    let process = &analysis.report.ledger.process;
    assert!(process.keys().any(|state| *state == "sync.thread"), "{process:?}");
    assert!(!process.keys().any(|state| *state == "lock.user"), "{process:?}");
}
