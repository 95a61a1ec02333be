//! What flamegraphs and tables show of one small program.

mod functions;
mod places;

use whyslow_events::{
    CodeId, Cpu, Entrance, Event, Frame, InMemory, Ns, Off, Pid, ScriptFrame, Seen, SiteId,
    SpaceId, StackEnd, StackId, SymbolKey, Tid, Wakener,
};

use crate::script::{MS, START, Script, function, header};
use crate::{Analysis, Detail, View, analyze, analyze_in};

const SPACE: SpaceId = SpaceId(1);

/// `frames weight` for each stack of a view, `;` between frames, weight in ms.
fn lines(analysis: &Analysis, view: View) -> Vec<String> {
    let folded = analysis.stacks.folded(view);
    folded.iter().map(|it| format!("{} {}", it.frames.join(";"), it.weight_ns / MS)).collect()
}

fn stack(id: u32, kernel: &[u64], user: &[u64]) -> (u64, Event) {
    let (kernel, user) = (kernel.to_vec(), user.to_vec());
    (
        START,
        Event::Stack {
            id: StackId(id),
            space: SPACE,
            kernel,
            user,
            end: StackEnd::Complete,
            script: vec![],
        },
    )
}

/// A user stack that ends so.
fn ended(id: u32, user: &[u64], end: StackEnd) -> (u64, Event) {
    let user = user.to_vec();
    (
        START,
        Event::Stack { id: StackId(id), space: SPACE, kernel: vec![], user, end, script: vec![] },
    )
}

fn symbol(space: Option<SpaceId>, address: u64, frames: Vec<Frame>) -> (u64, Event) {
    (START, Event::Symbols(vec![(SymbolKey { space, address }, frames)]))
}

fn in_libc(name: &str) -> Frame {
    let module = "/lib/libc.so.6".to_owned();
    Frame { function: name.to_owned(), module, ..Frame::default() }
}

/// Plays events of one thread, at ms, after the definitions.
fn play(definitions: Vec<(u64, Event)>, events: &[(u64, Event)]) -> Analysis {
    play_in(Detail::default(), definitions, events)
}

fn play_in(detail: Detail, definitions: Vec<(u64, Event)>, events: &[(u64, Event)]) -> Analysis {
    let mut all = Script::new(1).events();
    all.pop();
    all.push((
        START,
        Event::Process { pid: Pid(100), parent: None, space: SPACE, name: "prog".to_owned() },
    ));
    all.extend(definitions);
    all.push((
        START,
        Event::Thread {
            tid: Tid(100),
            pid: Pid(100),
            name: "prog".to_owned(),
            entrance: Entrance::Found(Seen::Runnable),
        },
    ));
    all.extend(events.iter().map(|(ms, event)| (START + ms * MS, event.clone())));
    analyze_in(&mut InMemory::new(header(1), all), detail)
}

fn sample(stack: Option<u32>) -> Event {
    let stack = stack.map(StackId);
    Event::Sample { tid: Tid(100), cpu: Cpu(0), kernel: false, stack }
}

fn sleeps(stack: Option<u32>) -> Event {
    let off = Off::Blocked { site: Some(SiteId('s'.into())), uninterruptible: false };
    Event::SwitchOut { tid: Tid(100), cpu: Cpu(0), off, stack: stack.map(StackId) }
}

fn wakes() -> Event {
    Event::SwitchIn { tid: Tid(100), cpu: Cpu(0) }
}

fn end() -> Event {
    Event::End { exit: None }
}

#[test]
fn each_view_shows_its_part() {
    let script = Script::new(2).thread("main", "####ssssaaaa").thread("worker", "....ddddKKKK");
    let analysis = script.run();
    let cpu = ["prog;main;do_# 4", "prog;worker;main;do_K 4"];
    let disk = "prog;worker;main;do_d;[io.disk] 4";
    let sleep = "prog;main;do_s;[sleep] 4";
    assert_eq!(lines(&analysis, View::Cpu), cpu);
    assert_eq!(lines(&analysis, View::OffCpu), [sleep, disk]);
    assert_eq!(lines(&analysis, View::Wall), [cpu[0], sleep, cpu[1], disk]);
    // The sleep is nobody's bottleneck while the disk is waited for.
    assert_eq!(lines(&analysis, View::Bottleneck), [cpu[0], cpu[1], disk]);
}

