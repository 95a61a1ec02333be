//! Numbers as the sentences of a prescription have them.

pub(super) use crate::verdict::percent as share;

pub(super) fn span(ns: f64) -> String {
    crate::verdict::duration(ns.max(0.0) as u64)
}

/// `1.6–1.9`; the second alone where both are the same.
pub(super) fn range([low, high]: [f64; 2]) -> String {
    let [low, high] =
        [low, high].map(|it| if it < 10.0 { format!("{it:.1}") } else { format!("{it:.0}") });
    if low == high { high } else { format!("{low}–{high}") }
}

pub(super) fn bytes(bytes: u64) -> String {
    let mb = bytes as f64 / 1e6;
    if mb < 1.0 { "less than 1 MB".to_owned() } else { format!("{mb:.0} MB") }
}
