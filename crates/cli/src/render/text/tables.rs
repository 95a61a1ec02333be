//! Where the time went, what was waited for, which code is hot, and the threads.

use std::collections::BTreeMap;

use whyslow_analysis::State;
use whyslow_analysis::report::{Hot, Report, ThreadLedger, Wait};

use super::Table;
use super::line::{Line, bold, coloured, columns, dim, fit};
use crate::render::palette::{self, state_of};
use crate::render::units::{count, percent, significant, span};
use crate::sanitize::clean;

/// Shares below are left to the JSON.
const SMALLEST_SHARE: f64 = 0.01;
/// From this width on there are columns for more than the totals, ...
const WIDE: usize = 70;
/// ... and from this one on for everything.
const WIDEST: usize = 96;
/// How the analysis marks kernel functions.
const KERNEL_MARK: &str = "_[k]";
const INDENT: &str = "  ";
const WIDEST_BAR: usize = 40;
const NARROWEST_BAR: usize = 5;
/// With less room, only one of object and code is named.
const ROOM_FOR_BOTH: usize = 28;
/// An object is not cut below this.
const SHORTEST_OBJECT: usize = 14;
/// Columns for a span of time, its gap included.
pub(super) const SPAN: usize = 9;
/// Columns for a count, its gap included.
const COUNT: usize = 7;

/// Wall-clock time by what held the program up.
pub(super) fn bottleneck(report: &Report, width: usize) -> Table {
    let wall = report.window.duration_ns;
    let mut shares: Vec<(&str, f64)> = largest_first(&report.bottleneck.shares);
    shares.retain(|&(_, share)| share >= SMALLEST_SHARE);
    let label = label_width(shares.iter().map(|&(key, _)| key));
    // Indent, label, percent and time stand before the bar.
    let bar = width.saturating_sub(INDENT.len() + label + 8 + SPAN + 2);
    let rows = shares.iter().map(|&(key, share)| {
        let time = span((share * wall as f64) as u64);
        let line = state(key, label).plain(format!("{:>8}{time:>SPAN$}", percent(share)));
        match bar {
            NARROWEST_BAR.. => line.plain(INDENT).push(
                coloured(state_of(key).and_then(palette::ansi)),
                blocks(share, bar.min(WIDEST_BAR)),
            ),
            _ => line,
        }
    });
    let rows = rows.collect();
    let heading = Line::new().push(bold(), format!("Wall-clock time {}", span(wall)));
    let ratio = ratio(report, width.saturating_sub(heading.width() + 2));
    let heading = heading.pad_to(width.saturating_sub(columns(&ratio))).plain(ratio);
    Table { heading, rows, closing: thread_time(report), limit: 6 }
}

fn ratio(report: &Report, room: usize) -> String {
    let ratio = &report.ratio;
    let quotient = match ratio.io_to_cpu {
        Some(quotient) => significant(quotient),
        None if ratio.io > 0.0 => "∞".into(),
        None => "–".into(),
    };
    let long = format!("I/O {} : CPU {} = {quotient}", percent(ratio.io), percent(ratio.cpu));
    if columns(&long) <= room { long } else { format!("I/O:CPU {quotient}") }
}

/// One line: the time of all threads, which the wall-clock time hides.
fn thread_time(report: &Report) -> Option<Line> {
    let total: u64 = report.ledger.process.values().sum();
    if report.ledger.threads.len() < 2 || total == 0 {
        return None;
    }
    let states: Vec<String> = largest_first(&report.ledger.process)
        .into_iter()
        .map(|(key, ns)| (key, ns as f64 / total as f64))
        .filter(|&(_, share)| share >= SMALLEST_SHARE)
        .map(|(key, share)| format!("{key} {:.0} %", share * 100.0))
        .collect();
    let text = format!("{INDENT}thread time {}: {}", span(total), states.join(", "));
    Some(Line::new().push(dim(), text))
}

