//! Loops drawn in ASCII, a column for each millisecond: `p` polls, `s` sleeps in a
//! callback, `#` computes in one, `g` waits for the interpreter lock on the way back
//! from the poll, `P` polls and nobody looked at its calls.

use whyslow_events::{
    CodeId, Cpu, Entrance, Entry, Event, InMemory, LoopTurn, Ns, Object, Off, Pid, ScriptFrame,
    Site, SiteId, SpaceId, StackEnd, StackId, Tid, Wakener,
};

use crate::analyze;
use crate::report::{EventLoop, Report};
use crate::script::{GIL, MS, START, futex, header, tcp};

const PID: Pid = Pid(100);
const TID: Tid = Tid(100);
const SPACE: SpaceId = SpaceId(1);
const CODES: [(&str, &str); 5] = [
    ("BaseEventLoop._run_once", "/lib/python3.11/asyncio/base_events.py"),
    ("EpollSelector.select", "/lib/python3.11/selectors.py"),
    ("Handle._run", "/lib/python3.11/asyncio/events.py"),
    ("handler", "/srv/app.py"),
    ("fetch", "/srv/app.py"),
];

/// Calls, innermost first, as indices into [`CODES`].
fn calls(doing: char) -> Vec<usize> {
    match doing {
        'p' | 'g' => vec![1, 0],
        's' => vec![4, 3, 2, 0],
        '#' => vec![3, 2, 0],
        _ => vec![],
    }
}

fn site(doing: char) -> SiteId {
    SiteId(if doing == 'P' { 'p' } else { doing }.into())
}

fn definitions() -> Vec<(u64, Event)> {
    let mut events = vec![
        Event::Space { space: SPACE, pid: PID },
        Event::Runtime { space: SPACE, name: "cpython 3.11.7".to_owned(), gil: Some(GIL) },
        Event::Process { pid: PID, parent: None, space: SPACE, name: "app".to_owned() },
    ];
    for (index, (function, file)) in (0..).zip(CODES) {
        let (function, file) = (function.to_owned(), file.to_owned());
        events.push(Event::Code { id: CodeId(index), function, file });
    }
    for doing in "psg#P".chars() {
        let script = calls(doing).into_iter().map(|code| ScriptFrame {
            code: CodeId(code as u32),
            line: 10 + code as u32,
            entry: true,
        });
        events.push(Event::Stack {
            id: StackId(doing.into()),
            space: SPACE,
            kernel: vec![],
            user: vec![doing.into()],
            end: StackEnd::Complete,
            script: script.collect(),
        });
    }
    let clients = vec![tcp(whyslow_events::TcpRole::Accepted), Object::EventFd];
    for (doing, call, object) in [
        ('p', "epoll_wait", Object::Set { members: clients, complete: true }),
        ('s', "clock_nanosleep", Object::None),
        ('g', "futex", futex(GIL.0 + 8, 0)),
    ] {
        let entry = Entry::Syscall(call.to_owned());
        let site = Site { pid: PID, entry, pc: doing.into(), object };
        events.push(Event::Site { id: SiteId(doing.into()), site });
    }
    events.into_iter().map(|event| (START, event)).collect()
}

/// What is said of a drawing, with what was seen of its loop: when, and since when, in ms.
fn report(drawing: &str, turns: &[(u64, u64)]) -> Report {
    let (tid, cpu) = (TID, Cpu(0));
    let mut events = definitions();
    let enter = Event::Thread { tid, pid: PID, name: "app".to_owned(), entrance: Entrance::Born };
    events.push((START, enter));
    events.push((START, Event::SwitchIn { tid, cpu }));
    let mut before = '#';
    for (column, doing) in (0..).zip(drawing.chars()) {
        let at = START + column * MS;
        if doing != before {
            if before != '#' {
                events.push((at, Event::Wakeup { tid, by: Wakener::Interrupt }));
                events.push((at, Event::SwitchIn { tid, cpu }));
            }
            if doing != '#' {
                let off = Off::Blocked { site: Some(site(doing)), uninterruptible: false };
                let stack = Some(StackId(doing.into()));
                events.push((at, Event::SwitchOut { tid, cpu, off, stack }));
            }
        }
        if doing == '#' {
            let stack = Some(StackId('#'.into()));
            events.push((at + MS / 2, Event::Sample { tid, cpu, kernel: false, stack }));
        }
        before = doing;
    }
    let saw = |(time, since): &(u64, u64)| {
        let since = Some(Ns(START + since * MS));
        let turn = LoopTurn { since, task: Some("Task-7".to_owned()), tasks: Some(3) };
        (START + time * MS, Event::LoopTurn { tid, turn })
    };
    events.extend(turns.iter().map(saw));
    events.sort_by_key(|(time, _)| *time);
    events.push((START + drawing.len() as u64 * MS, Event::End { exit: None }));
    analyze(&mut InMemory::new(header(1), events)).report
}

fn loops(drawing: &str, turns: &[(u64, u64)]) -> Vec<EventLoop> {
    report(drawing, turns).event_loops
}

fn only(drawing: &str, turns: &[(u64, u64)]) -> EventLoop {
    let mut loops = loops(drawing, turns);
    assert_eq!(loops.len(), 1, "{loops:?}");
    loops.remove(0)
}

