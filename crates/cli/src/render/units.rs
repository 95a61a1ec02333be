//! Numbers for people: three significant digits, and a unit.

const UNITS: [(u64, &str); 4] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"), (1, "ns")];

/// A span of time: `7.21 s`, `12.1 ms`, `840 µs`, `12 m 05 s`, `3 h 20 m`.
#[must_use]
pub(crate) fn span(ns: u64) -> String {
    let seconds = ns.saturating_add(500_000_000) / 1_000_000_000;
    match seconds {
        0..600 => short_span(ns),
        600..3600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} m", seconds / 3600, seconds % 3600 / 60),
    }
}

fn short_span(ns: u64) -> String {
    // Up to half a unit below, so that 999.6 µs becomes 1.00 ms and not 1000 µs.
    let fits = |unit: u64| ns.saturating_add(unit / 2_000) >= unit;
    let (unit, name) = UNITS.into_iter().find(|&(unit, _)| fits(unit)).unwrap_or((1, "ns"));
    match unit {
        1 => format!("{ns} {name}"),
        _ => format!("{} {name}", significant(ns as f64 / unit as f64)),
    }
}

/// A number of things: `1,234`, `12.3k`, `1.23M`.
#[must_use]
pub(crate) fn count(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..999_500 => format!("{}k", significant(n as f64 / 1e3)),
        999_500..999_500_000 => format!("{}M", significant(n as f64 / 1e6)),
        _ => format!("{}G", significant(n as f64 / 1e9)),
    }
}

/// A share of one: `72.1 %`.
#[must_use]
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Three significant digits; all digits of larger whole parts.
#[must_use]
pub(crate) fn significant(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_keep_three_digits_and_round_across_units() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (840_400, "840 µs"),
            (999_600, "1.00 ms"),
            (12_100_000, "12.1 ms"),
            (7_210_000_000, "7.21 s"),
            (599_400_000_000, "599 s"),
            (599_600_000_000, "10 m 00 s"),
            (725_000_000_000, "12 m 05 s"),
            (12_000_000_000_000, "3 h 20 m"),
            (u64::MAX, "5124095 h 34 m"),
        ] {
            assert_eq!(span(ns), text, "{ns}");
        }
    }

    #[test]
    fn counts_are_shortened_from_ten_thousand_on() {
        for (n, text) in [
            (0, "0"),
            (9_999, "9999"),
            (12_345, "12.3k"),
            (999_499, "999k"),
            (999_500, "1.00M"),
            (1_234_567, "1.23M"),
            (999_600_000, "1.00G"),
        ] {
            assert_eq!(count(n), text, "{n}");
        }
    }
}
