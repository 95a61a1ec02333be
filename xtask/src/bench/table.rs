//! The results as Markdown.

use std::fmt::Write;

use super::{
    Judged,
    idle::Idle,
    loss::Loss,
    overhead::{Overhead, median},
    pairs::Pairs,
    profilers::NONE,
    programs::Unit,
    python::Slowdowns,
    reporting::Reporting,
    stacks::Stacks,
};

const IN_MEMORY: &str = "writing to memory does not fail";

/// All tables.
pub(super) fn markdown(Judged { results, goals }: &Judged) -> String {
    let mut out = losses(&results.losses);
    for table in [
        overheads(&results.overhead),
        slowdowns(&results.python),
        idle(&results.idle),
        stacks(&results.stacks),
        reporting(&results.reporting),
    ] {
        out.push('\n');
        out.push_str(&table);
    }
    out.push_str("\n| goal | found | |\n|---|--:|---|\n");
    for goal in goals {
        let verdict = if goal.met { "met" } else { "missed" };
        writeln!(out, "| {} | {} | {verdict} |", goal.goal, goal.found).expect(IN_MEMORY);
    }
    out
}

pub(super) fn losses(losses: &[Loss]) -> String {
    let Some(first) = losses.first() else { return String::new() };
    let names: Vec<&str> = first.profilers.iter().map(|shares| shares.profiler).collect();
    let mut out = format!("| lost to interruptions | {} | whyslow says |\n", names.join(" | "));
    out.push_str(&format!("|---|{}\n", "--:|".repeat(names.len() + 1)));
    for loss in losses {
        let cell = |name: &&str| match *name {
            NONE => format!("{:.2} %", loss.alone() * 100.0),
            name => format!("{:+.2} %", loss.added(name) * 100.0),
        };
        let cells: Vec<String> = names.iter().map(cell).collect();
        let frames = if loss.frames == 1 { "1 frame" } else { &format!("{} frames", loss.frames) };
        let (hertz, cells, said) = (loss.hertz, cells.join(" | "), loss.said() * 100.0);
        writeln!(out, "| CPU loop, {frames}, {hertz} Hz | {cells} | {said:.2} % |")
            .expect(IN_MEMORY);
    }
    out
}

pub(super) fn stacks(stacks: &Stacks) -> String {
    let mut out = String::from(
        "| whole stacks, every CPU busy | lost | recorder's CPU | memory | recording \
         | complete | to flamegraph | memory |\n|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let alone = median(stacks.alone.clone()) * 100.0;
    writeln!(out, "| alone | {alone:.2} % | | | | | | |").expect(IN_MEMORY);
    for recorder in &stacks.recorders {
        writeln!(
            out,
            "| {} | {:+.2} % | {:.1} % | {} | {} | {:.1} % | {} | {} |",
            recorder.profiler,
            stacks.added(recorder) * 100.0,
            recorder.cpu() * 100.0,
            megabytes(recorder.peak_bytes),
            megabytes(recorder.bytes),
            recorder.complete * 100.0,
            seconds(recorder.flamegraph.wall_ns as f64),
            megabytes(recorder.flamegraph.peak_bytes),
        )
        .expect(IN_MEMORY);
    }
    out
}

pub(super) fn overheads(overheads: &[Overhead]) -> String {
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

pub(super) fn slowdowns(programs: &[Slowdowns]) -> String {
    let Some(first) = programs.first() else { return String::new() };
    let names: Vec<&str> = first.profilers.iter().map(|it| it.profiler).collect();
    let mut out = format!("| program | a piece, alone | {} |\n", names.join(" | "));
    out.push_str(&format!("|---|--:|{}\n", "--:|".repeat(names.len())));
    for Slowdowns { program, alone, profilers, .. } in programs {
        let time = format!("{:.3} ms", alone / 1e6);
        let times: Vec<String> = profilers.iter().map(|it| surely_added(&it.times)).collect();
        let cpu: Vec<String> = profilers.iter().map(|it| surely_added(&it.cpu)).collect();
        writeln!(out, "| {program} | {time} | {} |", times.join(" | ")).expect(IN_MEMORY);
        writeln!(out, "| its CPU time | | {} |", cpu.join(" | ")).expect(IN_MEMORY);
    }
    out
}

/// What pairs tell, and the interval in which that is.
pub(super) fn surely_added(pairs: &Pairs) -> String {
    let percent = |factor: f64| (factor - 1.0) * 100.0;
    match pairs.interval() {
        Some([low, high]) if pairs.factor() < 2.0 => {
            format!("{} ({:+.1} to {:+.1})", added(pairs.factor()), percent(low), percent(high))
        }
        _ => added(pairs.factor()),
    }
}

pub(super) fn idle(all: &[Idle]) -> String {
    let mut out =
        String::from("| 100 idle threads | program in | recorder's CPU |\n|---|---|--:|\n");
    for Idle { tier, program, cpu, .. } in all {
        writeln!(out, "| {tier} | {program} | {:.2} % |", cpu * 100.0).expect(IN_MEMORY);
    }
    out
}

fn cell(overhead: &Overhead, profiler: &str) -> String {
    if profiler == NONE {
        return seconds(overhead.alone_ns());
    }
    let added = match overhead.stopped(profiler) {
        true => format!("> × {:.0}", overhead.factor(profiler)),
        false => added(overhead.factor(profiler)),
    };
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

pub(super) fn reporting(reporting: &Reporting) -> String {
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

    #[test]
    fn many_pairs_have_an_interval() {
        let pairs = |times: &[f64]| {
            let mut pairs = Pairs::default();
            times.iter().for_each(|time| pairs.push(*time, 100.0));
            surely_added(&pairs)
        };
        assert_eq!(pairs(&[101.0, 100.0, 102.0, 99.0, 103.0, 101.0]), "+1.0 % (-1.0 to +3.0)");
        assert_eq!(pairs(&[101.0, 100.0, 102.0]), "+1.0 %");
        assert_eq!(pairs(&[401.0; 9]), "× 4.0");
    }
}