/// What it waited for, and where in the code; waits for work come last.
pub(super) fn waits(report: &Report, width: usize) -> Table {
    let is_idle = |wait: &&Wait| wait.state == State::Idle.key();
    let (idle, others): (Vec<&Wait>, Vec<&Wait>) = report.waits.iter().partition(is_idle);
    let label = label_width(report.waits.iter().map(|wait| wait.state.as_str()));
    let label = label.max("Waits".len());
    let heading = Line::new().push(bold(), "Waits").pad_to(INDENT.len() + label);
    let mut names = format!("{:>SPAN$}", "total");
    if width >= WIDE {
        names.push_str(&format!("{:>COUNT$}{:>SPAN$}", "count", "p99"));
    }
    if width >= WIDEST {
        names.push_str(&format!("{:>SPAN$}", "max"));
    }
    let heading = heading.push(dim(), format!("{names}  what, where"));
    let rows = others.into_iter().chain(idle).map(|wait| wait_row(wait, label, width)).collect();
    Table { heading, rows, closing: None, limit: 6 }
}

fn wait_row(wait: &Wait, label: usize, width: usize) -> Line {
    let mut figures = format!("{:>SPAN$}", span(wait.total_ns));
    if width >= WIDE {
        figures.push_str(&format!("{:>COUNT$}{:>SPAN$}", count(wait.count), span(wait.p99_ns)));
    }
    if width >= WIDEST {
        figures.push_str(&format!("{:>SPAN$}", span(wait.max_ns)));
    }
    let line = state(&wait.state, label).plain(figures).plain(INDENT);
    let room = width.saturating_sub(line.width());
    line.plain(place(wait, room))
}

/// `what, where`. Where both do not fit, paths lose their directories, then
/// the object is cut, then the code; without room for two, the code is named alone.
fn place(wait: &Wait, room: usize) -> String {
    let what = wait.object.as_ref().or(wait.syscall.as_ref()).map(|what| clean(what));
    let place = wait.r#where.as_ref().map(|place| clean(place));
    let (Some(what), Some(place)) = (&what, &place) else {
        return what.or(place).map_or(String::new(), |one| shorten_path(&one, room));
    };
    // `clone3, clone3 (clone3.S:62)` says nothing twice.
    if wait.object.is_none() && place.contains(what.as_ref()) {
        return fit(&without_directory(place), room);
    }
    if columns(what) + 2 + columns(place) <= room {
        return format!("{what}, {place}");
    }
    let place = without_directory(place);
    if room < ROOM_FOR_BOTH {
        return fit(&place, room);
    }
    let what = shorten_path(what, room.saturating_sub(2 + columns(&place)).max(SHORTEST_OBJECT));
    let place = fit(&place, room.saturating_sub(2 + columns(&what)));
    format!("{what}, {place}")
}

/// `f (/a/b/c.py:7)` as `f (c.py:7)`.
fn without_directory(place: &str) -> String {
    match place.rsplit_once(" (/") {
        Some((function, path)) => {
            format!("{function} ({}", path.rsplit('/').next().unwrap_or(path))
        }
        None => place.to_string(),
    }
}

/// A path keeps its end, other text its beginning.
fn shorten_path(text: &str, room: usize) -> String {
    match text.strip_prefix('/').and_then(|path| path.rsplit_once('/')) {
        Some((_, name)) if columns(text) > room => fit(&format!("…/{name}"), room),
        _ => fit(text, room),
    }
}

/// The code that uses most CPU.
pub(super) fn hot(report: &Report, width: usize) -> Table {
    let label = "Hot code";
    let mut names = format!("{:>SPAN$}", "self CPU");
    if width >= WIDE {
        names.push_str(&format!("{:>SPAN$}{:>SPAN$}", "total", "waits"));
    }
    let heading = Line::new().push(bold(), label).push(dim(), format!("{names}  function"));
    let rows = report.hot.iter().filter(|hot| hot.self_cpu_ns > 0).map(|hot| {
        let mut figures = format!("{:>SPAN$}", span(hot.self_cpu_ns));
        if width >= WIDE {
            let waits = match hot.total_wait_ns {
                0 => "–".into(),
                ns => span(ns),
            };
            figures.push_str(&format!("{:>SPAN$}{waits:>SPAN$}", span(hot.total_cpu_ns)));
        }
        let line = Line::new().pad_to(label.len()).plain(figures).plain(INDENT);
        let room = width.saturating_sub(line.width());
        line.plain(function(hot, room))
    });
    Table { heading, rows: rows.collect(), closing: None, limit: 5 }
}

fn function(hot: &Hot, room: usize) -> String {
    named(&hot.function, hot.file.as_deref(), hot.line, room)
}

