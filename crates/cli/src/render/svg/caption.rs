//! What the flamegraph is of: command, verdict, place and time, view.

use whyslow_analysis::View;
use whyslow_analysis::report::Report;

use super::escape;
use crate::render::Origin;
use crate::render::units::span;

/// Height of the caption; the legend follows.
pub(super) const HEIGHT: usize = 76;
/// Left edge, the same as that of the frames.
pub(super) const LEFT: usize = 10;
/// Lines are cut after so many characters.
const LONGEST_TITLE: usize = 90;
const LONGEST_LINE: usize = 160;

pub(super) struct Caption {
    pub(super) title: String,
    verdict: String,
    facts: String,
}

impl Caption {
    pub(super) fn new(report: &Report, origin: &Origin, view: View) -> Self {
        let pid = format!(" · PID {}", report.target.pid);
        let command = report.target.command.join(" ");
        let room = LONGEST_TITLE - pid.chars().count();
        let threads = match report.target.threads {
            1 => "1 thread".into(),
            n => format!("{n} threads"),
        };
        let facts = [
            origin.host.clone(),
            start(&report.window.start),
            span(report.window.duration_ns),
            threads,
            describe(view).into(),
        ];
        Caption {
            // inferno escapes its title itself, but lets control characters through.
            title: crate::sanitize::clean(&format!("{}{pid}", shorten(&command, room)))
                .into_owned(),
            verdict: shorten(&report.verdict.summary, LONGEST_LINE),
            facts: shorten(&facts.join(" · "), LONGEST_LINE),
        }
    }

    /// The lines below the title, which inferno draws.
    pub(super) fn svg(&self) -> String {
        format!("{}{}", text("verdict", 46, &self.verdict), text("facts", 65, &self.facts))
    }

    /// A whole document for a view that holds nothing.
    pub(super) fn alone(&self) -> String {
        format!(
            "<?xml version=\"1.0\" standalone=\"no\"?>\n\
             <svg version=\"1.1\" width=\"100%\" height=\"110\" \
             xmlns=\"http://www.w3.org/2000/svg\">\n\
             <style>text {{ font-family:monospace; font-size:12px; }}{}</style>\n\
             <rect width=\"100%\" height=\"100%\" class=\"page\"/>\n\
             <g id=\"caption\">{}{}{}</g>\n</svg>\n",
            include_str!("empty.css"),
            text("title", 24, &self.title),
            self.svg(),
            text("empty", 95, "Nothing was recorded that this view shows."),
        )
    }
}

fn text(class: &str, y: usize, content: &str) -> String {
    // Placed by transform: the script looks frames up by their x and y.
    format!(
        "<text class=\"{class}\" transform=\"translate({LEFT},{y})\">{}</text>",
        escape(content)
    )
}

/// What `view` weighs.
fn describe(view: View) -> &'static str {
    match view {
        View::Wall => "view wall: thread time, idle left out",
        View::Cpu => "view cpu: time on the CPU",
        View::OffCpu => "view offcpu: time spent waiting",
        View::Bottleneck => "view bottleneck: wall-clock time, shared among what held it up",
    }
}

/// `2026-11-23T15:05:35Z` as people write it.
fn start(rfc3339: &str) -> String {
    match rfc3339.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => rfc3339.to_string(),
    }
}

fn shorten(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_string();
    }
    text.chars().take(longest - 1).chain(['…']).collect()
}
