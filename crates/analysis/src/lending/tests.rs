//! Streams of one thread that waits, with looks at some of its waits.

use whyslow_events::{
    Capabilities, Cpu, Entrance, Entry, Event, EventSource, InMemory, Object, Off, Pid, Site,
    SiteId, Tid, Timed,
};

use super::Lending;
use crate::script::{START, header};

const SLEEP: SiteId = SiteId(1);
const DISK: SiteId = SiteId(2);
const SHORT: u64 = 100_000;
const LONG: u64 = 7_000_000;

/// A wait: how long, and what a look at it saw.
type Drawn = (u64, Option<SiteId>);

fn source(waits: &[Drawn], capabilities: Capabilities) -> InMemory {
    let (tid, cpu) = (Tid(100), Cpu(0));
    let name = "main".to_owned();
    let mut now = START;
    let mut events =
        vec![(now, Event::Thread { tid, pid: Pid(100), name, entrance: Entrance::Born })];
    events.push((now, Event::SwitchIn { tid, cpu }));
    for (span, seen) in waits {
        let off = Off::Blocked { site: None, uninterruptible: false };
        events.push((now + 1000, Event::SwitchOut { tid, cpu, off, stack: None }));
        let look = seen.map(|site| Event::Look { tid, site, stack: None });
        events.extend(look.map(|look| (now + 1000 + span / 2, look)));
        now += 1000 + span;
        events.push((now, Event::SwitchIn { tid, cpu }));
    }
    events.push((now, Event::End { exit: None }));
    let mut header = header(1);
    header.capabilities = capabilities;
    InMemory::new(header, events)
}

/// Threads that wait side by side, and where each site is in the code.
fn side_by_side(threads: &[&[Drawn]], places: &[(SiteId, u64)]) -> InMemory {
    let mut events = vec![];
    for (id, pc) in places {
        let entry = Entry::Syscall("futex".to_owned());
        let site = Site { pid: Pid(100), entry, pc: *pc, object: Object::None };
        events.push((START, Event::Site { id: *id, site }));
    }
    for (number, waits) in (0..).zip(threads) {
        let mut one = source(waits, looks());
        while let Some(Timed { time, event }) = one.next_event().unwrap() {
            let (tid, cpu) = (Tid(100 + number), Cpu(number));
            let event = match event {
                Event::Thread { pid, name, entrance, .. } => {
                    Event::Thread { tid, pid, name, entrance }
                }
                Event::SwitchIn { .. } => Event::SwitchIn { tid, cpu },
                Event::SwitchOut { off, stack, .. } => Event::SwitchOut { tid, cpu, off, stack },
                Event::Look { site, stack, .. } => Event::Look { tid, site, stack },
                _ => continue,
            };
            events.push((time.0, event));
        }
    }
    events.sort_by_key(|(time, _)| *time);
    let mut header = header(2);
    header.capabilities = looks();
    InMemory::new(header, events)
}

fn looks() -> Capabilities {
    Capabilities { exact_switches: true, causes: true, ..Capabilities::default() }
}

fn all(source: &mut dyn EventSource) -> Vec<Event> {
    std::iter::from_fn(|| source.next_event().unwrap()).map(|timed| timed.event).collect()
}

/// Where each wait is that ended, and what is said of how that is known.
fn lent(waits: &[Drawn], room: usize) -> (Vec<Option<SiteId>>, Option<String>) {
    let mut source = source(waits, looks());
    let mut lending = Lending::looking_ahead(&mut source, room);
    let given = all(&mut lending);
    lending.repeat().unwrap();
    assert_eq!(all(&mut lending), given, "read again");
    let (mut sites, mut site, mut said) = (vec![], None, None);
    for event in given {
        match event {
            Event::Look { site: seen, .. } => site = Some(seen),
            Event::SwitchIn { .. } => sites.push(site.take()),
            Event::Fallback(fallback) => said = Some(fallback.got),
            _ => {}
        }
    }
    // The first begins its life.
    (sites.split_off(1), said)
}

#[test]
fn a_wait_is_like_one_that_is_seen_later_as_like_one_seen_before() {
    let waits = [(SHORT, None), (SHORT, Some(SLEEP)), (SHORT, None)];
    let (sites, said) = lent(&waits, 100);
    assert_eq!(sites, [Some(SLEEP); 3]);
    let said = said.unwrap();
    assert!(said.starts_with("1 looked at (33."), "{said}");
    assert!(said.contains("2 taken to be like") && said.contains("0 unknown"), "{said}");
}

