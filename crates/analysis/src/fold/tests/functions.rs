//! The function table, and the interpreter's own frames where they are wanted.

use super::*;
use crate::Order;
use crate::report::{Function, Functions};
use crate::{Column, Side};

const NATIVE: Detail = Detail {
    native: true,
    functions: Order { by: Column { total: false, side: None }, limit: 500 },
};

/// `name file:line self total` of each row, in ms.
fn rows(functions: &Functions) -> Vec<String> {
    let base = |file: &String| file.rsplit('/').next().unwrap().to_owned();
    let row = |row: &Function| {
        let file = row.file.as_ref().map_or("-".to_owned(), base);
        let line = row.line.map_or("-".to_owned(), |line| line.to_string());
        let [alone, total] = [row.alone, row.total].map(|spent| spent.total_ns / MS);
        format!("{} {file}:{line} {alone} {total}", row.function)
    };
    functions.rows.iter().map(row).collect()
}

/// The calls of [`interpreted`], `key` defined on line 8.
fn program() -> Vec<(u64, Event)> {
    let script = [(2, 9, true), (1, 7, false), (0, 3, true)];
    let mut program = interpreted(&[3, 2, 4, 3, 2, 1, 5], &script);
    program.push((START, Event::Definition { code: CodeId(2), line: 8 }));
    program
}

#[test]
fn what_calls_do_in_c_is_their_own_time() {
    let analysis = play(program(), &[(1, sample(Some(900))), (2, end())]);
    let table = ["key app.py:8 2 2", "<module> app.py:3 0 2", "work app.py:7 0 2"];
    assert_eq!(rows(&analysis.report.functions), table);
}

#[test]
fn the_interpreters_frames_are_shown_when_they_are_wanted() {
    let analysis = play_in(NATIVE, program(), &[(1, sample(Some(900))), (2, end())]);
    let expected = "prog;clone3;main;_PyEval_EvalFrameDefault;<module> (app.py:3);work (app.py:7);\
                    list_sort;sort;_PyEval_EvalFrameDefault;key (app.py:9);list_sort 2";
    assert_eq!(lines(&analysis, View::Cpu), [expected]);
    let rows = rows(&analysis.report.functions);
    assert_eq!(rows[0], "list_sort list_sort.c:10 2 2", "{rows:?}");
    assert_eq!(rows.len(), 8, "each function once: {rows:?}");
    assert!(rows.contains(&"key app.py:8 0 2".to_owned()), "{rows:?}");
}

#[test]
fn calls_that_were_not_read_are_one_function() {
    let analysis =
        play(interpreted(&[3, 2, 4, 3, 2, 1, 5], &[]), &[(1, sample(Some(900))), (2, end())]);
    assert_eq!(rows(&analysis.report.functions), ["[calls not read] -:- 2 2"]);
}

#[test]
fn a_wait_is_in_the_line_that_waits() {
    let script = [(1, 7, false), (0, 3, true)];
    let place = |native| {
        let detail = Detail { native, ..Detail::default() };
        let turns = [(1, sleeps(Some(900))), (3, wakes()), (4, end())];
        let analysis = play_in(detail, interpreted(&[4, 3, 2, 1, 5], &script), &turns);
        analysis.report.waits[0].r#where.clone()
    };
    assert_eq!(place(false).as_deref(), Some("work (app.py:7)"));
    assert_eq!(place(true).as_deref(), Some("sort (sort.c:10)"));
}

#[test]
fn a_mark_between_halves_that_disagree_is_no_function() {
    let script = [(2, 9, true), (0, 3, true)];
    let events = [(1, sample(Some(900))), (2, end())];
    for detail in [Detail::default(), NATIVE] {
        let analysis = play_in(detail, interpreted(&[4, 2, 1], &script), &events);
        let shown = lines(&analysis, View::Cpu).remove(0);
        assert!(shown.contains("key (app.py:9);[native, of another moment];"), "{shown}");
        let rows = rows(&analysis.report.functions);
        assert!(rows.iter().all(|row| !row.contains("moment")), "{rows:?}");
        assert_eq!(rows.len(), if detail.native { 5 } else { 2 }, "{rows:?}");
    }
}

#[test]
fn a_function_that_calls_itself_counts_once() {
    let definitions = vec![
        stack(1, &[], &[0xa, 0xb, 0xa, 0xb, 0xa]),
        symbol(Some(SPACE), 0xa, vec![function("even")]),
        symbol(Some(SPACE), 0xb, vec![function("odd")]),
    ];
    let analysis = play(definitions, &[(1, sample(Some(1))), (2, end())]);
    assert_eq!(rows(&analysis.report.functions), ["even even.c:10 2 2", "odd odd.c:10 0 2"]);
}

#[test]
fn the_kernels_time_is_the_callers_and_code_without_names_is_one_function() {
    let unnamed = |at: u64| Frame { function: format!("prog+{at:#x}"), ..Frame::default() };
    let mut definitions = vec![
        stack(1, &[0xf0], &[0xa, 0xb]),
        stack(2, &[0xf0], &[]),
        symbol(None, 0xf0, vec![in_libc("vfs_read")]),
    ];
    definitions.extend([0xa, 0xb].map(|at| symbol(Some(SPACE), at, vec![unnamed(at)])));
    let events = [(0, wakes()), (2, sample(Some(1))), (3, sample(Some(2))), (3, end())];
    let analysis = play(definitions, &events);
    assert_eq!(rows(&analysis.report.functions), ["[prog] -:- 2 2", "vfs_read_[k] -:- 1 1"]);
}

#[test]
fn rows_are_sorted_and_cut_and_the_rest_is_summed() {
    let timeline = Script::new(2).thread("main", "###ssdddw##").thread("other", "#gggglln...");
    let order = |by, limit| Detail { functions: Order { by, limit }, native: false };
    let table = |detail| {
        let mut source = InMemory::new(header(2), timeline.events());
        analyze_in(&mut source, detail).report.functions
    };
    let first = |key: &str| {
        let by = Column::all().into_iter().find(|column| column.key() == key).unwrap();
        let table = table(order(by, 1));
        assert_eq!((table.sort.as_str(), table.rows.len()), (key, 1));
        let sum = table.rows[0].alone + table.others.alone + table.without_stack;
        assert_eq!(sum, table.total, "{key}");
        table.rows[0].function.clone()
    };
    let keys = ["self", "cpu", "gil", "io", "lock", "other", "total", "total-gil"];
    let found = keys.map(first);
    let expected = ["do_#", "do_#", "do_g", "do_d", "do_l", "do_s", "main", "do_g"];
    assert_eq!(found, expected);
    let whole = table(order(Column::default(), 500));
    assert_eq!((whole.others.count, whole.total.total_ns), (0, 19 * MS));
    let part = |side: Side| side.part(&whole.total) / MS;
    assert_eq!(Side::ALL.map(part), [6, 4, 4, 2, 1, 2]);
}
