//! Timelines with looks at the GIL, and what must come out.

use whyslow_events::{
    CodeId, Event, GilHolder, GilId, GilPlace, Pid, ScriptFrame, SiteId, SpaceId, StackEnd,
    StackId, Tid,
};

use super::*;
use crate::account::Accountant;
use crate::quota::Quotas;
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
    of(&tables, &timeline)
}

fn of(tables: &Tables, timeline: &Timeline) -> Vec<Option<GilTime>> {
    let quotas = Quotas::of_one(tables, timeline);
    let accounts = Accountant::of(tables, timeline).accounts(tables, timeline, &quotas);
    by_thread(tables, timeline, &Known::of(tables, timeline, &accounts))
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
    // While the other waits it is known, and no look says anything of the rest.
    let a = times[0].unwrap();
    assert_eq!([a.with_ns, a.unknown_ns], [6 * MS, 4 * MS]);
    assert_eq!(a.with_interval(), Some([1.0; 2]));
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
    let sums = by_process(&timeline, &of(&tables, &timeline));
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

/// Defines a stack whose innermost call is `function`, number `id`, at `line`.
fn called(script: Script, id: u32, function: u32, line: u32) -> Script {
    let names = ["ask", "other"];
    let (code, outer) = (CodeId(function), ScriptFrame { code: CodeId(9), line: 1, entry: true });
    let name = |id: CodeId, function: &str| Event::Code {
        id,
        function: function.to_owned(),
        file: "/srv/app.py".to_owned(),
    };
    let stack = Event::Stack {
        id: StackId(id),
        space: SpaceId(1),
        kernel: vec![],
        user: vec![1],
        end: StackEnd::Complete,
        script: vec![ScriptFrame { code, line, entry: true }, outer],
    };
    let script = script.at(0, name(code, names[function as usize])).at(0, name(CodeId(9), "main"));
    script.at(0, stack)
}

fn looked(script: Script, ms: u64, stack: u32) -> Script {
    let (site, stack) = (SiteId('g'.into()), Some(StackId(stack)));
    script.at(ms * MS + MS / 2, Event::Look { tid: Tid(100), site, stack })
}

#[test]
fn a_wait_that_nobody_looked_at_has_the_line_of_those_before_and_after() {
    let script = Script::new(2).thread("a", "##gg##gg##gg##").thread("b", "##############");
    let script = script.at(0, Event::Gil { id: GilId(0), space: SpaceId(1), place: PLACE });
    let script = called(called(script, 900, 0, 34), 901, 1, 50);
    let lines = |script: Script| script.run().report.gil.unwrap().lines;
    let [ask] = &lines(looked(looked(script.clone(), 2, 900), 10, 900))[..] else { panic!() };
    assert_eq!(ask.r#where.as_deref(), Some("ask (app.py:34)"));
    assert_eq!((ask.count, ask.waiting_ns, ask.inferred_ns), (3, 6 * MS, 2 * MS));
    // It has gone on to another function meanwhile.
    let lines = lines(looked(looked(script, 2, 900), 10, 901));
    let unknown = lines.iter().find(|line| line.r#where.is_none()).unwrap();
    assert_eq!((unknown.count, unknown.inferred_ns), (1, 0));
}

#[test]
fn who_wakes_one_that_waits_had_it_and_looks_tell_the_rest() {
    use GilHolder::{Itself, Nobody};
    let script = Script::new(2).thread("a", "####gggg####").thread("b", "############");
    // Beside it, half of the looks see it held.
    let script = looks(script, 101, &[(1, Nobody), (5, Itself), (10, Itself)]);
    let gil = script.run().report.gil.unwrap();
    let [lock] = &gil.locks[..] else { panic!("{gil:?}") };
    assert!((lock.held_share - 8.0 / 12.0).abs() < 1e-9, "{lock:?}");
    let [low, high] = lock.held_interval.unwrap();
    assert!(low < 0.5 && 0.8 < high && high < 1.0, "{lock:?}");
    let [edge] = &gil.edges[..] else { panic!("{gil:?}") };
    assert_eq!((edge.waiter, edge.holder, edge.ns), (100, 101, 4 * MS));
    assert_eq!((gil.holder_looks, gil.holder_agree), (1, 1));
    assert_eq!((gil.free_ns, gil.holder_unknown_ns), (0, 0));
}

#[test]
fn a_free_threaded_build_has_no_gil_unless_one_was_seen() {
    let name = "cpython 3.13.5 free-threaded".to_owned();
    let runtime = Event::Runtime { space: SpaceId(1), name, gil: Some(GIL) };
    let script = Script::new(2).thread("a", "########").thread("b", "########").at(0, runtime);
    let report = script.run().report;
    assert_eq!(report.gil, None);
    let told = report.prescription.unwrap().because.join("; ");
    assert!(!told.contains("holds the interpreter lock"), "{told}");
    let seen = looks(script, 100, &[(1, GilHolder::Itself)]).run().report;
    assert!(seen.gil.is_some_and(|gil| gil.with_ns > 0));
}
