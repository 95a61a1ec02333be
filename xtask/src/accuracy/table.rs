//! The results as Markdown: confusion matrix and errors. Pure.

use std::{collections::BTreeMap, fmt::Write};

use super::judge::{Judgement, Share};

/// Both tables.
pub(super) fn markdown(judgements: &[Judgement]) -> String {
    format!("{}\n{}", confusion(judgements), errors(judgements))
}

/// Rows: what it is. Columns: what the report says.
fn confusion(judgements: &[Judgement]) -> String {
    let mut counts: BTreeMap<&str, BTreeMap<&str, u32>> = BTreeMap::new();
    let mut columns: Vec<&str> = Vec::new();
    for judgement in judgements {
        let Some((found, _)) = &judgement.found else { continue };
        *counts.entry(&judgement.expected.0).or_default().entry(found).or_default() += 1;
        columns.extend([found.as_str(), &judgement.expected.0]);
    }
    columns.sort_unstable();
    columns.dedup();
    let mut text = format!("| it is ↓ found → | {} |\n", columns.join(" | "));
    writeln!(text, "|---|{}", "--:|".repeat(columns.len())).expect("a string takes all");
    for (expected, row) in counts {
        let cells: Vec<_> = columns
            .iter()
            .map(|column| row.get(column).map_or("·".into(), u32::to_string))
            .collect();
        writeln!(text, "| {expected} | {} |", cells.join(" | ")).expect("a string takes all");
    }
    text
}

/// One row per workload and mode; of several runs the one furthest off.
fn errors(judgements: &[Judgement]) -> String {
    let mut text = String::from(
        "| workload | mode | verdict | I/O measured | error | CPU measured | error |\n\
         |---|---|---|--:|--:|--:|--:|\n",
    );
    for judgement in worst_of_each(judgements) {
        let Judgement { about, mode, .. } = judgement;
        let verdict = verdict(judgement);
        let [io, cpu] = [judgement.io, judgement.cpu].map(cells);
        writeln!(text, "| {about} | {mode} | {verdict} | {io} | {cpu} |")
            .expect("a string takes all");
    }
    text
}

fn worst_of_each(judgements: &[Judgement]) -> Vec<&Judgement> {
    let mut worst: Vec<&Judgement> = Vec::new();
    for judgement in judgements {
        let same =
            |other: &&mut &Judgement| (&other.id, other.mode) == (&judgement.id, judgement.mode);
        match worst.iter_mut().find(same) {
            Some(other) if badness(judgement) > badness(other) => *other = judgement,
            Some(_) => {}
            None => worst.push(judgement),
        }
    }
    worst
}

/// Wrong before right, then by error.
fn badness(judgement: &Judgement) -> (bool, f64) {
    let shares = [judgement.io, judgement.cpu].into_iter().flatten();
    (!judgement.wrong.is_empty(), shares.map(|share| share.error().abs()).fold(0.0, f64::max))
}

fn verdict(judgement: &Judgement) -> String {
    let (class, cause) = &judgement.expected;
    match (&judgement.found, &judgement.skipped) {
        (Some(_), _) if judgement.verdict_is_right() => format!("{class}, {cause}"),
        (Some(found), _) => format!("**{}, {}** instead of {class}, {cause}", found.0, found.1),
        (None, Some(reason)) => format!("skipped: {reason}"),
        (None, None) => "**none**".into(),
    }
}

fn cells(share: Option<Share>) -> String {
    match share {
        Some(share) => format!("{:.1} % | {:+.2}", share.truth * 100.0, share.error()),
        None => " | ".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judgement(id: &str, expected: &str, found: &str, io: f64) -> Judgement {
        Judgement {
            id: id.into(),
            about: format!("does {id}"),
            mode: "launch",
            expected: (expected.into(), "a".into()),
            found: Some((found.into(), "a".into())),
            share: 1.0,
            io: Some(Share { truth: 0.5, report: io, slack: 0.0 }),
            cpu: None,
            others: 0.0,
            wrong: Vec::new(),
            skipped: None,
        }
    }

    #[test]
    fn the_matrix_counts_what_was_taken_for_what() {
        let judgements = [
            judgement("x", "idle", "idle", 0.5),
            judgement("y", "io-bound", "idle", 0.5),
            judgement("z", "io-bound", "io-bound", 0.5),
        ];
        let matrix = "| it is ↓ found → | idle | io-bound |\n|---|--:|--:|\n\
                      | idle | 1 | · |\n| io-bound | 1 | 1 |\n";
        assert_eq!(confusion(&judgements), matrix);
    }

    #[test]
    fn of_several_runs_the_worst_is_shown() {
        let judgements = [0.5, 0.49, 0.505].map(|io| judgement("x", "idle", "idle", io));
        let table = errors(&judgements);
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(rows, ["| does x | launch | idle, a | 50.0 % | -1.00 |  |  |"]);
    }

    #[test]
    fn a_wrong_verdict_stands_out() {
        let row = errors(&[judgement("x", "idle", "mixed", 0.5)]);
        assert!(row.contains("**mixed, a** instead of idle, a"), "{row}");
    }
}
