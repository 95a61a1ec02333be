//! Threads as a condition that the kernel evaluates at each event. What is let
//! through by mistake costs time, no truth: the tracker drops it.

/// Ranges in a condition at most: the kernel evaluates them one by one.
pub(super) const RANGES: usize = 16;

/// Some threads, and all that begin after them as long as the numbers do not
/// start anew.
#[derive(Debug, Default)]
pub(super) struct Threads {
    newest: u32,
    /// First and last number of each range.
    ranges: Vec<(u32, u32)>,
}

impl Threads {
    /// `tids`, and every thread that begins after `newest`.
    pub(super) fn new(mut tids: Vec<u32>, newest: u32) -> Self {
        tids.sort_unstable();
        let ranges = ranges(&tids).map(|range| (range[0], range[range.len() - 1]));
        Threads { newest, ranges: ranges.collect() }
    }

    /// Whether the condition holds for a thread.
    pub(super) fn hold(&self, tid: u32) -> bool {
        tid > self.newest || self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&tid))
    }

    /// The same as numbers: the newest, and of each range the first with the last in the upper
    /// half. Behind the last one none holds.
    pub(super) fn numbers(&self) -> [u64; 1 + RANGES] {
        let mut numbers = [u32::MAX.into(); 1 + RANGES];
        numbers[0] = self.newest.into();
        for (number, (first, last)) in numbers[1..].iter_mut().zip(&self.ranges) {
            *number = u64::from(*last) << 32 | u64::from(*first);
        }
        numbers
    }

    /// The condition on a field of an event that holds the number of a thread.
    pub(super) fn condition(&self, field: &str) -> String {
        let newer = std::iter::once(format!("{field} > {}", self.newest));
        let range =
            |(first, last): &(u32, u32)| format!("({field} >= {first} && {field} <= {last})");
        newer.chain(self.ranges.iter().map(range)).collect::<Vec<_>>().join(" || ")
    }
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
        let threads = Threads::new(vec![9, 3, 4, 5], 20);
        let ranges = "(prev_pid >= 3 && prev_pid <= 5) || (prev_pid >= 9 && prev_pid <= 9)";
        assert_eq!(threads.condition("prev_pid"), format!("prev_pid > 20 || {ranges}"));
        assert_eq!(Threads::new(vec![], 20).condition("pid"), "pid > 20");
        let numbers = threads.numbers();
        assert_eq!(numbers[..4], [20, 5 << 32 | 3, 9 << 32 | 9, u32::MAX.into()]);
        let held: Vec<u32> = (0..30).filter(|tid| threads.hold(*tid)).collect();
        assert_eq!(held, [&[3, 4, 5, 9][..], &(21..30).collect::<Vec<u32>>()].concat());
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