#[test]
fn chains_go_from_the_root_to_the_kernel_and_inlined_functions_are_frames() {
    let inlined = Frame { inlined: true, ..function("inner") };
    let analysis = play(
        vec![
            stack(900, &[0xf0, 0xf1], &[0x10, 0x20]),
            symbol(Some(SPACE), 0x10, vec![inlined, function("outer")]),
            symbol(Some(SPACE), 0x20, vec![function("start")]),
            symbol(None, 0xf0, vec![in_libc("vfs_read")]),
        ],
        &[(1, sample(Some(900))), (2, end())],
    );
    let expected = "prog;start;outer;inner_[i];0xf1_[k];vfs_read_[k] 2";
    assert_eq!(lines(&analysis, View::Cpu), [expected]);
    let hot = &analysis.report.hot;
    assert_eq!((hot[0].function.as_str(), hot[0].self_cpu_ns), ("vfs_read_[k]", 2 * MS));
    assert!(hot.iter().all(|hot| hot.total_cpu_ns == 2 * MS));
}

#[test]
fn an_address_without_a_symbol_is_shown_by_its_module() {
    let mapping = Event::Mapping {
        space: SPACE,
        start: 0x1000,
        end: 0x2000,
        file_offset: 0x400,
        path: "/usr/lib/libz.so.1".to_owned(),
        build_id: vec![],
    };
    let analysis = play(
        vec![(START, mapping), stack(900, &[], &[0x5000, 0x1010])],
        &[(1, sample(Some(900))), (2, end())],
    );
    assert_eq!(lines(&analysis, View::Cpu), ["prog;libz.so.1+0x410;0x5000 2"]);
    assert_eq!(analysis.report.quality.stack_coverage, 0.0);
}

#[test]
fn a_wait_without_a_stack_borrows_that_of_its_site() {
    let definitions = vec![stack(901, &[], &[0xa]), symbol(Some(SPACE), 0xa, vec![function("a")])];
    let wakeup = Event::Wakeup { tid: Tid(100), by: Wakener::Interrupt };
    let turns = [
        (1, sleeps(None)),
        (3, wakes()),
        (4, sleeps(Some(901))),
        (6, wakes()),
        (7, sleeps(None)),
        (9, wakeup),
        (12, wakes()),
        (13, end()),
    ];
    let analysis = play(definitions, &turns);
    let expected = ["prog;a;[runq.waking] 3", "prog;a;[sleep] 6"];
    assert_eq!(lines(&analysis, View::OffCpu), expected);
}

#[test]
fn a_wait_that_began_unseen_goes_into_the_kernel_as_others_do() {
    let definitions = vec![
        stack(901, &[], &[0xa, 0xc]),
        stack(902, &[0xf0], &[0xa, 0xc]),
        stack(903, &[0xf1], &[0xa, 0xc]),
        stack(904, &[], &[0xa, 0xd]),
        stack(905, &[0xf0], &[0xb, 0xc]),
        stack(906, &[], &[0xb, 0xd]),
    ];
    let names = [(0xa, "a"), (0xb, "b"), (0xc, "c"), (0xd, "d")];
    let users = names.map(|(at, name)| symbol(Some(SPACE), at, vec![function(name)]));
    let kernel = [(0xf0, "nap"), (0xf1, "other")];
    let kernel = kernel.map(|(at, name)| symbol(None, at, vec![in_libc(name)]));
    let definitions = definitions.into_iter().chain(users).chain(kernel).collect();
    // With 0xa two ways are known, with 0xb one.
    let waits = [(901, 4), (902, 3), (903, 1), (904, 2), (905, 1), (906, 2)];
    let mut now = 0;
    let mut turns = vec![];
    for (stack, ms) in waits {
        turns.extend([(now, sleeps(Some(stack))), (now + ms, wakes())]);
        now += ms;
    }
    turns.extend([(now, sample(Some(904))), (now + 1, end())]);
    let analysis = play(definitions, &turns);
    let expected = [
        "prog;c;a;nap_[k];[sleep] 7",
        "prog;c;a;other_[k];[sleep] 1",
        "prog;c;b;nap_[k];[sleep] 1",
        "prog;d;a;[sleep] 2",
        "prog;d;b;nap_[k];[sleep] 2",
    ];
    assert_eq!(lines(&analysis, View::OffCpu), expected);
    assert_eq!(lines(&analysis, View::Cpu), ["prog;d;a 1"]);
}

