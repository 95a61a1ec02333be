//! The GIL in two lines, where threads waited for it.

use std::collections::BTreeMap;

use whyslow_analysis::report::{Gil, GilLock, GilThread, Report};

use super::line::{Line, bold, dim};
use crate::render::units::{percent, span};

/// Waiting below this part of the window is left to the JSON.
const SMALLEST: f64 = 0.05;
/// A share that is known better than this is no estimate to a reader.
const ROUGH: f64 = 0.02;

pub(super) fn lines(report: &Report) -> Vec<Line> {
    let wall = report.window.duration_ns;
    let waited = |gil: &&Gil| gil.waiting_ns as f64 >= SMALLEST * wall as f64;
    let Some(gil) = report.gil.as_ref().filter(waited) else { return Vec::new() };
    let mut facts = vec![format!("threads waited {}", span(gil.waiting_ns))];
    if gil.without_ns > 0 {
        facts.push(format!("computed {} without it", span(gil.without_ns)));
    }
    let held = gil.locks.first().map_or_else(String::new, held);
    let first =
        Line::new().push(bold(), format!("GIL{held}")).plain(format!("; {}", facts.join(", ")));
    let second = gil.threads.first().map(|thread| worst(gil, thread));
    let second = second.map(|text| Line::new().push(dim(), format!("  {text}")));
    [first].into_iter().chain(second).chain([Line::new()]).collect()
}

/// For how much of the time, and where that lies if it is an estimate.
fn held(lock: &GilLock) -> String {
    let share = percent(lock.held_share);
    match lock.held_interval {
        Some([low, high]) if high - low >= ROUGH => {
            format!(" held {share} ({:.0} to {:.0} %)", low * 100.0, high * 100.0)
        }
        _ => format!(" held {share}"),
    }
}

/// Whom the thread that waited longest waited for.
fn worst(gil: &Gil, thread: &GilThread) -> String {
    let waited = format!("{} waited {}", thread.name, span(thread.waiting_ns));
    let own = || gil.edges.iter().filter(|edge| edge.waiter == thread.tid);
    let Some(first) = own().next() else { return waited };
    let mut places: BTreeMap<&str, u64> = BTreeMap::new();
    let mut of_holder = 0;
    for edge in own() {
        of_holder += if edge.holder == first.holder { edge.ns } else { 0 };
        *places.entry(edge.holder_where.as_deref().unwrap_or_default()).or_default() += edge.ns;
    }
    let (place, at_place) = places.into_iter().max_by_key(|(_, ns)| *ns).unwrap_or_default();
    let most = |ns: u64| ns.saturating_mul(2) >= thread.waiting_ns;
    let at = |place: &str| if place.is_empty() { String::new() } else { format!(" at {place}") };
    if most(of_holder) {
        let place = first.holder_where.as_deref().unwrap_or_default();
        format!("{waited}, mostly for {}{}", first.holder_name, at(place))
    } else if most(at_place) {
        format!("{waited}, mostly for threads{}", at(place))
    } else {
        let place = first.holder_where.as_deref().unwrap_or_default();
        format!("{waited}, the most for {}{}", first.holder_name, at(place))
    }
}