/// `name (file:line)`, the directory left out where it does not fit.
pub(super) fn named(name: &str, file: Option<&str>, line: Option<u32>, room: usize) -> String {
    let name = clean(name);
    if let Some(kernel) = name.strip_suffix(KERNEL_MARK) {
        return format!("{kernel} [kernel]");
    }
    let Some(file) = file.map(clean) else { return name.into_owned() };
    let line = line.map_or(String::new(), |line| format!(":{line}"));
    let long = format!("{name} ({file}{line})");
    if columns(&long) <= room {
        return long;
    }
    let base = file.rsplit('/').next().unwrap_or(&file);
    format!("{name} ({base}{line})")
}

/// Each thread and what it did, for those who want every row.
pub(super) fn threads(report: &Report, width: usize) -> Vec<Line> {
    let heading = Line::new().push(bold(), "Threads").push(dim(), "  lifetime  states");
    let rows = report.ledger.threads.iter().map(|thread| thread_row(thread, width));
    [heading].into_iter().chain(rows).collect()
}

fn thread_row(thread: &ThreadLedger, width: usize) -> Line {
    let name = fit(&clean(&format!("{} {}", thread.tid, thread.name)), width / 3);
    let states: Vec<String> = largest_first(&thread.states)
        .into_iter()
        .map(|(key, ns)| format!("{key} {}", span(ns)))
        .collect();
    Line::new()
        .plain(INDENT)
        .plain(name)
        .pad_to(INDENT.len() + width / 3)
        .plain(format!("{:>SPAN$}", span(thread.lifetime_ns)))
        .plain(INDENT)
        .plain(states.join(", "))
}

fn largest_first<N: Copy + PartialOrd>(by_key: &BTreeMap<String, N>) -> Vec<(&str, N)> {
    let mut sorted: Vec<(&str, N)> = by_key.iter().map(|(key, &n)| (key.as_str(), n)).collect();
    sorted.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap_or(std::cmp::Ordering::Equal));
    sorted
}

/// An indented state name in its colour, padded to `label` columns.
fn state(key: &str, label: usize) -> Line {
    let style = coloured(state_of(key).and_then(palette::ansi));
    Line::new().plain(INDENT).push(style, key).pad_to(INDENT.len() + label)
}

fn label_width<'a>(keys: impl Iterator<Item = &'a str>) -> usize {
    keys.map(columns).max().unwrap_or(0)
}

/// A bar of `share` of `width` columns, to an eighth of a column.
fn blocks(share: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_named_as_far_as_there_is_room() {
        let hot = |function: &str, file: Option<&str>| Hot {
            function: function.into(),
            file: file.map(Into::into),
            line: Some(7),
            self_cpu_ns: 1,
            total_cpu_ns: 1,
            total_wait_ns: 0,
        };
        assert_eq!(function(&hot("f", Some("/a/b.c")), 20), "f (/a/b.c:7)");
        assert_eq!(function(&hot("f", Some("/a/b.c")), 10), "f (b.c:7)");
        assert_eq!(function(&hot("vfs_read_[k]", None), 20), "vfs_read [kernel]");
    }

    #[test]
    fn a_wait_names_its_code_in_full_before_its_object() {
        let wait = |object: Option<&str>, syscall: &str, place: &str| Wait {
            state: "io.disk".into(),
            syscall: Some(syscall.into()),
            object: object.map(Into::into),
            r#where: Some(place.into()),
            count: 1,
            total_ns: 1,
            p50_ns: 1,
            p99_ns: 1,
            max_ns: 1,
        };
        let long = wait(Some("/var/lib/app/data.db"), "read", "load (/srv/app/db.py:7)");
        assert_eq!(place(&long, 80), "/var/lib/app/data.db, load (/srv/app/db.py:7)");
        assert_eq!(place(&long, 30), "…/data.db, load (db.py:7)");
        assert_eq!(place(&long, 20), "load (db.py:7)");
        let twice = wait(None, "clone3", "__clone3 (clone3.S:62)");
        assert_eq!(place(&twice, 80), "__clone3 (clone3.S:62)");
    }

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!(blocks(0.5, 10), "█████");
        assert_eq!(blocks(0.55, 10), "█████▌");
        assert_eq!(blocks(2.0, 3), "███");
        assert_eq!(blocks(f64::NAN, 3), "");
    }
}
