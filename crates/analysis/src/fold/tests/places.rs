//! Where in the code time is, with a sample and without.

use super::*;

#[test]
fn cpu_time_goes_to_the_sample_that_ends_it() {
    let definitions = || {
        let symbol = |at, name| symbol(Some(SPACE), at, vec![function(name)]);
        vec![stack(901, &[], &[0xa]), stack(902, &[], &[0xb]), symbol(0xa, "a"), symbol(0xb, "b")]
    };
    let analysis = play(
        definitions(),
        &[
            (3, sample(Some(901))),
            (5, sleeps(Some(901))),
            (10, wakes()),
            (11, sample(Some(902))),
            (18, end()),
        ],
    );
    assert_eq!(lines(&analysis, View::Wall), ["prog;a 3", "prog;a;[sleep] 5", "prog;b 10"]);
    let last_instants = [
        (5, sample(Some(901))),
        (5, sleeps(Some(901))),
        (7, wakes()),
        (8, sample(Some(902))),
        (8, sleeps(Some(901))),
    ];
    assert_eq!(lines(&play(definitions(), &last_instants), View::Cpu), ["prog;a 5", "prog;b 1"]);
    let analysis = play(definitions(), &[(0, wakes()), (5, sleeps(None)), (9, end())]);
    assert_eq!(lines(&analysis, View::Wall), ["prog;[no stack];[sleep] 4", "prog;[not sampled] 5"]);
}

#[test]
fn a_thread_that_waits_for_its_first_cpu_has_no_stack_to_be_had() {
    let (tid, cpu, name) = (Tid(101), Cpu(0), "next".to_owned());
    let born = Event::Thread { tid, pid: Pid(100), name, entrance: Entrance::Born };
    let preempted = Event::SwitchOut { tid, cpu, off: Off::Preempted, stack: None };
    let analysis = play(
        vec![],
        &[
            (0, wakes()),
            (2, born),
            (4, sleeps(None)),
            (4, Event::SwitchIn { tid, cpu }),
            (5, preempted),
            (5, wakes()),
            (7, end()),
        ],
    );
    let found = lines(&analysis, View::OffCpu);
    assert!(found.contains(&"prog;next;[not begun];[runq.waking] 2".to_owned()), "{found:?}");
    assert!(found.contains(&"prog;next;[no stack];[runq.preempted] 2".to_owned()), "{found:?}");
    // Two of five: of the other waits a stack could have been had.
    let reach = &analysis.report.quality.stacks.waits;
    assert_eq!((reach.complete, reach.none), (0.4, 0.6));
}
