//! Waits on sets that were closed before anybody could look at them.

use std::collections::BTreeMap;

use whyslow_events::{
    Cpu, Entrance, Entry, Event, Fallback, InMemory, Object, Off, Pid, ScriptFrame, Site, SiteId,
    SpaceId, StackEnd, StackId, TcpRole, Tid,
};

use crate::analyze::analyze_segments;
use crate::report::Report;
use crate::script::{MS, START, header, tcp};
use crate::{Detail, State};

const TID: Tid = Tid(100);
const PID: Pid = Pid(100);

/// What is waited on, by site: two clients of ours, a server, and sets that were gone.
const CLIENT: u32 = 1;
const OTHER: u32 = 2;
const SERVER: u32 = 3;
const CLOSED: u32 = 4;
const EMPTY: u32 = 5;
const UNRESOLVED: u32 = 6;

fn sites() -> Vec<(u64, Event)> {
    let set = |members: Vec<Object>| Object::Set { members, complete: true };
    let accepted = |port: u16| Object::Tcp {
        local: "10.0.0.1:80".parse().unwrap(),
        remote: ([10, 0, 0, 9], port).into(),
        role: TcpRole::Accepted,
    };
    let objects = [
        (CLIENT, set(vec![accepted(1000)])),
        (OTHER, set(vec![accepted(1001)])),
        (SERVER, set(vec![tcp(TcpRole::Opened)])),
        (CLOSED, Object::Unseen),
        (EMPTY, set(vec![Object::Unseen])),
        (UNRESOLVED, set(vec![Object::Socket("socket".to_owned())])),
    ];
    let entry = Entry::Syscall("epoll_wait".to_owned());
    let site = |object| Site { pid: PID, entry: entry.clone(), pc: 1, object };
    objects.map(|(id, object)| (START, Event::Site { id: SiteId(id), site: site(object) })).into()
}

/// Two places in native code, and two of a program at the first of them.
fn stacks() -> Vec<(u64, Event)> {
    let calls = |line| vec![ScriptFrame { code: whyslow_events::CodeId(0), line, entry: true }];
    let stacks = [(1, 0x10, vec![]), (2, 0x20, vec![]), (3, 0x10, calls(3)), (4, 0x10, calls(4))];
    let event = |(id, address, script)| Event::Stack {
        id: StackId(id),
        space: SpaceId(1),
        kernel: vec![],
        user: vec![address],
        end: StackEnd::Complete,
        script,
    };
    stacks.map(|stack| (START, event(stack))).into()
}

/// What becomes of a thread that waits at these sites and stacks for so many ms each.
fn report(waits: &[(u32, u32, u64)], segment: usize) -> Report {
    let (space, name) = (SpaceId(1), "prog".to_owned());
    let mut events = vec![(START, Event::Space { space, pid: PID })];
    events.push((START, Event::Process { pid: PID, parent: None, space, name: name.clone() }));
    events.extend(sites().into_iter().chain(stacks()));
    events.push((START, Event::Thread { tid: TID, pid: PID, name, entrance: Entrance::Born }));
    let (mut now, cpu) = (START, Cpu(0));
    events.push((now, Event::SwitchIn { tid: TID, cpu }));
    for (site, stack, ms) in waits {
        let off = Off::Blocked { site: Some(SiteId(*site)), uninterruptible: false };
        let stack = Some(StackId(*stack));
        events.push((now + MS, Event::SwitchOut { tid: TID, cpu, off, stack }));
        now += (1 + ms) * MS;
        events.push((now, Event::SwitchIn { tid: TID, cpu }));
    }
    events.push((now + MS, Event::End { exit: None }));
    analyze_segments(&mut InMemory::new(header(1), events), Detail::default(), segment).report
}

/// The same, in ms of waits by state: at once and in segments.
fn waited(waits: &[(u32, u32, u64)]) -> BTreeMap<String, u64> {
    let [at_once, cut] = [usize::MAX, 4].map(|segment| report(waits, segment));
    assert_eq!(at_once.ledger, cut.ledger);
    assert_eq!(at_once.waits, cut.waits);
    let states = at_once.ledger.process.into_iter();
    states.filter(|(key, _)| !key.starts_with("cpu.")).map(|(key, ns)| (key, ns / MS)).collect()
}