#[test]
fn a_stack_without_a_user_half_is_lent_a_whole_one() {
    let definitions = || {
        let symbol = |at, name| symbol(Some(SPACE), at, vec![function(name)]);
        vec![
            ended(901, &[0xb], StackEnd::None),
            stack(902, &[], &[0xb, 0xa]),
            symbol(0xa, "a"),
            symbol(0xb, "b"),
        ]
    };
    let turns = [(1, sleeps(Some(901))), (3, wakes()), (4, sleeps(Some(902))), (6, wakes())];
    let lent = play(definitions(), &[&turns[..], &[(7, end())]].concat());
    assert_eq!(lines(&lent, View::OffCpu), ["prog;a;b;[sleep] 4"]);
    let waits = &lent.report.quality.stacks.waits;
    let same_site = [("same-site".to_owned(), 0.5)].into();
    assert_eq!((waits.complete, &waits.truncated), (0.5, &same_site));
    let alone = play(definitions(), &[&turns[..2], &[(7, end())]].concat());
    assert_eq!(lines(&alone, View::OffCpu), ["prog;b;[sleep] 2"]);
    assert_eq!(alone.report.quality.stacks.waits.none, 1.0);
}

#[test]
fn two_callers_at_one_site_are_told_apart_or_one_is_guessed_and_not_counted_as_whole() {
    let symbol = |at, name| symbol(Some(SPACE), at, vec![function(name)]);
    let definitions = vec![
        stack(901, &[], &[0xf, 0xa]),
        stack(902, &[], &[0xf, 0xb]),
        symbol(0xa, "a"),
        symbol(0xb, "b"),
        symbol(0xf, "wait"),
    ];
    let turns = [
        (1, sleeps(Some(901))),
        (3, wakes()),
        (4, sleeps(Some(902))),
        (6, wakes()),
        (7, sleeps(None)),
        (11, wakes()),
        (12, end()),
    ];
    let analysis = play(definitions, &turns);
    let expected = ["prog;a;wait;[sleep] 2", "prog;b;wait;[sleep] 6"];
    assert_eq!(lines(&analysis, View::OffCpu), expected);
    let waits = &analysis.report.quality.stacks.waits;
    let same_site = [("same-site".to_owned(), 0.5)].into();
    assert_eq!((waits.complete, waits.lent, &waits.truncated), (0.5, 0.0, &same_site));
}

#[test]
fn a_name_holds_for_its_time() {
    let symbol = |at, name| symbol(Some(SPACE), at, vec![function(name)]);
    let renamed = |ms, name| {
        let key = SymbolKey { space: Some(SPACE), address: 0xb };
        let event =
            Event::Renamed { key, since: Ns(START + ms * MS), frames: vec![function(name)] };
        (START, event)
    };
    let definitions = vec![
        stack(901, &[], &[0xb, 0xa]),
        stack(902, &[], &[0xa]),
        symbol(0xa, "a"),
        symbol(0xb, "b"),
        renamed(7, "d"),
        renamed(3, "c"),
    ];
    let samples = (1..=9).map(|ms| (ms, sample(Some(if ms == 5 { 902 } else { 901 }))));
    let turns: Vec<_> = [(0, wakes())].into_iter().chain(samples).chain([(9, end())]).collect();
    let expected = ["prog;a 1", "prog;a;b 2", "prog;a;c 3", "prog;a;d 3"];
    assert_eq!(lines(&play(definitions, &turns), View::Cpu), expected);
}

#[test]
fn a_thread_that_has_not_run_yet_is_where_it_begins() {
    let symbol = |at, name| symbol(Some(SPACE), at, vec![function(name)]);
    let definitions = vec![stack(901, &[], &[0xb, 0xa]), symbol(0xa, "a"), symbol(0xb, "b")];
    let (tid, cpu, name) = (Tid(101), Cpu(0), "prog".to_owned());
    let born = Event::Thread { tid, pid: Pid(100), name, entrance: Entrance::Born };
    let sample = Event::Sample { tid, cpu, kernel: false, stack: Some(StackId(901)) };
    let turns = [
        (0, wakes()),
        (0, sleeps(None)),
        (1, born),
        (4, Event::SwitchIn { tid, cpu }),
        (6, sample),
        (8, end()),
    ];
    let analysis = play(definitions, &turns);
    let waits = lines(&analysis, View::OffCpu);
    assert!(waits.contains(&"prog;a;[runq.waking] 3".to_owned()), "{waits:?}");
}

#[test]
fn the_reach_of_stacks_is_told_by_reason() {
    let ends = [StackEnd::Complete, StackEnd::Extended, StackEnd::NoUnwindInfo, StackEnd::None];
    let definitions = ends.iter().zip(1..).map(|(end, id)| ended(id, &[0xa], *end)).collect();
    let samples = (1..=4).map(|ms| (ms, sample(Some(ms as u32)))).collect::<Vec<_>>();
    let analysis = play(definitions, &[&[(0, wakes())], &samples[..], &[(4, end())]].concat());
    let reach = &analysis.report.quality.stacks.cpu;
    assert_eq!((reach.complete, reach.extended, reach.none), (0.5, 0.25, 0.25));
    assert_eq!(reach.truncated, [("no-unwind-info".to_owned(), 0.25)].into());
}

