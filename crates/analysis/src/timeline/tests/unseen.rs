//! Waits for the interpreter lock that nobody looked at, and the calls they get.

use whyslow_events::{
    CodeId, Cpu, Event, Frame, ScriptFrame, SiteId, SpaceId, StackEnd, StackId, SymbolKey, Tid,
};

use crate::Analysis;
use crate::script::{MS, Script};

const EVALUATES: u64 = 0x10;
const COMPRESSES: u64 = 0x20;
const HASHES: u64 = 0x21;
const LOCKS: u64 = 0x30;

/// A stack of the native function `called`, which waits for the lock or for something
/// else, and of the call at `line` if it was seen.
fn stack(id: u32, called: u64, end: StackEnd, line: Option<u32>) -> Event {
    let script = line.map(|line| ScriptFrame { code: CodeId(0), line, entry: true });
    Event::Stack {
        id: StackId(id),
        space: SpaceId(1),
        kernel: vec![],
        user: vec![LOCKS, called, EVALUATES, 1],
        end,
        script: script.into_iter().collect(),
    }
}

/// With the names of all, and waits for the lock (`g`) that come from compression.
fn named(script: Script) -> Script {
    let names = [
        (EVALUATES, "_PyEval_EvalFrameDefault"),
        (COMPRESSES, "zlib_compress"),
        (HASHES, "EVP_hash"),
        (LOCKS, "PyEval_RestoreThread"),
    ];
    let symbols = names.map(|(address, function)| {
        let frame = Frame { function: function.to_owned(), ..Frame::default() };
        (SymbolKey { space: Some(SpaceId(1)), address }, vec![frame])
    });
    let file = "/srv/app.py".to_owned();
    script
        .at(0, Event::Symbols(symbols.into()))
        .at(0, Event::Code { id: CodeId(0), function: "work".to_owned(), file })
        .at(0, stack('g'.into(), COMPRESSES, StackEnd::Complete, None))
}

fn looked(script: Script, tid: u32, ms: u64, stack: u32) -> Script {
    let (site, stack) = (SiteId('g'.into()), Some(StackId(stack)));
    script.at(ms * MS + MS / 2, Event::Look { tid: Tid(tid), site, stack })
}

/// The lines of the waits: count, ms and how many of these are inferred.
fn lines(analysis: &Analysis) -> Vec<(Option<&str>, u64, [u64; 2])> {
    let gil = analysis.report.gil.as_ref().unwrap();
    let line = |line: &'_ crate::report::GilLine| [line.waiting_ns / MS, line.inferred_ns / MS];
    gil.lines.iter().map(|it| (it.r#where.as_deref(), it.count, line(it))).collect()
}

#[test]
fn a_wait_has_the_calls_of_the_next_that_came_the_same_way() {
    let script = Script::new(2).thread("a", "##gg##gg##gg##gg##").thread("b", "##################");
    let script = named(script)
        .at(0, stack(900, COMPRESSES, StackEnd::Complete, Some(3)))
        .at(0, stack(901, COMPRESSES, StackEnd::Complete, Some(4)));
    let analysis = looked(looked(script.clone(), 100, 2, 900), 100, 14, 901).run();
    let expected = [(Some("work (app.py:3)"), 2, [4, 2]), (Some("work (app.py:4)"), 2, [4, 2])];
    assert_eq!(lines(&analysis), expected);
    let waits = &analysis.report.quality.stacks.waits;
    assert!((waits.calls_inferred - 0.5).abs() < 1e-9, "{waits:?}");
    assert_eq!(analysis.report.waits[0].r#where.as_deref().map(|it| &it[..4]), Some("work"));

    // Another C function was called from another line.
    let script = script.at(0, stack(902, HASHES, StackEnd::Complete, Some(5)));
    let analysis = looked(script, 100, 2, 902).run();
    let expected = [(None, 3, [6, 0]), (Some("work (app.py:5)"), 1, [2, 0])];
    assert_eq!(lines(&analysis), expected);
}

#[test]
fn calls_that_do_not_fit_the_native_frames_are_not_lent() {
    let script = Script::new(2).thread("a", "##gg##gg##").thread("b", "##########");
    let mut bent = stack(900, COMPRESSES, StackEnd::Complete, Some(3));
    if let Event::Stack { user, .. } = &mut bent {
        user.push(EVALUATES);
    }
    let analysis = looked(named(script).at(0, bent), 100, 2, 900).run();
    assert_eq!(lines(&analysis).len(), 2);
    assert_eq!(analysis.report.quality.stacks.waits.calls_inferred, 0.0);
}

/// Six threads that live for three ms each and wait in their midst, beside one that
/// computes; the calls of the first two are seen.
fn brief(end: StackEnd) -> Script {
    let mut script = Script::new(3).thread("main", "#####################");
    for thread in 0..6 {
        let row: String = (0..21)
            .map(|ms| match ms - 3 * thread {
                1 | 3 => '#',
                2 => 'g',
                _ => '.',
            })
            .collect();
        script = script.thread("request", &row);
    }
    let script = named(script)
        .at(0, stack('g'.into(), COMPRESSES, end, None))
        .at(0, stack(900, COMPRESSES, StackEnd::Complete, Some(3)))
        .at(0, stack(901, COMPRESSES, StackEnd::Complete, Some(4)));
    looked(looked(script, 101, 2, 900), 102, 5, 901)
}

#[test]
fn threads_too_short_to_be_seen_each_did_what_those_did_that_were() {
    let expected = [(Some("work (app.py:3)"), 3, [3, 2]), (Some("work (app.py:4)"), 3, [3, 2])];
    // The way they came is known, or all they have is a stack of another at the same site.
    for end in [StackEnd::Complete, StackEnd::SameSite] {
        assert_eq!(lines(&brief(end).run()), expected, "{end:?}");
    }
}

#[test]
fn a_thread_that_lives_long_has_its_own_calls_or_none() {
    let long = format!("{}gg##", "#".repeat(200));
    let script = brief(StackEnd::Complete).thread("other", &long);
    let analysis = script.run();
    let all = lines(&analysis);
    assert!(all.contains(&(None, 1, [2, 0])) && all.len() == 3, "{all:?}");
    assert!(all[..2].iter().all(|(_, count, _)| *count == 3), "{all:?}");
}

#[test]
fn a_sample_has_the_calls_of_another_that_came_the_same_way() {
    let script = named(Script::new(1).thread("a", "####################"));
    let script = script.at(0, stack('#'.into(), COMPRESSES, StackEnd::Complete, None));
    let inferred = |analysis: &Analysis| analysis.report.quality.stacks.cpu.calls_inferred;
    assert_eq!(inferred(&script.clone().run()), 0.0);
    // Only to the interpreter, or to the same function that it calls.
    for called in [HASHES, COMPRESSES] {
        let (tid, cpu) = (Tid(100), Cpu(0));
        let sample = Event::Sample { tid, cpu, kernel: false, stack: Some(StackId(900)) };
        let script = script
            .clone()
            .at(0, stack(900, called, StackEnd::Complete, Some(3)))
            .at(9 * MS, sample);
        assert!(inferred(&script.run()) > 0.8);
    }
}
