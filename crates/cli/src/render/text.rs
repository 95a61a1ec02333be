//! The report for a person: one screen, the verdict first.

mod event_loop;
mod functions;
mod gil;
mod head;
mod line;
mod prescription;
mod quality;
mod tables;

use std::io::{self, Write};

use whyslow_analysis::report::Report;

use crate::render::Origin;
use line::Line;

/// Rows of the smallest usual terminal, less the prompt and the names of the
/// files that the command prints after the report.
const SCREEN_ROWS: usize = 24 - 1 - 2;
/// Narrower terminals are treated as this wide.
const NARROWEST: usize = 20;

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Columns.
    pub width: usize,
    /// Every row, on as many screens as it takes.
    pub verbose: bool,
    /// Rows of the function table, where it is wanted: it stands in the place of the
    /// hot code, and takes the room it needs.
    pub functions: Option<usize>,
}

/// Writes `report` with colours; whoever owns the stream takes them out.
///
/// # Errors
/// When `out` cannot be written.
pub(crate) fn report(
    report: &Report,
    origin: &Origin,
    layout: Layout,
    out: &mut dyn Write,
) -> io::Result<()> {
    let width = layout.width.max(NARROWEST);
    let mut head = head::lines(report, width);
    head.extend(gil::lines(report));
    let todo = prescription::lines(report, width, layout.verbose);
    let foot = quality::lines(report, origin, width, layout.verbose);
    let mut tables = vec![tables::bottleneck(report, width), tables::waits(report, width)];
    let functions = match layout.functions {
        Some(limit) => functions::lines(report, limit, width),
        None => {
            tables.push(tables::hot(report, width));
            Vec::new()
        }
    };
    let threads = if layout.verbose { tables::threads(report, width) } else { Vec::new() };
    let room = match layout.verbose {
        true => usize::MAX,
        false => SCREEN_ROWS.saturating_sub(head.len() + todo.len() + foot.len()),
    };
    let rows = share_out(room, &tables);
    let used: usize = tables.iter().zip(&rows).map(|(table, rows)| table.fixed() + rows).sum();
    // An empty line after each part, where there is room for all of them.
    let parts = tables.len() + usize::from(!todo.is_empty());
    let gap = (used + parts <= room || layout.functions.is_some()).then(Line::new);
    let mut lines = head;
    for (table, rows) in tables.into_iter().zip(rows) {
        // A heading alone says nothing.
        if rows > 0 || table.closing.is_some() {
            lines.extend(table.lines(rows));
            lines.extend(gap.clone());
        }
    }
    lines.extend(functions);
    lines.extend(threads);
    if !todo.is_empty() {
        lines.extend(todo);
        lines.extend(gap);
    }
    lines.extend(foot);
    lines.into_iter().try_for_each(|line| line.write(width, out))
}

/// A heading, rows of which the first are the most important, and a line that
/// closes it.
struct Table {
    heading: Line,
    rows: Vec<Line>,
    closing: Option<Line>,
    /// Rows shown at most, unless everything is.
    limit: usize,
}

impl Table {
    fn lines(self, rows: usize) -> impl Iterator<Item = Line> {
        let rows = self.rows.into_iter().take(rows);
        [self.heading].into_iter().chain(rows).chain(self.closing)
    }

    /// Lines that are there however few rows are.
    fn fixed(&self) -> usize {
        if self.rows.is_empty() { 0 } else { 1 + usize::from(self.closing.is_some()) }
    }
}

/// Gives each table rows in turn until the room or what they hold is used up.
fn share_out(room: usize, tables: &[Table]) -> Vec<usize> {
    if room == usize::MAX {
        return tables.iter().map(|table| table.rows.len()).collect();
    }
    let mut left = room.saturating_sub(tables.iter().map(Table::fixed).sum());
    let mut rows = vec![0; tables.len()];
    loop {
        let before = left;
        for (given, table) in rows.iter_mut().zip(tables) {
            if left > 0 && *given < table.rows.len().min(table.limit) {
                *given += 1;
                left -= 1;
            }
        }
        if left == before {
            return rows;
        }
    }
}

#[cfg(test)]
mod tests;
