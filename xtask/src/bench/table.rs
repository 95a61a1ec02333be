//! The results as Markdown.

use std::fmt::Write;

use super::{Results, overhead::Overhead, profilers::NONE, programs::Unit, reporting::Reporting};

const IN_MEMORY: &str = "writing to memory does not fail";

/// All tables.
pub(super) fn markdown(results: &Results) -> String {
    let mut out = overheads(&results.overhead);
    out.push('\n');
    out.push_str(&reporting(&results.reporting));
    out.push_str("\n| goal | found | |\n|---|--:|---|\n");
    for goal in &results.goals {
        let verdict = if goal.met { "met" } else { "missed" };
        writeln!(out, "| {} | {} | {verdict} |", goal.goal, goal.found).expect(IN_MEMORY);
    }
    out
}

fn overheads(overheads: &[Overhead]) -> String {
    let Some(first) = overheads.first() else { return String::new() };
    let names: Vec<&str> = first.profilers.iter().map(|times| times.profiler).collect();
    let mut out = format!("| program | {} |\n", names.join(" | "));
    out.push_str(&format!("|---|{}\n", "--:|".repeat(names.len())));
    for overhead in overheads {
        let cells: Vec<String> = names.iter().map(|name| cell(overhead, name)).collect();
        writeln!(out, "| {} | {} |", overhead.program, cells.join(" | ")).expect(IN_MEMORY);
    }
    out
}

fn cell(overhead: &Overhead, profiler: &str) -> String {
    if profiler == NONE {
        return seconds(overhead.alone_ns());
    }
    let added = added(overhead.factor(profiler));
    match (overhead.unit, overhead.per_switch_ns(profiler)) {
        (Unit::Switch, Some(ns)) => format!("{added}, {:.1} µs per switch", ns / 1_000.0),
        _ => added,
    }
}

/// A factor as what it adds, or as it is when it is large.
fn added(factor: f64) -> String {
    if factor < 2.0 {
        format!("{:+.1} %", (factor - 1.0) * 100.0)
    } else {
        format!("× {factor:.1}")
    }
}

fn seconds(ns: f64) -> String {
    format!("{:.2} s", ns / 1e9)
}

fn reporting(reporting: &Reporting) -> String {
    let mut out = String::from("| from recording to flamegraph | time | memory | recording |\n");
    out.push_str("|---|--:|--:|--:|\n");
    let ours = format!("`whyslow report`, {} events", reporting.whyslow_events);
    let theirs = "`perf script`, `inferno-collapse-perf`, `inferno-flamegraph`".to_owned();
    for (name, cost, bytes) in [
        (ours, reporting.whyslow, reporting.whyslow_bytes),
        (theirs, reporting.perf, reporting.perf_bytes),
    ] {
        let (time, memory) = (seconds(cost.wall_ns as f64), megabytes(cost.peak_bytes));
        let recording = megabytes(bytes);
        writeln!(out, "| {name} | {time} | {memory} | {recording} |").expect(IN_MEMORY);
    }
    out
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_factors_are_percentages() {
        assert_eq!(added(1.004), "+0.4 %");
        assert_eq!(added(0.99), "-1.0 %");
        assert_eq!(added(25.04), "× 25.0");
    }
}
