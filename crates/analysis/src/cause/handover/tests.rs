//! Waits with time limits and without, where nobody tells who ends them.

use whyslow_events::{
    Capabilities, CodeId, Cpu, Entrance, Entry, Event, Header, InMemory, Ns, Off, Pid, Polled,
    ScriptFrame, Seen, Site, SiteId, SpaceId, StackEnd, StackId, Tid,
};

use crate::analyze;
use crate::script::{MS, START, Script, futex, header};

const PID: Pid = Pid(100);
/// Distance of looks, ms.
const LOOKS: u64 = 5;

/// Three threads, each with a futex of its own, that wait for so many ms again and again, and
/// whose waits would end after `limit` ms; what the report makes of their time.
fn waits(each: u64, limit: Option<u64>) -> String {
    state(false, |tid, seen| looks(tid, seen, each, limit))
}

/// What most of the time is of three threads, each found waiting at a futex of its own, to
/// whom this happens.
fn state(exact_switches: bool, happens: impl Fn(Tid, Seen) -> Vec<(u64, Event)>) -> String {
    let mut events = vec![
        (START, Event::Space { space: SpaceId(1), pid: PID }),
        (
            START,
            Event::Process { pid: PID, parent: None, space: SpaceId(1), name: "prog".to_owned() },
        ),
    ];
    for number in 0..3 {
        let (tid, id) = (Tid(PID.0 + number), SiteId(number));
        let object = futex(0x1000 * u64::from(number + 1), 0);
        let entry = Entry::Syscall("futex".to_owned());
        let site = Site { pid: PID, entry, pc: 1, object };
        events.push((START, Event::Site { id, site }));
        let seen = Seen::Off(Off::Blocked { site: Some(id), uninterruptible: false });
        let (name, entrance) = ("worker".to_owned(), Entrance::Found(seen));
        events.push((START, Event::Thread { tid, pid: PID, name, entrance }));
        events.extend(happens(tid, seen));
    }
    events.sort_by_key(|(time, _)| *time);
    events.push((START + 1000 * MS, Event::End { exit: None }));
    let capabilities = Capabilities { exact_switches, ..Capabilities::default() };
    let header = Header { capabilities, ..header(2) };
    let report = analyze(&mut InMemory::new(header, events)).report;
    let process = &report.ledger.process;
    process.iter().max_by_key(|(_, ns)| **ns).expect("three threads have states").0.clone()
}

/// Each gets a CPU once, after 900 ms, when none of the others has one.
fn ends_alone(limit: Option<Option<u64>>) -> String {
    state(true, |tid, _| {
        let at = |ms| START + (ms + 5 * u64::from(tid.0 - PID.0)) * MS;
        let mut events = vec![
            (at(900), Event::SwitchIn { tid, cpu: Cpu(0) }),
            (at(901), Event::SwitchOut { tid, cpu: Cpu(0), off: Off::Dead, stack: None }),
        ];
        if let Some(limit) = limit {
            let until = limit.map(|ms| Ns(at(ms)));
            events.push((at(10), Event::Limit { tid, until }));
        }
        events
    })
}

fn looks(tid: Tid, seen: Seen, each: u64, limit: Option<u64>) -> Vec<(u64, Event)> {
    let mut events = Vec::new();
    let mut round = 0;
    for look in 1..1000 / LOOKS {
        // Not in step with the waits.
        let at = |look: u64| START + look * LOOKS * MS + look * 7 % 5 * MS / 5;
        let time = at(look);
        let now = (time - START) / (each * MS);
        if now == round {
            continue;
        }
        let switches = now - round;
        round = now;
        let polled = Polled {
            tid,
            since: Ns(at(look - 1)),
            cpu_ns: 30_000 * switches,
            kernel_ns: 0,
            runq_ns: 0,
            switches,
            seen,
            stack: None,
        };
        events.push((time, Event::Polled(polled)));
        if let Some(limit) = limit {
            let until = Some(Ns(START + (now * each + limit) * MS));
            events.push((time, Event::Limit { tid, until }));
        }
    }
    events
}

#[test]
fn waits_that_end_with_their_limits_are_timers() {
    assert_eq!(waits(20, Some(20)), "sleep");
}

#[test]
fn waits_that_end_before_their_limits_are_handed_over() {
    assert_eq!(waits(20, Some(100)), "sync.thread");
    assert_eq!(waits(20, Some(1000)), "sync.thread");
}

#[test]
fn looks_farther_apart_than_limits_are_long_say_nothing() {
    assert_eq!(waits(6, Some(6)), "unknown");
    assert_eq!(waits(6, None), "sync.thread");
}

#[test]
fn a_wait_without_a_limit_is_no_timer_whoever_ended_it() {
    assert_eq!(ends_alone(None), "sleep", "by the little that is known");
    assert_eq!(ends_alone(Some(None)), "sync.thread");
    assert_eq!(ends_alone(Some(Some(2000))), "sync.thread");
    assert_eq!(ends_alone(Some(Some(900))), "sleep");
}

#[test]
fn a_wait_taken_for_another_threads_makes_no_lock_of_it() {
    let waits = |tid: Tid, _: Seen| {
        let number = tid.0 - PID.0;
        let round = |round: u64| {
            // One runs when the next is woken.
            let wakes = START + 20 * round * MS + u64::from(number) * MS / 20;
            let site = SiteId(if round == 1 { number.saturating_sub(1) } else { number });
            let off = Off::Blocked { site: None, uninterruptible: false };
            [
                (wakes, Event::SwitchIn { tid, cpu: Cpu(number) }),
                (wakes + MS / 10, Event::SwitchOut { tid, cpu: Cpu(number), off, stack: None }),
                (wakes + MS, Event::Look { tid, site, stack: None }),
                (wakes + MS, Event::Limit { tid, until: Some(Ns(wakes + 20 * MS)) }),
            ]
        };
        (1..45).flat_map(round).collect()
    };
    assert_eq!(state(true, waits), "sleep");
}

/// Two threads wait in this Python function and wake one another; what their waits are.
fn taking_turns(function: &str, file: &str) -> String {
    let (code, id) = (CodeId(1), StackId(900));
    let (function, file) = (function.to_owned(), file.to_owned());
    let script = vec![ScriptFrame { code, line: 81, entry: true }];
    let (space, kernel, user, end) = (SpaceId(1), vec![], vec![7], StackEnd::Complete);
    let look = |number: u32| Event::Look {
        tid: Tid(100 + number),
        site: SiteId('q'.into()),
        stack: Some(id),
    };
    let drawn = Script::new(2)
        .thread("a", "##qqqq######")
        .thread("b", "######qqqq##")
        .at(0, Event::Code { id: code, function, file })
        .at(0, Event::Stack { id, space, kernel, user, end, script })
        .at(3 * MS, look(0))
        .at(7 * MS, look(1));
    let [wait] = &drawn.run().report.waits[..] else { panic!("one place") };
    assert_eq!(wait.total_ns, 8 * MS);
    wait.state.clone()
}

#[test]
fn threads_of_a_pool_that_wake_one_another_at_their_queue_have_no_lock() {
    assert_eq!(taking_turns("work", "/srv/app.py"), "lock.user");
    let pool = "/usr/lib/python3.11/concurrent/futures/thread.py";
    assert_eq!(taking_turns("_worker", pool), "sync.thread");
}
