//! The function table, with as many of its columns as there is room for.

use whyslow_analysis::Column;
use whyslow_analysis::report::{Function, Functions, Report};

use super::line::{Line, bold, columns as columns_of, dim};
use super::tables::{SPAN, named};
use crate::render::units::{count, span};

const LABEL: &str = "Functions";
/// What divides the times further has room only beyond this, for the names.
const ROOM_FOR_NAMES: usize = 24;

/// The first `limit` rows, and what the others sum to.
pub(super) fn lines(report: &Report, limit: usize, width: usize) -> Vec<Line> {
    let table = &report.functions;
    if table.rows.is_empty() {
        return Vec::new();
    }
    let rows = &table.rows[..limit.min(table.rows.len())];
    let shown = columns(table, rows, width);
    let names: String = shown.iter().map(|(column, room)| cell(column.key(), *room)).collect();
    let heading = Line::new().push(bold(), LABEL).push(dim(), format!("{names}  function"));
    let rows = rows.iter().map(|function| row(function, &shown, width));
    let rest = rest(table, limit).map(|text| Line::new().push(dim(), text));
    [heading].into_iter().chain(rows).chain(rest).chain([Line::new()]).collect()
}

/// The times and the one that the rows are sorted by first; then what they are
/// made of, where any of the rows has some.
fn columns(table: &Functions, rows: &[Function], width: usize) -> Vec<(Column, usize)> {
    let all = Column::all();
    let sorted = all.iter().copied().find(|column| column.key() == table.sort).unwrap_or_default();
    let filled = |column: &&Column| rows.iter().any(|row| column.of(row) > 0);
    let parts = |total: bool| {
        let parts = all.iter().filter(move |it| it.total == total && it.side.is_some());
        parts.filter(filled)
    };
    let mut wanted = vec![sorted];
    wanted.extend(all.iter().filter(|column| column.side.is_none()));
    wanted.extend(parts(sorted.total).chain(parts(!sorted.total)));
    let mut chosen: Vec<Column> = Vec::new();
    let mut used = LABEL.len();
    for column in wanted {
        let length = room(column, rows);
        let fits = used + length + ROOM_FOR_NAMES <= width || chosen.is_empty();
        if fits && !chosen.contains(&column) {
            used += length;
            chosen.push(column);
        }
    }
    let chosen = all.into_iter().filter(|column| chosen.contains(column));
    chosen.map(|column| (column, room(column, rows))).collect()
}

/// How wide `column` is, its gap included.
fn room(column: Column, rows: &[Function]) -> usize {
    let times = rows.iter().map(|row| columns_of(&time(column, row)));
    times.fold(column.key().len().max(SPAN - 2), usize::max) + 2
}

fn time(column: Column, function: &Function) -> String {
    match column.of(function) {
        0 => "–".to_owned(),
        ns => span(ns),
    }
}

/// `text` on the right of its column.
fn cell(text: &str, room: usize) -> String {
    format!("{}{text}", " ".repeat(room.saturating_sub(columns_of(text))))
}

fn row(function: &Function, shown: &[(Column, usize)], width: usize) -> Line {
    let times: String =
        shown.iter().map(|(column, room)| cell(&time(*column, function), *room)).collect();
    let line = Line::new().pad_to(LABEL.len()).plain(times).plain("  ");
    let room = width.saturating_sub(line.width());
    line.plain(named(&function.function, function.file.as_deref(), function.line, room))
}

/// What is not among the rows that are shown.
fn rest(table: &Functions, limit: usize) -> Option<String> {
    let hidden = table.rows.iter().skip(limit);
    let number = table.others.count + hidden.clone().count() as u64;
    let alone: u64 = hidden.map(|row| row.alone.total_ns).sum();
    let mut parts = Vec::new();
    if number > 0 {
        let time = span(alone + table.others.alone.total_ns);
        let what = if number == 1 { "function" } else { "functions" };
        parts.push(format!("{} more {what}: {time} self", count(number)));
    }
    if table.without_stack.total_ns > 0 {
        parts.push(format!("no stack: {}", span(table.without_stack.total_ns)));
    }
    let parts_of_all = format!("all: {}", span(table.total.total_ns));
    (!parts.is_empty()).then(|| format!("  {}, {parts_of_all}", parts.join(", ")))
}