#[test]
fn a_call_and_its_trampoline_are_shown_once() {
    let script = [(1, 7, true), (0, 3, true)];
    let mut events = interpreted(&[2, 9, 2, 8, 1, 5], &script);
    for (at, name) in [(8, "<module>"), (9, "work")] {
        let file = Some("/srv/app.py".to_owned());
        let module = "[jit]".to_owned();
        let frame = Frame { module, file, line: None, ..function(name) };
        events.push(symbol(Some(SPACE), at, vec![frame]));
    }
    let analysis = play(events, &[(1, sample(Some(900))), (2, end())]);
    assert_eq!(lines(&analysis, View::Cpu), ["prog;clone3;<module> (app.py:3);work (app.py:7) 2"]);
}

/// A Python program: `main` calls `work` in the same evaluation, `work` a native
/// library that calls `key` back in another.
fn interpreted(user: &[u64], script: &[(u32, u32, bool)]) -> Vec<(u64, Event)> {
    let frame =
        |name: &str, module: &str| vec![Frame { module: module.to_owned(), ..function(name) }];
    let symbol = |at, name, module| symbol(Some(SPACE), at, frame(name, module));
    let code = |id, name: &str| {
        let (function, file) = (name.to_owned(), "/srv/app.py".to_owned());
        (START, Event::Code { id: CodeId(id), function, file })
    };
    let script = script
        .iter()
        .map(|(code, line, entry)| ScriptFrame { code: CodeId(*code), line: *line, entry: *entry })
        .collect();
    let (kernel, user, end) = (vec![], user.to_vec(), StackEnd::Complete);
    vec![
        symbol(1, "main", "python3.11"),
        symbol(2, "_PyEval_EvalFrameDefault", "python3.11"),
        symbol(3, "list_sort", "python3.11"),
        symbol(4, "sort", "sort.cpython-311.so"),
        symbol(5, "clone3", "libc.so.6"),
        code(0, "<module>"),
        code(1, "work"),
        code(2, "key"),
        (START, Event::Stack { id: StackId(900), space: SPACE, kernel, user, end, script }),
    ]
}

#[test]
fn calls_stand_in_the_place_of_the_interpreters_frames() {
    let script = [(2, 9, true), (1, 7, false), (0, 3, true)];
    let native = [3, 2, 4, 3, 2, 1, 5];
    let fits = play(interpreted(&native, &script), &[(1, sample(Some(900))), (2, end())]);
    let expected = "prog;clone3;<module> (app.py:3);work (app.py:7);sort;key (app.py:9) 2";
    assert_eq!(lines(&fits, View::Cpu), [expected]);
    let hot = &fits.report.hot[0];
    assert_eq!(
        (hot.function.as_str(), hot.file.as_deref(), hot.line),
        ("key", Some("/srv/app.py"), Some(9))
    );
}

#[test]
fn calls_of_another_moment_are_kept_beside_the_native_frames() {
    let script = [(2, 9, true), (1, 7, false), (0, 3, true)];
    let native = [4, 3, 2, 1, 5];
    let differs = play(interpreted(&native, &script), &[(1, sample(Some(900))), (2, end())]);
    let expected = "prog;clone3;<module> (app.py:3);work (app.py:7);key (app.py:9);\
                    [native, of another moment];sort 2";
    assert_eq!(lines(&differs, View::Cpu), [expected]);
    assert_eq!(differs.report.hot[0].function, "sort");
}

#[test]
fn calls_of_another_moment_give_way_to_those_of_who_came_the_same_way() {
    let native = [4, 3, 2, 1, 5];
    let mut events = interpreted(&native, &[(1, 7, false), (0, 3, true)]);
    let script =
        [(2, 9), (0, 3)].map(|(code, line)| ScriptFrame { code: CodeId(code), line, entry: true });
    let (kernel, user, end_) = (vec![], native.to_vec(), StackEnd::Complete);
    let (id, space, script) = (StackId(901), SPACE, script.to_vec());
    events.push((START, Event::Stack { id, space, kernel, user, end: end_, script }));
    let samples = [(1, sample(Some(900))), (2, sample(Some(901))), (2, end())];
    let analysis = play(events, &samples);
    let expected = ["prog;clone3;<module> (app.py:3);work (app.py:7);sort 2"];
    assert_eq!(lines(&analysis, View::Cpu), expected);
    assert_eq!(analysis.report.quality.stacks.cpu.calls_inferred, 0.5);
}

