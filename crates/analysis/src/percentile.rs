//! The lengths of waits and rounds, as reports tell them.

/// The shortest of the `sorted` lengths that at least `percent` of them do not
/// exceed; 0 of none.
pub(crate) fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}
