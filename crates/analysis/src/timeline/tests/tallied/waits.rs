//! Waits of a tallied pause: where in the code they are, who ends them, and how many.

use super::*;

/// A thread that waits at `d` with a stack and is woken by another, and then as in `begin`
/// with stacks; what it waits in within the pause.
fn waits_in_pause(told: &[Event]) -> Vec<(Option<StackId>, Waker, u32)> {
    let leaves = |site: char, stack: char| {
        let stack = Some(StackId(stack.into()));
        Event::SwitchOut { tid: TID, cpu: CPU, off: blocked(site), stack }
    };
    let by = |by| Event::Wakeup { tid: TID, by };
    let events = [
        (0, thread(Entrance::Born)),
        (0, switch_in()),
        (1, leaves('d', 'd')),
        (2, by(Wakener::Foreign)),
        (3, switch_in()),
        (300, leaves('n', 'n')),
        (310, by(Wakener::Interrupt)),
        (310, switch_in()),
        (600, Event::Paused),
    ];
    let rest = [(700, Event::Resumed), (701, switch_out(Off::Dead)), (701, end())];
    let timeline = timeline(&[&events[..], &at(700, told), &rest].concat());
    let in_pause = timeline.threads[0].spans().filter(|(start, ..)| *start >= START + 600 * MS);
    let waits = in_pause.filter_map(|(.., it)| match it.doing {
        Doing::Blocked(wait) => Some((it.stack, wait.waker, wait.tallied)),
        _ => None,
    });
    waits.collect()
}

#[test]
fn a_drawn_wait_has_the_stack_and_the_waker_of_the_last_one_at_its_site() {
    let stack = |letter: char| Some(StackId(letter.into()));
    let told = |site| [tally(blocked(site), 7, [50, 0]), Event::Tallied];
    // Neither is in the pattern of the last quarter of a second.
    assert_eq!(waits_in_pause(&told('d')), [(stack('d'), Waker::Foreign, 7)]);
    assert_eq!(waits_in_pause(&told('n')), [(stack('n'), Waker::Interrupt, 7)]);
    assert!(matches!(waits_in_pause(&told('s'))[..], [(_, Waker::Unseen, 7)]));
}

#[test]
fn where_in_the_code_it_was_is_told_with_its_tally() {
    let stack = StackId('d'.into());
    for (site, waker) in [('n', Waker::Interrupt), ('s', Waker::Unseen)] {
        let place = Event::TalliedIn { tid: TID, site: SiteId(site.into()), stack };
        let told = [place, tally(blocked(site), 7, [50, 0]), Event::Tallied];
        assert_eq!(waits_in_pause(&told), [(Some(stack), waker, 7)]);
    }
}

#[test]
fn a_pattern_without_stacks_has_those_of_the_tally() {
    let stack = StackId('t'.into());
    let place = Event::TalliedIn { tid: TID, site: SiteId('s'.into()), stack };
    let told = [place, tally(blocked('s'), 8, [56, 8]), Event::Tallied];
    let timeline = timeline(&paused(&told));
    let drawn = timeline.threads[0].intervals.iter().filter_map(|it| match it.doing {
        Doing::Blocked(wait) if wait.sketched => Some(it.stack),
        _ => None,
    });
    let drawn: Vec<_> = drawn.collect();
    assert!(!drawn.is_empty() && drawn.iter().all(|it| *it == Some(stack)), "{drawn:?}");
}

#[test]
fn the_wait_that_a_pause_begins_in_is_taken_to_be_ended_as_the_last_one_there() {
    let mut events = begin();
    events.truncate(5);
    events.extend([(11, switch_out(blocked('s'))), (12, Event::Paused)]);
    events.extend(at(20, &[on_and_on(1, [3, 0]), Event::Tallied, Event::Resumed]));
    events.push((21, switch_out(Off::Dead)));
    let timeline = timeline(&events);
    let waits = timeline.threads[0].intervals.iter().filter_map(|it| match it.doing {
        Doing::Blocked(wait) => Some(wait.waker),
        _ => None,
    });
    assert_eq!(waits.collect::<Vec<_>>(), [Waker::Interrupt; 2]);
}

#[test]
fn so_much_is_kept_of_the_last_sites_only() {
    let woken_at = |site: u32| {
        let off = |site| Off::Blocked { site: Some(SiteId(site)), uninterruptible: false };
        let mut events = vec![(0, thread(Entrance::Born)), (0, switch_in())];
        for site in 0..17 {
            events.extend(at(1, &[switch_out(off(site)), wakeup(), switch_in()]));
        }
        events.push((300, Event::Paused));
        events.extend(at(310, &[tally(off(site), 1, [5, 0]), Event::Tallied, Event::Resumed]));
        events.push((311, end()));
        let timeline = timeline(&events);
        let waits = timeline.threads[0].intervals.iter().filter_map(|it| match it.doing {
            Doing::Blocked(wait) if wait.sketched => Some(wait.waker),
            _ => None,
        });
        waits.collect::<Vec<_>>()
    };
    assert_eq!(woken_at(1), [Waker::Interrupt]);
    assert_eq!(woken_at(0), [Waker::Unseen]);
}

#[test]
fn waits_are_counted_those_of_a_pause_as_well() {
    let told = [
        tally(blocked('s'), 30, [40, 5]),
        tally(blocked('d'), 2, [7, 7]),
        tally(Off::Preempted, 4, [3, 3]),
        Event::Tallied,
    ];
    let analysis = play(&paused(&told));
    let wait = row(&analysis, "sleep");
    assert_eq!((wait.count, wait.total_ns, wait.max_ns), (31, 42 * MS, 7 * MS));
    let wait = row(&analysis, "io.disk");
    assert_eq!((wait.count, wait.total_ns, wait.max_ns), (2, 0, 0));
}

#[test]
fn the_wait_that_a_pause_ends_in_goes_on_and_counts() {
    let rest = [
        (100, Event::Resumed),
        (105, wakeup()),
        (106, switch_in()),
        (107, switch_out(Off::Dead)),
        (107, end()),
    ];
    let with = |told: &[Event]| [&begin()[..], &at(100, told), &rest].concat();
    // It was at the site before: how long it is in this wait is not known.
    let many = with(&[tally(blocked('d'), 3, [60, 0]), look('d'), Event::Tallied]);
    let analysis = check(&many, "cpu.user 33 io.disk 65 runq.waking 2 sleep 7");
    let wait = row(&analysis, "io.disk");
    assert_eq!((wait.count, wait.total_ns, wait.max_ns), (4, 65 * MS, 0));
    // It is there for the first time.
    let one = with(&[tally(blocked('d'), 0, [60, 0]), look('d'), Event::Tallied]);
    let analysis = check(&one, "cpu.user 33 io.disk 65 runq.waking 2 sleep 7");
    let wait = row(&analysis, "io.disk");
    assert_eq!((wait.count, wait.total_ns, wait.max_ns), (1, 65 * MS, 65 * MS));
    assert_eq!(drawn(&timeline(&one), 0), "#2 s7 w1 #30 d65 w1 #1");
    // A look from before its last tally does not tell of its end.
    let told = [tally(blocked('d'), 3, [60, 0]), look('n'), tally(blocked('s'), 1, [0, 0])];
    let early = row(&play(&with(&told)), "io.network");
    assert_eq!((early.count, early.total_ns), (0, 5 * MS));
}