#[test]
fn a_wait_that_a_look_found_over_is_no_longer_than_that() {
    let mut source = source(&[(SHORT, Some(DISK)), (LONG, Some(SLEEP)), (LONG, None)], looks());
    let mut events = vec![];
    while let Some(Timed { time, event }) = source.next_event().unwrap() {
        events.push((time.0, event));
    }
    let last = events.iter().rposition(|(_, it)| matches!(it, Event::SwitchIn { .. })).unwrap();
    let awake = events[last].0 - LONG + SHORT;
    events.insert(last, (awake, Event::Awake { tid: Tid(100) }));
    let mut source = InMemory::new(source.header().clone(), events);
    let given = all(&mut Lending::looking_ahead(&mut source, 100));
    let place = given.iter().position(|it| matches!(it, Event::Awake { .. })).unwrap();
    let lent = Event::Look { tid: Tid(100), site: DISK, stack: None };
    assert_eq!(given[place - 1], lent, "before it is known that the wait is over");
    let looks = given.iter().filter(|it| matches!(it, Event::Look { .. })).count();
    assert_eq!(looks, 3, "and once");
}

#[test]
fn what_takes_longer_is_no_example_and_stays_unknown() {
    let waits = [(SHORT, None), (LONG, Some(DISK)), (SHORT, None)];
    let (sites, said) = lent(&waits, 100);
    assert_eq!(sites, [None, Some(DISK), None]);
    assert!(said.unwrap().contains("2 unknown (2.8 %)"));
}

#[test]
fn each_length_has_its_own() {
    let one = [(SHORT, None), (LONG, None), (SHORT, Some(SLEEP)), (LONG, Some(DISK))];
    assert_eq!(lent(&one, 100).0, [SLEEP, DISK, SLEEP, DISK].map(Some));
    let mut turned = one;
    turned.reverse();
    assert_eq!(lent(&turned, 100).0, [DISK, SLEEP, DISK, SLEEP].map(Some));
}

#[test]
fn the_first_that_is_seen_does_not_decide_for_all() {
    let mut waits = vec![(SHORT, None); 100];
    waits.push((SHORT, Some(DISK)));
    waits.extend([(SHORT, Some(SLEEP)); 19]);
    let (sites, _) = lent(&waits, 1000);
    let disk = sites[..100].iter().filter(|site| **site == Some(DISK)).count();
    assert!((3..=7).contains(&disk), "{disk}");
}

#[test]
fn a_thread_of_a_pool_is_not_taken_to_do_what_only_the_main_thread_does() {
    let pool: Vec<Drawn> = [vec![(LONG, Some(SLEEP))], vec![(SHORT, None); 5]].concat();
    let main = [(SHORT, Some(DISK)); 20];
    let lent = |main: &[Drawn], disk: u64| {
        let mut source = side_by_side(&[&pool, main], &[(SLEEP, 0x10), (DISK, disk)]);
        let given = all(&mut Lending::new(&mut source));
        let is_lent = |it: &&Event| matches!(it, Event::Look { tid: Tid(100), site: DISK, .. });
        given.iter().filter(is_lent).count()
    };
    assert_eq!(lent(&main, 0x20), 0);
    // It waits at the same call, or does what they do, too.
    assert_eq!(lent(&main, 0x10), 5);
    let main = [&main[..], &[(LONG, Some(SLEEP))]].concat();
    assert_eq!(lent(&main, 0x20), 5);
}

#[test]
fn what_is_too_far_ahead_does_not_tell() {
    let mut waits = vec![(SHORT, None); 50];
    waits.push((SHORT, Some(SLEEP)));
    let (sites, _) = lent(&waits, 20);
    let known = sites.iter().filter(|site| site.is_some()).count();
    assert!((2..20).contains(&known), "{known}");
    assert!(sites[0].is_none() && sites[49].is_some());
}

#[test]
fn where_every_wait_is_recorded_nothing_is_lent() {
    let waits = [(SHORT, None), (SHORT, Some(SLEEP))];
    let mut plain = source(&waits, Capabilities::ALL);
    let events = all(&mut plain);
    plain.repeat().unwrap();
    assert_eq!(all(&mut Lending::new(&mut plain)), events);
}