fn only(state: State, ms: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([(state.key().to_owned(), ms)])
}

fn said(waits: &[(u32, u32, u64)]) -> Vec<String> {
    let fallbacks = report(waits, usize::MAX).engine.fallbacks;
    let ours = fallbacks.into_iter().filter(|it| it.errno == Fallback::NO_ERROR);
    ours.map(|it| it.got).collect()
}

#[test]
fn a_set_that_was_gone_is_like_others_of_its_place_seen_before_or_after() {
    let before = [(CLIENT, 1, 6), (CLOSED, 1, 2), (OTHER, 1, 6), (EMPTY, 1, 4)];
    assert_eq!(waited(&before), only(State::Idle, 18));
    let after = [(CLOSED, 1, 2), (EMPTY, 1, 4), (CLIENT, 1, 6)];
    assert_eq!(waited(&after), only(State::Idle, 12));
    assert_eq!(
        said(&after),
        ["50.0 % of the time looked at, 50.0 % taken to be on the like of what else is waited on \
          there, 0.0 % unknown"]
    );
    assert!(said(&[(CLIENT, 1, 6)]).is_empty());
}

#[test]
fn a_socket_that_no_table_has_is_no_example_and_is_lent_to() {
    let waits = [(UNRESOLVED, 1, 20), (CLIENT, 1, 6), (CLOSED, 1, 2)];
    assert_eq!(waited(&waits), only(State::Idle, 28));
    assert_eq!(waited(&[(UNRESOLVED, 1, 20), (CLIENT, 2, 6)])[State::IoOther.key()], 20);
}

#[test]
fn another_place_is_no_example() {
    let unlike = [(CLIENT, 2, 6), (CLOSED, 1, 2)];
    assert_eq!(waited(&unlike)[State::Unknown.key()], 2);
    assert!(said(&unlike).is_empty());
    // Whatever the interpreter does at the one native place.
    assert_eq!(waited(&[(CLIENT, 3, 6), (CLOSED, 4, 2)])[State::Unknown.key()], 2);
    assert_eq!(waited(&[(CLIENT, 3, 6), (CLOSED, 3, 2)]), only(State::Idle, 8));
}

#[test]
fn where_the_calls_were_not_read_the_thread_is_where_it_is_seen_before_or_next() {
    // One that is told too soon to be looked at, and two looks at sets that are gone.
    let before = [(CLOSED, 3, 2), (CLIENT, 1, 6), (CLOSED, 3, 2)];
    assert_eq!(waited(&before), only(State::Idle, 10));
    let next = [(CLIENT, 2, 6), (CLOSED, 3, 2)];
    assert_eq!(waited(&next), only(State::Idle, 8));
    let elsewhere = [(CLIENT, 2, 6), (CLIENT, 4, 6), (CLOSED, 3, 2)];
    assert_eq!(waited(&elsewhere)[State::Unknown.key()], 2);
}

#[test]
fn where_the_calls_are_not_known_all_of_a_place_must_agree() {
    let one = [(CLIENT, 3, 6), (CLIENT, 4, 6), (CLOSED, 1, 2)];
    assert_eq!(waited(&one), only(State::Idle, 14));
    let two = [(CLIENT, 3, 6), (SERVER, 4, 6), (CLOSED, 1, 2)];
    assert_eq!(waited(&two)[State::Unknown.key()], 2);
}

#[test]
fn an_exception_neither_decides_nor_forbids() {
    let rare = [(SERVER, 1, 4), (CLIENT, 1, 96), (CLOSED, 1, 10)];
    assert_eq!(waited(&rare)[State::Idle.key()], 106);
    let often = [(SERVER, 1, 6), (CLIENT, 1, 94), (CLOSED, 1, 10)];
    assert_eq!(waited(&often)[State::Unknown.key()], 10);
}
