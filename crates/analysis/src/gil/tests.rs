//! Timelines with looks at the GIL, and what must come out.

use whyslow_events::{Event, GilHolder, GilId, GilPlace, Pid, SpaceId, Tid};

use super::*;
use crate::script::{GIL, MS, START, Script};
use crate::wilson::interval;

const PLACE: GilPlace = GilPlace { lock: GIL, queue: GIL };

/// Looks at thread `tid`, at times in ms from the start.
fn looks(script: Script, tid: u32, looks: &[(u64, GilHolder)]) -> Script {
    let script = script.at(0, Event::Gil { id: GilId(0), space: SpaceId(1), place: PLACE });
    looks.iter().fold(script, |script, (ms, holder)| {
        let seen = Event::GilSeen { tid: Tid(tid), gil: GilId(0), holder: *holder };
        script.at(ms * MS + MS / 2, seen)
    })
}

fn times(script: &Script) -> Vec<Option<GilTime>> {
    let (tables, timeline, _) = script.read();
    assert_eq!(timeline.start, START);
    by_thread(&tables, &timeline)
}

#[test]
fn a_look_stands_for_the_time_since_the_one_before() {
    use GilHolder::{Itself, Nobody};
    let script = Script::new(1).thread("a", "########ss##########");
    let script = looks(script, 100, &[(3, Itself), (7, Nobody), (13, Itself)]);
    let time = times(&script)[0].unwrap();
    // 3.5 ms; 4 ms; 0.5 and 3.5 ms, and 6.5 ms more.
    assert_eq!([time.with_ns, time.without_ns, time.unknown_ns], [14 * MS, 4 * MS, 0]);
    let [low, high] = time.with_interval().unwrap();
    assert!(low < 14.0 / 18.0 && 14.0 / 18.0 < high && high - low > 0.3, "{low} {high}");
}

#[test]
fn a_look_at_a_thread_that_waits_says_nothing() {
    use GilHolder::{Itself, Other};
    let script = Script::new(2).thread("a", "##########").thread("b", "##gggggg##");
    let script = looks(script, 101, &[(4, Other(Some(Tid(100)))), (9, Itself)]);
    let script = looks(script, 100, &[(4, Itself)]);
    let times = times(&script);
    assert_eq!(times[1].unwrap().with_ns, 4 * MS);
    assert_eq!(times[1].unwrap().without_ns, 0);
    assert_eq!(times[0].unwrap().with_ns, 10 * MS);
}

#[test]
fn a_look_at_a_preempted_thread_counts_once() {
    let script = Script::new(1).thread("a", "####rrrr##");
    let script = looks(script, 100, &[(5, GilHolder::Itself), (7, GilHolder::Itself)]);
    let time = times(&script)[0].unwrap();
    assert_eq!(time.with_ns, 6 * MS);
    // One look for 4 ms, one for 2 ms.
    assert_eq!(time.squares, (16 * MS * MS + 4 * MS * MS) as f64);
}

#[test]
fn threads_that_no_look_hit_are_unknown_and_processes_are_summed() {
    let script = Script::new(2).thread("a", "######").thread("b", "###...");
    let script = looks(script, 100, &[(1, GilHolder::Nobody)]);
    let (tables, timeline, _) = script.read();
    let sums = by_process(&timeline, &by_thread(&tables, &timeline));
    let time = sums[&Pid(100)];
    assert_eq!([time.with_ns, time.without_ns, time.unknown_ns], [0, 6 * MS, 3 * MS]);
    assert_eq!(time.with_share(), Some(0.0));
}

#[test]
fn an_interval_narrows_with_the_looks() {
    let width = |n| interval(0.5, n)[1] - interval(0.5, n)[0];
    assert!(width(10.0) > 0.5 && (width(400.0) - 0.098).abs() < 0.002);
    assert_eq!(interval(1.0, 50.0)[1], 1.0);
    assert!(interval(1.0, 50.0)[0] > 0.9);
}
