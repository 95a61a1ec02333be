//! The verdict, and what was recorded.

use whyslow_analysis::report::{Exit, Report, Target};

use super::event_loop;
use super::line::{Line, bold, columns, dim, fit, warning, wrap};
use crate::render::palette;
use crate::sanitize::clean;

const VERDICT_LINES: usize = 3;

pub(super) fn lines(report: &Report, width: usize) -> Vec<Line> {
    let style = bold().fg_color(palette::ansi_of_class(report.verdict.class).map(Into::into));
    let verdict = wrap(&clean(&report.verdict.summary), width, VERDICT_LINES)
        .into_iter()
        .map(|text| Line::new().push(style, text));
    let damage =
        report.quality.damage.iter().map(|why| {
            Line::new().push(warning(), format!("{why}: this is what could be read of it"))
        });
    let blocked = event_loop::lines(report, width);
    verdict
        .chain(damage)
        .chain(blocked)
        .chain([target(&report.target, width), Line::new()])
        .collect()
}

fn target(target: &Target, width: usize) -> Line {
    let facts = facts(target).join(" · ");
    let command = clean(&target.command.join(" ")).into_owned();
    let room = width.saturating_sub(columns(&facts) + 3).max(width / 3);
    Line::new().push(dim(), format!("{} · {facts}", fit(&command, room)))
}

fn facts(target: &Target) -> Vec<String> {
    let mut facts = vec![format!("PID {}", target.pid)];
    if target.processes > 1 {
        facts.push(format!("{} processes", target.processes));
    }
    if target.threads > 1 {
        facts.push(format!("{} threads", target.threads));
    }
    facts.push(target.runtime.clone());
    match target.exit {
        Some(Exit { signal: Some(signal), .. }) => facts.push(format!("killed by signal {signal}")),
        Some(Exit { code: Some(code), .. }) if code != 0 => facts.push(format!("exit code {code}")),
        _ => {}
    }
    facts
}