#[test]
fn a_call_that_blocks_is_named_with_its_line_and_its_callback() {
    let drawing = format!("pp##pp#{}#pp#pp", "s".repeat(120));
    let found = only(&drawing, &[]);
    assert_eq!((found.kind.as_str(), found.iterations, found.blocked), ("asyncio", 3, true));
    assert_eq!((found.away.p50_ns, found.away.max_ns), (2 * MS, 122 * MS));
    assert_eq!((found.away.total_ns, found.away.unseen_ns), (125 * MS, 0));
    let [stall] = &found.stalls[..] else { panic!("{found:?}") };
    assert_eq!(stall.r#where.as_deref(), Some("fetch (app.py:14)"));
    assert_eq!(stall.callback.as_deref(), Some("handler"));
    assert_eq!(stall.call.as_deref(), Some("time.sleep"));
    assert_eq!((stall.count, stall.max_ns), (1, 122 * MS));
    assert_eq!((stall.cpu_ns, stall.blocking_ns, stall.gil_ns), (2 * MS, 120 * MS, 0));
    assert_eq!(found.concurrency.unwrap().connections, Some(1));
}

#[test]
fn computing_and_the_interpreter_lock_are_told_apart() {
    let found = only(&format!("pp#pp{}pp{}#pp", "#".repeat(30), "g".repeat(40)), &[]);
    assert!(found.blocked, "half of the rounds are long: {found:?}");
    let [lock, cpu] = &found.stalls[..] else { panic!("{found:?}") };
    assert_eq!((lock.gil_ns, lock.callback.as_deref()), (40 * MS, None));
    assert_eq!(lock.r#where.as_deref(), Some("EpollSelector.select (selectors.py:11)"));
    // What it computes in the round that begins with the lock is part of it.
    assert_eq!((cpu.cpu_ns, cpu.r#where.as_deref()), (31 * MS, Some("handler (app.py:13)")));
}

#[test]
fn short_rounds_block_nobody() {
    let found = only(&"pp##".repeat(50), &[]);
    assert!(!found.blocked && found.stalls.is_empty(), "{found:?}");
    assert_eq!((found.iterations, found.away.max_ns), (49, 2 * MS));
}

#[test]
fn a_busy_loop_that_polls_without_waiting_is_not_blocked() {
    let turns: Vec<(u64, u64)> = (1..20).map(|turn| (10 * turn + 3, 10 * turn + 2)).collect();
    let busy = only(&format!("pp{}pp", "#".repeat(200)), &turns);
    assert!(!busy.blocked && busy.stalls.is_empty(), "{busy:?}");
    assert_eq!(busy.away.total_ns, 200 * MS);
    assert!(busy.away.unseen_ns > 150 * MS, "{busy:?}");
    // The same loop in one round: it says so each time.
    let turns: Vec<(u64, u64)> = (1..20).map(|turn| (10 * turn + 3, 2)).collect();
    let blocked = only(&format!("pp{}pp", "#".repeat(200)), &turns);
    assert_eq!((blocked.away.max_ns, blocked.away.unseen_ns), (200 * MS, 0));
    assert_eq!(blocked.stalls[0].task.as_deref(), Some("Task-7"));
    assert_eq!(blocked.concurrency.unwrap().tasks, Some(3));
}

#[test]
fn a_loop_that_never_polled_in_the_window_says_since_when() {
    let found = only(&"#".repeat(150), &[(40, 5), (80, 5), (120, 5)]);
    assert_eq!((found.iterations, found.blocked), (1, true));
    assert_eq!(found.away.max_ns, 115 * MS);
}

#[test]
fn polls_whose_calls_nobody_looked_at_count_where_others_are() {
    let found = only("PP##pp##PP##pp##PP", &[]);
    assert_eq!((found.iterations, found.away.total_ns), (4, 8 * MS));
}

#[test]
fn a_callback_that_waits_is_in_one_round_though_no_poll_bounds_it() {
    let found = only(&format!("pp{}", "s".repeat(120)), &[]);
    assert_eq!((found.iterations, found.blocked, found.away.max_ns), (1, true, 120 * MS));
    assert_eq!(found.stalls[0].call.as_deref(), Some("time.sleep"));
}

#[test]
fn as_many_calls_can_be_awaited_at_a_time_as_come_in_one_round() {
    const ROUNDS: u64 = 20;
    let workers = |calls: u64| {
        let round = "#ssssssssss".repeat(calls as usize);
        let length = round.len() as u64;
        let turns: Vec<(u64, u64)> =
            (0..ROUNDS).map(|turn| ((turn + 1) * length - 3, turn * length)).collect();
        let prescription = report(&round.repeat(ROUNDS as usize), &turns).prescription.unwrap();
        assert_eq!(prescription.model, "asyncio");
        assert_eq!(prescription.antipatterns[0].id, "blocking-call-in-event-loop");
        prescription.predicted.map(|it| it.workers)
    };
    // There are three tasks, and nothing to gain for one alone.
    assert_eq!([1, 2, 3, 5].map(workers), [None, Some(2), Some(3), Some(3)]);
}

#[test]
fn other_programs_have_no_loop() {
    assert_eq!(loops("PP##PP##PP", &[]), []);
    assert_eq!(loops("ss", &[]), []);
}