#[test]
fn what_the_kernel_does_in_a_threads_time_is_labelled() {
    let names = [
        (0xf0, "net_rx_action"),
        (0xf1, "handle_softirqs"),
        (0xf2, "asm_sysvec_apic_timer_interrupt"),
        (0xf3, "native_queued_spin_lock_slowpath"),
        (0xf4, "osq_lock_init"),
    ];
    let mut definitions: Vec<_> =
        names.iter().map(|(at, name)| symbol(None, *at, vec![function(name)])).collect();
    definitions.push(stack(1, &[0xf0, 0xf1, 0xf2], &[0xa]));
    definitions.push(stack(2, &[0xf3, 0xf4], &[0xa]));
    let analysis =
        play(definitions, &[(0, wakes()), (1, sample(Some(1))), (2, sample(Some(2))), (2, end())]);
    let expected = [
        "prog;0xa;[interrupt]_[k];asm_sysvec_apic_timer_interrupt_[k];[softirq]_[k];handle_softirqs_[k];\
         net_rx_action_[k] 1",
        "prog;0xa;osq_lock_init_[k];[spin]_[k];native_queued_spin_lock_slowpath_[k] 1",
    ];
    assert_eq!(lines(&analysis, View::Cpu), expected);
}

#[test]
fn a_place_of_waiting_is_the_innermost_function_of_the_programs_own() {
    let definitions = || {
        vec![
            stack(901, &[], &[0xa, 0xb]),
            stack(902, &[], &[0xa]),
            symbol(Some(SPACE), 0xa, vec![in_libc("clock_nanosleep")]),
            symbol(Some(SPACE), 0xb, vec![function("nap")]),
        ]
    };
    let place = |id| {
        let turns = [(1, sleeps(Some(id))), (3, wakes()), (4, end())];
        play(definitions(), &turns).report.waits.remove(0).r#where
    };
    assert_eq!(place(901).as_deref(), Some("nap (nap.c:10)"));
    assert_eq!(place(902).as_deref(), Some("clock_nanosleep (libc.so.6)"));
}

#[test]
fn waits_are_counted_by_what_they_wait_for() {
    let script = Script::new(2).thread("main", "#s#ss#sss#n#nn#aaaaa");
    let waits = script.run().report.waits;
    let table: Vec<_> = waits
        .iter()
        .map(|it| (it.state.as_str(), it.count, it.total_ns / MS, it.p50_ns / MS, it.p99_ns / MS))
        .collect();
    assert_eq!(table, [("sleep", 3, 6, 2, 3), ("idle", 1, 5, 5, 5), ("io.network", 2, 3, 1, 2)]);
    assert_eq!(waits[2].object.as_deref(), Some("tcp 10.0.0.2:5432"));
    assert_eq!(waits[0].object, None);
}

#[test]
fn the_report_of_nothing_is_a_report() {
    let report = analyze(&mut InMemory::new(header(0), Vec::new())).report;
    assert_eq!(report.verdict.class, crate::report::Class::Inconclusive);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["prescription"]["model"], "unknown");
    assert!(json["quality"]["damage"].is_null());
    assert_eq!(serde_json::from_value::<crate::report::Report>(json).unwrap(), report);
}

#[test]
fn a_walk_that_left_all_code_is_cut_there() {
    let mapping = |start| {
        let (end, path) = (start + 0x100, "/bin/prog".to_owned());
        (START, Event::Mapping { space: SPACE, start, end, file_offset: 0, path, build_id: vec![] })
    };
    let name = |address| {
        symbol(
            Some(SPACE),
            address,
            vec![Frame { module: "prog".to_owned(), ..function(&format!("f{address:x}")) }],
        )
    };
    let definitions = vec![
        mapping(0x1000),
        ended(1, &[0x1010, 0x1020, 0xdead_0000, 0x1030], StackEnd::FramePointers),
        ended(2, &[0xdead_0000, 0x1020], StackEnd::FramePointers),
        name(0x1010),
        name(0x1020),
        name(0x1030),
    ];
    let events = [(0, wakes()), (1, sample(Some(1))), (2, sample(Some(2))), (3, end())];
    let analysis = play(definitions, &events);
    // The innermost address is where the thread truly was, in no code we know.
    assert_eq!(lines(&analysis, View::Cpu), ["prog;f1020;0xdead0000 2", "prog;f1020;f1010 1"]);
}
