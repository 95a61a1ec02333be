//! Timelines event by event, and the law that holds for all of them: a
//! thread's states sum to its lifetime.

mod counts;
mod laws;
mod paused;
mod polled;
mod segments;
mod tallied;
mod unheard;
mod unseen;
mod untold;

use std::collections::BTreeMap;

use whyslow_events::{
    Cpu, Entrance, Event, Header, InMemory, Ns, Off, Pid, Seen, SiteId, SpaceId, Tid, Wakener,
};

use crate::report::{Class, ThreadLedger};
use crate::script::{MS, START, Script, header};
use crate::{Analysis, analyze};

const TID: Tid = Tid(100);
const CPU: Cpu = Cpu(0);

/// Events at ms from the start, with the definitions of a script around them.
fn play(events: &[(u64, Event)]) -> Analysis {
    play_with(header(2), events)
}

/// The same, of an engine that this header tells of.
fn play_with(header: Header, events: &[(u64, Event)]) -> Analysis {
    analyze(&mut InMemory::new(header, scripted(events)))
}

/// A program that does this, each at so many ms.
fn scripted(events: &[(u64, Event)]) -> Vec<(u64, Event)> {
    let mut all = Script::new(2).events();
    all.pop();
    let process =
        Event::Process { pid: Pid(100), parent: None, space: SpaceId(1), name: "prog".to_owned() };
    all.push((START, process));
    all.extend(events.iter().map(|(ms, event)| (START + ms * MS, event.clone())));
    all
}

fn found(seen: Seen) -> Event {
    thread(Entrance::Found(seen))
}

fn thread(entrance: Entrance) -> Event {
    Event::Thread { tid: TID, pid: Pid(100), name: "main".to_owned(), entrance }
}

fn switch_in() -> Event {
    Event::SwitchIn { tid: TID, cpu: CPU }
}

fn switch_out(off: Off) -> Event {
    Event::SwitchOut { tid: TID, cpu: CPU, off, stack: None }
}

fn blocked(site: char) -> Off {
    Off::Blocked { site: Some(SiteId(site.into())), uninterruptible: false }
}

fn wakeup() -> Event {
    Event::Wakeup { tid: TID, by: Wakener::Interrupt }
}

fn sample() -> Event {
    Event::Sample { tid: TID, cpu: CPU, kernel: false, stack: None }
}

fn lost(since_ms: u64) -> Event {
    Event::Lost { cpu: CPU, since: Ns(START + since_ms * MS), records: 3 }
}

fn end() -> Event {
    Event::End { exit: None }
}

