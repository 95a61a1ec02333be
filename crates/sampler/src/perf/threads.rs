//! Threads as a condition that the kernel evaluates at each switch. What is let
//! through by mistake costs time, no truth: the tracker drops it.

/// Ranges in a condition at most: the kernel evaluates them one by one.
const RANGES: usize = 16;

/// A condition on `prev_pid` that holds for `tids` and for every thread that
/// begins after `newest`, as long as the numbers do not start anew.
pub(super) fn filter(mut tids: Vec<u32>, newest: u32) -> String {
    tids.sort_unstable();
    let mut condition = format!("prev_pid > {newest}");
    for range in ranges(&tids) {
        let (first, last) = (range[0], range[range.len() - 1]);
        condition.push_str(&format!(" || (prev_pid >= {first} && prev_pid <= {last})"));
    }
    condition
}

/// Sorted numbers, cut where the widest gaps are.
fn ranges(sorted: &[u32]) -> impl Iterator<Item = &[u32]> {
    let mut gaps: Vec<u32> = sorted.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable_by(|a, b| b.cmp(a));
    let close = gaps.get(RANGES - 1).copied().unwrap_or_default().max(1);
    sorted.chunk_by(move |a, b| b - a <= close)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_names_neighbours_once() {
        let condition = filter(vec![9, 3, 4, 5], 20);
        let ranges = "(prev_pid >= 3 && prev_pid <= 5) || (prev_pid >= 9 && prev_pid <= 9)";
        assert_eq!(condition, format!("prev_pid > 20 || {ranges}"));
        assert_eq!(filter(vec![], 20), "prev_pid > 20");
    }

    #[test]
    fn many_threads_make_few_ranges_that_hold_them_all() {
        let scattered: Vec<u32> = (1..=300).map(|number| number * number).collect();
        let ranges: Vec<&[u32]> = ranges(&scattered).collect();
        assert_eq!((ranges.len(), ranges.concat()), (RANGES, scattered.clone()));
        let even: Vec<u32> = (0..100).map(|number| number * 10).collect();
        assert_eq!(super::ranges(&even).count(), 1);
    }
}
