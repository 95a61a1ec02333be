//! How much of the timeline is sampled, and how well.

use crate::wilson;

/// Looks at threads, and the time between those that found a thread moved: what
/// it did there is known of the ends alone.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sampling {
    /// How often a thread was looked at.
    pub(crate) looks: u64,
    /// How often it had moved since.
    pub(crate) moved: u64,
    /// The time in which that was, ns, and that which is drawn by what was recorded before.
    pub(crate) sampled_ns: u64,
    /// The sum of the squares of the first, and of the others, each by what it is known of.
    squares: f64,
    drawn: f64,
}

/// Waits that were taken to be like others, which were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Lent {
    /// How many, their time, and that of all waits that were told of, ns.
    pub(crate) waits: u64,
    pub(crate) ns: u64,
    pub(crate) told_ns: u64,
    /// So many were looked at.
    pub(crate) examples: u64,
}

impl Sampling {
    pub(super) fn look(&mut self, moved: bool, span: u64) {
        self.looks += 1;
        if moved {
            self.moved += 1;
            self.sampled_ns += span;
            self.squares += span as f64 * span as f64;
        }
    }

    /// So long is drawn by a part that was recorded, in which so many waits were seen.
    pub(super) fn draw(&mut self, span: u64, seen: usize) {
        self.sampled_ns += span;
        self.drawn += span as f64 * span as f64 / seen.max(1) as f64;
    }

    /// What is drawn is at least as far off as pauses with these squares.
    pub(super) fn apart(&mut self, squares: f64) {
        self.drawn = self.drawn.max(squares * self.sampled_ns as f64 * self.sampled_ns as f64);
    }

    /// What was told stands for so much more, ns, and has these squares.
    pub(super) fn stand_for(&mut self, ns: u64, squares: f64) {
        self.sampled_ns += ns;
        self.drawn += ns as f64 * ns as f64 * squares;
    }

    /// What is drawn is drawn by what was lent, too: with the examples all of it is off. And
    /// those waits are as few as they are.
    pub(super) fn lend(&mut self, Lent { waits, ns, told_ns, examples }: Lent) {
        let part = ns as f64 / told_ns.max(1) as f64;
        let by_examples = ns as f64 + part * self.sampled_ns as f64;
        self.sampled_ns += ns;
        self.drawn += by_examples * by_examples / examples.max(1) as f64;
        self.drawn += ns as f64 * ns as f64 / waits.max(1) as f64;
    }

    pub(super) fn add(&mut self, other: Sampling) {
        self.looks += other.looks;
        self.moved += other.moved;
        self.sampled_ns += other.sampled_ns;
        self.squares += other.squares;
        self.drawn += other.drawn;
    }

    /// The interval, by Wilson's score, of a share of `thread_ns` of thread time
    /// in `wall_ns`, of which only `sampled_ns` is sampled. As many looks of equal
    /// weight would know as much as these of different ones, and those at several
    /// threads of the same moment may know the same. What is drawn is each thread's own.
    pub(crate) fn interval(&self, share: f64, thread_ns: u64, wall_ns: u64) -> [f64; 2] {
        if self.squares + self.drawn == 0.0 {
            return [share, share];
        }
        let sampled = self.sampled_ns as f64;
        let at_once = (thread_ns as f64 / wall_ns.max(1) as f64).max(1.0);
        let n = sampled * sampled / (self.squares * at_once + self.drawn);
        let part = (sampled / thread_ns.max(1) as f64).min(1.0);
        // A sum of parts may be more than all by its last digit.
        let known = share.clamp(0.0, 1.0);
        let [low, high] = wilson::interval(known, n).map(|end| known + (end - known) * part);
        [low.clamp(0.0, known), high.clamp(known, 1.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(count: u64, span: u64) -> Sampling {
        let mut sampling = Sampling::default();
        (0..count).for_each(|_| sampling.look(true, span));
        sampling
    }

    #[test]
    fn what_is_known_exactly_has_no_width() {
        let mut exact = Sampling::default();
        exact.look(false, 1000);
        assert_eq!(exact.interval(0.3, 1000, 1000), [0.3, 0.3]);
    }

    #[test]
    fn a_hundred_looks_are_ten_points_at_one_half() {
        let [low, high] = looks(100, 10).interval(0.5, 1000, 1000);
        assert!((low - 0.404).abs() < 0.001 && (high - 0.596).abs() < 0.001, "{low} {high}");
        let [low, high] = looks(100, 10).interval(0.5, 10_000, 10_000);
        assert!((high - low - 0.0192).abs() < 0.001, "a tenth of the time is sampled");
    }

    #[test]
    fn what_is_drawn_is_known_as_well_as_what_it_is_drawn_by() {
        let mut drawn = Sampling::default();
        (0..10).for_each(|_| drawn.draw(100, 10));
        assert_eq!(drawn.interval(0.5, 1000, 1000), looks(100, 10).interval(0.5, 1000, 1000));
    }

    #[test]
    fn what_is_lent_is_known_as_well_as_its_examples() {
        let mut all = Sampling::default();
        all.lend(Lent { waits: 200, ns: 500, told_ns: 1000, examples: 200 });
        let [low, high] = looks(100, 5).interval(0.5, 1000, 1000);
        assert_eq!(all.interval(0.5, 1000, 1000), [low, high]);
        let mut drawn = looks(100, 10);
        drawn.lend(Lent { told_ns: 1000, ..Lent::default() });
        assert_eq!(drawn, looks(100, 10), "nothing is lent");
    }

    #[test]
    fn what_stands_for_others_is_known_as_well_as_its_parts_are_alike() {
        let hundred = looks(100, 10).interval(0.5, 1000, 1000);
        let mut told = Sampling::default();
        told.stand_for(1000, 0.01);
        assert_eq!(told.interval(0.5, 1000, 1000), hundred);
        let mut drawn = Sampling::default();
        drawn.draw(1000, 1000);
        drawn.apart(0.01);
        assert_eq!(drawn.interval(0.5, 1000, 1000), hundred);
        drawn.apart(0.001);
        assert_eq!(drawn.interval(0.5, 1000, 1000), hundred, "by whatever is worse");
    }

    #[test]
    fn a_share_is_at_most_all() {
        assert_eq!(looks(100, 10).interval(1.0 + f64::EPSILON, 1000, 1000)[1], 1.0);
    }

    #[test]
    fn a_share_that_was_never_or_always_seen_may_still_not_be_nothing_or_all() {
        let [low, high] = looks(100, 10).interval(1.0, 1000, 1000);
        assert!(low > 0.95 && low < 0.99 && high == 1.0);
        assert!(looks(100, 10).interval(0.0, 1000, 1000)[1] > 0.01);
    }
}
