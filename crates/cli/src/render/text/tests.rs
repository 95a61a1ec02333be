//! The whole screen, at the usual and at narrow widths, and with hostile names.

use super::line::columns;
use super::*;
use crate::testing::{FIXTURES, assert_golden, fixture, origin, written};

fn coloured(report: &Report, layout: Layout) -> Vec<u8> {
    written(|out| super::report(report, &origin(), layout, out))
}

fn plain(report: &Report, layout: Layout) -> String {
    let stripped = anstream::adapter::strip_bytes(&coloured(report, layout)).into_vec();
    String::from_utf8(stripped).unwrap()
}

const USUAL: Layout = Layout { width: 80, verbose: false, functions: None };

#[test]
fn the_screens_are_as_agreed() {
    for name in FIXTURES {
        assert_golden(&format!("{name}.80.txt"), plain(&fixture(name), USUAL).as_bytes());
    }
    let narrow = Layout { width: 40, ..USUAL };
    assert_golden("server.40.txt", plain(&fixture("server"), narrow).as_bytes());
    let verbose = Layout { width: 120, verbose: true, ..USUAL };
    assert_golden("server.verbose.txt", plain(&fixture("server"), verbose).as_bytes());
    let functions = Layout { functions: Some(3), ..USUAL };
    assert_golden("server.functions.txt", plain(&fixture("server"), functions).as_bytes());
    let wide = Layout { width: 140, ..functions };
    assert_golden("server.functions.140.txt", plain(&fixture("server"), wide).as_bytes());
    assert_golden("server.ansi.txt", &coloured(&fixture("server"), USUAL));
}

#[test]
fn it_fits_one_screen_and_no_line_wraps() {
    for name in FIXTURES {
        for width in [0, 20, 40, 60, 79, 80, 200] {
            let text = plain(&fixture(name), Layout { width, ..USUAL });
            assert!(text.lines().count() <= SCREEN_ROWS, "{name} at {width}:\n{text}");
            let widest = text.lines().map(columns).max().unwrap();
            assert!(widest <= width.max(NARROWEST), "{name} at {width}:\n{text}");
            let headings = text.lines().zip(text.lines().skip(1));
            for (heading, next) in headings.filter(|(line, _)| line.starts_with("Hot code")) {
                assert!(next.starts_with("  "), "{heading:?} alone at {width}:\n{text}");
            }
        }
    }
}

#[test]
fn names_from_outside_cannot_write_to_the_terminal() {
    let hostile = "\u{1b}]0;owned\u{7}日本語\u{202e}\n\r名前".repeat(20);
    let mut report = fixture("server");
    report.target.command = vec![hostile.clone()];
    report.verdict.summary = hostile.clone();
    for wait in &mut report.waits {
        wait.object = Some(hostile.clone());
        wait.r#where = Some(hostile.clone());
    }
    for hot in &mut report.hot {
        hot.function = hostile.clone();
    }
    for row in &mut report.functions.rows {
        row.function = hostile.clone();
        row.file = Some(hostile.clone());
    }
    for thread in &mut report.ledger.threads {
        thread.name = hostile.clone();
    }
    for verbose in [false, true] {
        let text = plain(&report, Layout { width: 50, verbose, functions: Some(9) });
        assert!(!text.contains(['\u{1b}', '\u{7}', '\r', '\u{202e}']), "{text}");
        assert!(text.lines().all(|line| columns(line) <= 50), "{text}");
    }
}

#[test]
fn the_function_table_has_the_columns_that_fit() {
    let heading = |width, sort: &str| {
        let mut report = fixture("server");
        sort.clone_into(&mut report.functions.sort);
        let text = plain(&report, Layout { width, functions: Some(5), ..USUAL });
        let line = text.lines().find(|line| line.starts_with("Functions")).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(heading(20, "gil"), ["gil", "…"]);
    assert_eq!(heading(50, "self"), ["self", "function"]);
    assert_eq!(heading(60, "self"), ["self", "cpu", "total", "function"]);
    assert_eq!(heading(80, "self"), ["self", "cpu", "runq", "total", "total-cpu", "function"]);
    let total = ["self", "total", "total-cpu", "total-io", "function"];
    assert_eq!(heading(80, "total"), total);
    assert_eq!(heading(200, "total-io").len(), 8);
}

#[test]
fn an_empty_report_has_no_empty_tables() {
    let mut report = fixture("idle");
    report.waits.clear();
    report.hot.clear();
    let text = plain(&report, USUAL);
    assert!(!text.contains("Waits") && !text.contains("Hot code"), "{text}");
}

#[test]
fn stolen_time_is_told_when_it_matters() {
    let mut report = fixture("server");
    let thread_time: u64 = report.ledger.process.values().sum();
    report.quality.stolen_ns = thread_time / 1001;
    assert!(!plain(&report, USUAL).contains("stolen"));
    report.quality.stolen_ns = thread_time / 40;
    assert!(plain(&report, USUAL).contains("2.5 % stolen by the hypervisor"));
}

#[test]
fn what_an_engine_does_not_see_is_said_and_no_rate_that_it_does_not_have() {
    let mut report = fixture("server");
    let all = ["exact-switches", "wakeups", "neighbours", "cpu-samples", "kernel-stacks"];
    let all = all.into_iter().chain(["user-stacks", "causes"]).map(str::to_owned);
    report.engine.capabilities = all.collect();
    let screen = plain(&report, USUAL);
    assert!(screen.contains("perf 499 Hz") && !screen.contains("not seen"), "{screen}");
    report.engine.name = "procfs".to_owned();
    report.engine.capabilities = vec!["user-stacks".to_owned(), "causes".to_owned()];
    let screen = plain(&report, USUAL);
    assert!(screen.contains("not seen: single switches, wakers, other programs"), "{screen}");
    assert!(screen.contains("procfs ·") || screen.contains("procfs\n"), "{screen}");
}

#[test]
fn what_was_not_refused_is_not_said_to_be() {
    let mut report = fixture("damaged");
    report.engine.fallbacks.truncate(1);
    report.engine.fallbacks[0].errno = whyslow_events::Fallback::NO_ERROR.to_owned();
    let screen = plain(&report, USUAL);
    assert!(screen.contains("not to be had, using") && !screen.contains("refused"), "{screen}");
}

#[test]
fn a_prediction_is_whole_or_shorter_and_never_cut() {
    use whyslow_analysis::report::{Predicted, Prescription};
    let (speedup, wall_ns) = ([1.56, 2.3], [899_000_000, 1_320_000_000]);
    let prescription = Prescription {
        model: "multiprocessing".to_owned(),
        because: Vec::new(),
        predicted: Some(Predicted { workers: 2, wall_ns, speedup, memory_bytes: None }),
        rejected: Vec::new(),
        antipatterns: Vec::new(),
    };
    let report = Report { prescription: Some(prescription), ..fixture("server") };
    let heading = |width| {
        let screen = plain(&report, Layout { width, ..USUAL });
        screen.lines().find(|line| line.starts_with("To do")).unwrap().to_owned()
    };
    assert!(heading(100).ends_with("(899 ms to 1.32 s)"), "{}", heading(100));
    assert!(heading(80).ends_with("times as fast"), "{}", heading(80));
}
