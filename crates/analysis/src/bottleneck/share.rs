//! Shares of the wall-clock time, by two rules between which the whole recording decides.

use std::ops::{AddAssign, Mul, Sub};

/// From this part of the time on, what is asked for by more than can have it is used up.
const USED_UP: f64 = 0.8;

/// Who holds the program up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Who computes and who waits for something outside, each as much as the other.
    #[default]
    Number,
    /// The same but for the moments of contention, which are of who computes: what is used up
    /// holds the program up, however many wait for something else meanwhile. No answer that
    /// comes sooner makes it faster.
    Contention,
}

impl Rule {
    /// That of a time in which something was asked for by more than can have it for so long.
    pub(crate) fn of(wanted_ns: f64, whole_ns: u64) -> Rule {
        if wanted_ns > 0.0 && wanted_ns >= whole_ns as f64 * USED_UP {
            Rule::Contention
        } else {
            Rule::Number
        }
    }
}

/// A share by either rule, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Share {
    number: f64,
    contention: f64,
}

impl Share {
    /// One of a moment that is shared by so many by number, and so many by contention.
    pub(crate) fn of(span: f64, [number, contention]: [u32; 2]) -> Share {
        let part = |members: u32| if members == 0 { 0.0 } else { span / f64::from(members) };
        Share { number: part(number), contention: part(contention) }
    }

    pub(crate) fn by(self, rule: Rule) -> f64 {
        match rule {
            Rule::Number => self.number,
            Rule::Contention => self.contention,
        }
    }
}

impl AddAssign for Share {
    fn add_assign(&mut self, other: Share) {
        self.number += other.number;
        self.contention += other.contention;
    }
}

impl Sub for Share {
    type Output = Share;

    fn sub(self, other: Share) -> Share {
        Share { number: self.number - other.number, contention: self.contention - other.contention }
    }
}

impl Mul<f64> for Share {
    type Output = Share;

    fn mul(self, factor: f64) -> Share {
        Share { number: self.number * factor, contention: self.contention * factor }
    }
}
