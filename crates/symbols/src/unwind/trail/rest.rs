//! When walks are not worth noting: the whole stack of some programs is another one at each
//! sample, such as that of a recursion that goes up and down between two.

use super::WORTH;

/// Of the frames, one in so many must have been spared.
const SPARED: usize = 5;
/// Most walks that are not noted before it is tried again, as a power of two.
const LONGEST: u32 = 6;

/// How long walks through a stack are not noted.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Walks in a row beside others that spared too little.
    vain: u32,
    /// Walks not to be noted.
    left: u32,
    /// What was noted is of before these: the next walk finds nothing.
    old: bool,
}

impl Rest {
    /// Whether the next walk is not to be noted.
    pub(super) fn lasts(&self) -> bool {
        self.left > 0
    }

    /// A walk has come to so many frames, and was spared others.
    pub(super) fn walked(&mut self, walked: usize, spared: usize) {
        if self.left > 0 {
            self.left -= 1;
        } else if self.old {
            self.old = false;
        } else if spared * SPARED >= walked + spared {
            self.vain = 0;
        } else if walked >= WORTH {
            self.vain = (self.vain + 1).min(LONGEST);
            // One may happen to anybody.
            self.left = (1 << self.vain) - 2;
            self.old = self.left > 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a hundred walks that are spared nothing, or much, those that are noted.
    fn noted(rest: &mut Rest, spared: usize) -> usize {
        let mut walk = || {
            let noted = !rest.lasts();
            if noted {
                rest.walked(100, spared)
            } else {
                rest.walked(0, 0)
            }
            noted
        };
        (0..100).filter(|_| walk()).count()
    }

    #[test]
    fn walks_that_spare_nothing_are_noted_ever_less() {
        let mut rest = Rest::default();
        assert_eq!(noted(&mut rest, 900), 100);
        assert!((2..20).contains(&noted(&mut rest, 0)));
        assert!((1..6).contains(&noted(&mut rest, 0)));
        assert!(noted(&mut rest, 900) > 30, "soon after they do");
        assert_eq!(noted(&mut rest, 900), 100);
    }

    #[test]
    fn a_short_stack_says_nothing() {
        let mut rest = Rest::default();
        (0..100).for_each(|_| rest.walked(WORTH - 1, 0));
        assert!(!rest.lasts());
    }
}
