//! Predictions and what became of them, as Markdown and as lines. Pure.

use std::fmt::Write;

use super::Outcome;

const MODELS: [&str; 3] = ["threads", "asyncio", "multiprocessing"];

/// One row for each program.
pub(crate) fn markdown(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| program | recommended | predicted | measured | threads | asyncio | processes |\n\
         |---|---|--:|--:|--:|--:|--:|\n",
    );
    for outcome in outcomes {
        let predicted = predicted(outcome);
        let mark = if outcome.is_in_range() { "" } else { "**" };
        let measured = format!("{mark}{:.2}{mark}", outcome.gained());
        let others = MODELS.map(|model| match outcome.measured.get(model) {
            Some(_) if model == outcome.now => "as it is".to_owned(),
            Some(gain) => format!("{gain:.2}"),
            None => String::new(),
        });
        let Outcome { about, .. } = outcome;
        let row = [about.clone(), recommended(outcome), predicted, measured].into_iter();
        let cells: Vec<String> = row.chain(others).collect();
        writeln!(text, "| {} |", cells.join(" | ")).expect("a string takes all");
    }
    text
}

/// One program, for people who wait.
pub(super) fn line(id: &str, outcome: &Outcome) -> String {
    let right = if outcome.is_right() { "right" } else { "WRONG" };
    let measured: Vec<String> =
        outcome.measured.iter().map(|(model, gain)| format!("{model} {gain:.2}")).collect();
    let shows = outcome.antipatterns.join(", ");
    let unnamed = outcome.unnamed.as_ref().map_or(String::new(), |it| format!(", no {it}"));
    format!(
        "{id:<12} {right}   {}: {}; {} ({shows}{unnamed})",
        recommended(outcome),
        predicted(outcome),
        measured.join(", "),
    )
}

fn recommended(outcome: &Outcome) -> String {
    match outcome.predicted {
        Some(_) if outcome.workers > 1 => format!("{}, {}", outcome.recommended, outcome.workers),
        Some(_) => outcome.recommended.clone(),
        None => "keep".to_owned(),
    }
}

fn predicted(outcome: &Outcome) -> String {
    outcome.predicted.map_or("–".to_owned(), |[low, high]| format!("{low:.2} to {high:.2}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::outcome;
    use super::*;

    #[test]
    fn a_row_has_the_range_and_every_model() {
        let measured = [("sequential", 1.0), ("threads", 4.8), ("asyncio", 4.5)];
        let table = markdown(&[outcome("threads", [4.0, 5.0], &measured)]);
        let row = table.lines().last().unwrap();
        assert_eq!(row, "| does x | threads, 5 | 4.00 to 5.00 | 4.80 | 4.80 | 4.50 |  |");
    }

    #[test]
    fn a_missed_range_stands_out() {
        let missed = outcome("threads", [4.9, 5.0], &[("threads", 4.8)]);
        assert!(markdown(&[missed]).contains("| **4.80** |"));
    }
}
