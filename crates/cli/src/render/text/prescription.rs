//! What to do, and what that would gain.

use whyslow_analysis::report::{Predicted, Prescription, Report};

use super::line::{Line, bold, columns, dim, wrap};
use crate::render::units::{significant, span};
use crate::sanitize::clean;

const LABEL: &str = "To do  ";
/// Lines for one reason when there is one screen, and when all is shown.
const LINES: usize = 2;
const ALL: usize = 6;

pub(super) fn lines(report: &Report, width: usize, verbose: bool) -> Vec<Line> {
    let Some(prescription) = &report.prescription else { return Vec::new() };
    let room = width.saturating_sub(LABEL.len());
    let heading = Line::new().push(bold(), LABEL).push(bold(), gain(prescription, room));
    let Prescription { because, rejected, antipatterns, .. } = prescription;
    let mistakes = antipatterns.iter().map(|it| format!("{}: {}", it.id, it.evidence));
    let others = rejected.iter().map(|it| format!("not {}: {}", it.model, it.why));
    let because = because.iter().cloned();
    let reasons: Vec<String> = match verbose {
        true => mistakes.chain(because).chain(others).collect(),
        // One for what is wrong, or else why.
        false => mistakes.chain(because).take(1).collect(),
    };
    let most = if verbose { ALL } else { LINES };
    let reasons = reasons.iter().flat_map(|reason| wrap(&clean(reason), room, most));
    let reasons = reasons.map(|text| Line::new().pad_to(LABEL.len()).push(dim(), text));
    [heading].into_iter().chain(reasons).collect()
}

/// `threads with 5 workers: 4.3 to 4.9 times as fast (1.03 s to 1.17 s)`, without the times
/// where those do not fit in `room` columns.
fn gain(prescription: &Prescription, room: usize) -> String {
    let model = clean(&prescription.model).into_owned();
    let Some(Predicted { workers, wall_ns: [low, high], speedup, .. }) = prescription.predicted
    else {
        return model;
    };
    let with = if workers > 1 { format!(" with {workers} workers") } else { String::new() };
    let [slow, fast] = speedup.map(significant);
    let times = if slow == fast { fast } else { format!("{slow} to {fast}") };
    let gain = format!("{model}{with}: {times} times as fast");
    let [low, high] = [span(low), span(high)];
    let whole = match low == high {
        true => format!("{gain} ({low})"),
        false => format!("{gain} ({low} to {high})"),
    };
    if columns(&whole) <= room { whole } else { gain }
}
