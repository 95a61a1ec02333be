//! A line or two on the event loop that was blocked longest.

use whyslow_analysis::report::{EventLoop, Report, Stall};

use super::line::{Line, warning, wrap};
use crate::render::units::{count, span};
use crate::sanitize::clean;

const LINES: usize = 2;

/// None when no loop is blocked.
pub(super) fn lines(report: &Report, width: usize) -> Vec<Line> {
    let mut blocked = report.event_loops.iter().filter(|found| found.blocked);
    let Some(first) = blocked.next() else { return Vec::new() };
    let others = match blocked.count() {
        0 => String::new(),
        n => format!(" (and {} more loops)", count(n as u64)),
    };
    let text = format!("event loop blocked: {}{others}", clean(&who(first)));
    let lines = wrap(&text, width, LINES).into_iter();
    lines.map(|text| Line::new().push(warning(), text)).collect()
}

/// How long, where, in what, and how often.
fn who(found: &EventLoop) -> String {
    let Some(stall) = found.stalls.first() else {
        return format!("{} away from its poll", span(found.away.max_ns));
    };
    let place = match &stall.r#where {
        Some(place) => format!(" at {place}"),
        None => String::new(),
    };
    let doing = doing(stall).map_or(String::new(), |doing| format!(", {doing}"));
    let longest = format!("{}{place}{doing}", span(stall.max_ns));
    match stall.count {
        1 => longest,
        n => format!("{longest}; {} times, {}", count(n), span(stall.total_ns)),
    }
}

/// What most of the time went into.
fn doing(stall: &Stall) -> Option<String> {
    let blocking = stall.call.as_ref().map_or("blocked".to_owned(), |call| format!("in {call}"));
    let parts = [
        (stall.blocking_ns, blocking),
        (stall.cpu_ns, "computing".to_owned()),
        (stall.gil_ns, "waiting for the GIL".to_owned()),
        (stall.runq_ns, "waiting for a CPU".to_owned()),
    ];
    let most = parts.into_iter().max_by_key(|(ns, _)| *ns)?;
    (most.0 > stall.unknown_ns).then_some(most.1)
}