/// The states of the threads in ms, `,` between threads.
fn states(analysis: &Analysis) -> String {
    let one = |thread: &ThreadLedger| {
        let states: BTreeMap<_, _> = thread.states.iter().collect();
        let parts: Vec<String> =
            states.into_iter().map(|(state, ns)| format!("{state} {}", ns / MS)).collect();
        parts.join(" ")
    };
    analysis.report.ledger.threads.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check(events: &[(u64, Event)], expected: &str) -> Analysis {
    let analysis = play(events);
    assert_eq!(states(&analysis), expected);
    analysis
}

#[test]
fn the_ordinary_turn() {
    let analysis = check(
        &[
            (0, thread(Entrance::Born)),
            (1, switch_in()),
            (3, switch_out(blocked('s'))),
            (7, wakeup()),
            (8, switch_in()),
            (9, switch_out(Off::Preempted)),
            (14, switch_in()),
            (15, switch_out(Off::Stopped)),
            (20, wakeup()),
            (21, switch_in()),
            (30, switch_out(Off::Dead)),
            (40, end()),
        ],
        "cpu.user 13 runq.preempted 5 runq.waking 3 sleep 4 stopped 5",
    );
    assert_eq!(analysis.report.ledger.threads[0].lifetime_ns, 30 * MS);
    assert_eq!(analysis.report.window.duration_ns, 30 * MS);
    assert_eq!(analysis.report.bottleneck.shares.get("idle"), None);
    assert_eq!(analysis.anomalies, crate::Anomalies::default());
}

#[test]
fn what_was_found_runnable_the_next_event_tells() {
    let runnable = || (0, found(Seen::Runnable));
    check(&[runnable(), (5, switch_in()), (9, end())], "cpu.user 4 runq.preempted 5");
    check(&[runnable(), (5, sample()), (9, end())], "cpu.user 9");
    check(&[runnable(), (5, switch_out(blocked('s'))), (9, end())], "cpu.user 5 sleep 4");
    let counted = |ms| Event::KernelCpu { tid: Some(TID), cpu_ns: ms * MS };
    check(&[runnable(), (10, end())], "unknown 10");
    check(&[runnable(), (10, counted(9)), (10, end())], "cpu.user 10");
    check(&[runnable(), (10, counted(1)), (10, end())], "runq.preempted 10");
    check(&[runnable(), (10, counted(5)), (10, end())], "unknown 10");
}

#[test]
fn the_kernels_count_is_compared_as_of_when_it_was_taken() {
    let counted = |ms| Event::KernelCpu { tid: Some(TID), cpu_ns: ms * MS };
    let difference = |events: &[(u64, Event)]| play(events).report.quality.oncpu_vs_kernel.unwrap();
    let ran = [(0, found(Seen::Runnable)), (4, switch_out(blocked('s')))];
    let off = [&ran[..], &[(5, counted(4)), (6, wakeup()), (7, switch_in()), (9, end())]].concat();
    assert!(difference(&off).abs() < 1e-9);
    // A count taken while the thread runs may lag, and does not replace a better one.
    let lagging = [&off[..5], &[(8, counted(4)), (9, end())]].concat();
    assert!(difference(&lagging).abs() < 1e-9);
    let wrong = [&ran[..], &[(5, counted(2)), (9, end())]].concat();
    assert!((difference(&wrong) - 1.0).abs() < 1e-9);
}

#[test]
fn an_open_wait_counts_from_its_first_to_its_last_instant() {
    let waiting = found(Seen::Off(blocked('n')));
    check(&[(0, waiting.clone()), (50, end())], "io.network 50");
    // Killed recorder: no end.
    check(&[(0, waiting), (30, sample())], "unknown 30");
}

#[test]
fn a_wakeup_may_overtake_the_switch_it_answers() {
    let early = |ns: u64| {
        let script = Script::new(1)
            .thread("main", "#")
            .at(MS - ns, Event::Wakeup { tid: TID, by: Wakener::Interrupt });
        let mut events = script.events();
        events.pop();
        events.push((START + MS, switch_out(blocked('s'))));
        events
    };
    let play = |mut events: Vec<(u64, Event)>, more: &[(u64, Event)]| {
        events.extend(more.iter().map(|(ms, event)| (START + ms * MS, event.clone())));
        analyze(&mut InMemory::new(header(2), events))
    };
    let rest = [(3, switch_in()), (4, end())];
    let raced = play(early(500), &rest);
    assert_eq!(states(&raced), "cpu.user 2 runq.waking 2");
    assert_eq!((raced.report.waits[0].count, raced.report.waits[0].max_ns), (1, 0));
    // An old one was for something else.
    assert_eq!(states(&play(early(MS / 2), &rest)), "cpu.user 2 sleep 2");
    // A second wakeup, or a look that finds it asleep: so was the first.
    let rest = [(3, wakeup()), (4, switch_in()), (5, end())];
    assert_eq!(states(&play(early(500), &rest)), "cpu.user 2 runq.waking 1 sleep 2");
    let look = Event::Look { tid: TID, site: SiteId('n'.into()), stack: None };
    let rest = [(2, look), (4, switch_in()), (5, end())];
    assert_eq!(states(&play(early(500), &rest)), "cpu.user 2 io.network 3");
}

#[test]
fn engines_without_wakeups_end_waits_at_the_switch_in() {
    check(
        &[(0, found(Seen::Off(blocked('d')))), (5, switch_in()), (9, end())],
        "cpu.user 4 io.disk 5",
    );
}

#[test]
fn a_look_names_the_present_wait() {
    let look = |site: char| Event::Look { tid: TID, site: SiteId(site.into()), stack: None };
    let bare = Off::Blocked { site: None, uninterruptible: false };
    check(
        &[(0, found(Seen::Off(bare))), (2, look('n')), (5, switch_in()), (9, end())],
        "cpu.user 4 io.network 5",
    );
    // Too late: it runs already.
    check(
        &[(0, found(Seen::Off(bare))), (5, switch_in()), (6, look('n')), (9, end())],
        "cpu.user 4 unknown 5",
    );
}

#[test]
fn what_contradicts_is_unknown_since_the_last_event() {
    let analysis = check(
        &[
            (0, found(Seen::Off(blocked('s')))),
            (2, switch_in()),
            (4, sample()),
            // It must have left in between.
            (9, switch_in()),
            (10, switch_out(blocked('s'))),
            // It must have come back in between.
            (15, switch_out(blocked('d'))),
            (20, end()),
        ],
        "cpu.user 3 io.disk 5 sleep 2 unknown 10",
    );
    assert_eq!(analysis.anomalies.contradictions, 2);
}

#[test]
fn a_gap_in_the_records_is_unknown_and_the_wait_goes_on() {
    let analysis = check(
        &[(0, found(Seen::Off(blocked('s')))), (5, lost(2)), (9, switch_in()), (10, end())],
        "cpu.user 1 sleep 6 unknown 3",
    );
    assert_eq!(analysis.report.quality.lost, 3);
    assert_eq!(analysis.report.waits[0].count, 1);
    assert_eq!(analysis.report.waits[0].max_ns, 6 * MS);
    // The next event shows that it did not go on.
    check(
        &[
            (0, found(Seen::Off(blocked('s')))),
            (5, lost(2)),
            (9, switch_out(blocked('d'))),
            (10, end()),
        ],
        "io.disk 1 sleep 2 unknown 7",
    );
    // It cannot have left another CPU unseen.
    let elsewhere = Event::SwitchIn { tid: TID, cpu: Cpu(1) };
    check(&[(0, thread(Entrance::Born)), (0, elsewhere), (5, lost(2)), (9, end())], "cpu.user 9");
}

#[test]
fn a_thread_ends_at_its_death_or_else_at_its_exit() {
    let born = || [(0, thread(Entrance::Born)), (0, switch_in()), (5, Event::Exit { tid: TID })];
    let with = |rest: &[(u64, Event)]| [&born()[..], rest].concat();
    check(&with(&[(7, switch_out(Off::Dead)), (9, end())]), "cpu.user 7");
    check(&with(&[(9, end())]), "cpu.user 5");
    check(&with(&[(6, switch_out(blocked('d'))), (9, end())]), "cpu.user 5");
    // The TID is free for another thread.
    check(
        &with(&[(6, thread(Entrance::Born)), (8, switch_in()), (9, end())]),
        "cpu.user 5, cpu.user 1 runq.waking 2",
    );
}

#[test]
fn strangers_are_counted() {
    let stranger = Event::SwitchIn { tid: Tid(999), cpu: CPU };
    let analysis =
        check(&[(0, found(Seen::Off(blocked('s')))), (1, stranger), (5, end())], "sleep 5");
    assert_eq!(analysis.anomalies.strangers, 1);
}

#[test]
fn who_woke_may_be_dead_when_the_wakeup_is_told() {
    let (tid, cpu) = (Tid(101), CPU);
    let worker =
        Event::Thread { tid, pid: Pid(100), name: "worker".to_owned(), entrance: Entrance::Born };
    let dies = Event::SwitchOut { tid, cpu, off: Off::Dead, stack: None };
    let analysis = check(
        &[
            (0, found(Seen::Off(blocked('p')))),
            (0, worker),
            (0, Event::SwitchIn { tid, cpu }),
            (4, dies),
            (4, Event::Wakeup { tid: TID, by: Wakener::Thread(tid) }),
            (4, switch_in()),
            (8, end()),
        ],
        "cpu.user 4 io.ipc 4, cpu.user 4",
    );
    // It waited for its own worker.
    assert_eq!(analysis.report.bottleneck.shares["cpu.user"], 1.0);
}

#[test]
fn exec_and_renaming() {
    let exec = Event::Exec { pid: Pid(100), space: SpaceId(1), name: "xz".to_owned() };
    let name = Event::Name { tid: TID, name: "worker".to_owned() };
    let begin = [(0, found(Seen::Runnable)), (1, sample())];
    let analysis = play(&[&begin[..], &[(2, exec.clone()), (5, end())]].concat());
    assert_eq!(analysis.report.ledger.threads[0].name, "xz");
    assert_eq!(analysis.stacks.folded(crate::View::Wall)[0].frames[0].as_ref(), "xz");
    let analysis = play(&[&begin[..], &[(2, exec), (3, name), (5, end())]].concat());
    assert_eq!(analysis.report.ledger.threads[0].name, "worker");
}

#[test]
fn the_window_starts_at_the_headers_time() {
    let window = check(&[(0, found(Seen::Off(Off::Stopped))), (1, end())], "stopped 1");
    assert_eq!(window.report.window.start, "2023-11-14T22:13:20Z");
}

#[test]
fn the_window_of_a_program_that_is_over_ends_with_its_last_thread() {
    let dies = [(0, found(Seen::Runnable)), (1, sample()), (4, switch_out(Off::Dead))];
    let afterwards = [(6, Event::Occupant { cpu: CPU, busy: false }), (9, end())];
    let over = play(&[&dies[..], &afterwards].concat()).report;
    assert_eq!(over.window.duration_ns, 4 * MS);
    assert_eq!(over.bottleneck.shares["cpu.user"], 1.0);
    let other = Event::Thread {
        tid: Tid(101),
        pid: Pid(100),
        name: "b".to_owned(),
        entrance: Entrance::Born,
    };
    let alive = play(&[&dies[..], &[(4, other)], &afterwards].concat()).report;
    assert_eq!(alive.window.duration_ns, 9 * MS, "another goes on");
}

#[test]
fn where_nobody_was_seen_nothing_is_known() {
    for events in [&[][..], &[(0, end())], &[(50, end())]] {
        let verdict = play(events).report.verdict;
        assert_eq!(verdict.class, Class::Inconclusive, "{}", verdict.summary);
        assert!(verdict.summary.contains("no thread was seen"), "{}", verdict.summary);
    }
}
