//! The version of an interpreter, and why one is not supported.

use std::fmt;
use std::str::FromStr;

/// A version of CPython, as `PY_VERSION_HEX` has it: major, minor, micro, and
/// in the last byte level and serial of a pre-release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32);

/// The level of a final release; a release candidate is one below.
const FINAL: u8 = 0xf;
const CANDIDATE: u8 = 0xc;

/// Why the stacks of an interpreter cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// Before 3.8.
    #[error("cpython {0} is too old: python stacks can be read from 3.8 on")]
    Old(Version),
    /// After the last whose layout is known.
    #[error("cpython {0} is newer than the newest known, 3.15: python stacks are not read")]
    New(Version),
    /// Layouts still change between alphas and betas.
    #[error("cpython {0} is a pre-release whose layout is not known: python stacks are not read")]
    Unfinished(Version),
    /// Nobody says.
    #[error("the version of the python interpreter is unknown: python stacks are not read")]
    Unknown,
    /// Memory says that it is a version that it cannot be.
    #[error("cpython {0} describes itself in a way that makes no sense")]
    Absurd(Version),
    /// The process is gone, or may not be read.
    #[error("the memory of the python interpreter cannot be read")]
    Unreadable,
}

impl Version {
    /// Major and minor.
    #[must_use]
    pub fn release(self) -> (u8, u8) {
        let [major, minor, ..] = self.0.to_be_bytes();
        (major, minor)
    }

    /// Layouts are fixed: a release candidate, or what follows it.
    pub(crate) fn is_fixed(self) -> bool {
        self.0.to_be_bytes()[3] >> 4 >= CANDIDATE
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, micro, level] = self.0.to_be_bytes();
        write!(f, "{major}.{minor}.{micro}")?;
        let letters = match level >> 4 {
            0xa => "a",
            0xb => "b",
            CANDIDATE => "rc",
            _ => return Ok(()),
        };
        write!(f, "{letters}{}", level & 0xf)
    }
}

/// `3.11.7`, or `3.11` alone. Of `3.13.0rc2` and `3.8.18+` the tail is left
/// away: the layout does not depend on it.
impl FromStr for Version {
    type Err = Unsupported;

    fn from_str(text: &str) -> Result<Self, Unsupported> {
        let mut numbers = text.split('.').map(|part| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..end].parse::<u8>().ok()
        });
        let mut next = || numbers.next().flatten();
        let (major, minor) = next().zip(next()).ok_or(Unsupported::Unknown)?;
        let micro = next().unwrap_or(0);
        Ok(Version(u32::from_be_bytes([major, minor, micro, FINAL << 4])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_reads_and_prints_as_python_does() {
        assert_eq!("3.11.7".parse(), Ok(Version(0x030b_07f0)));
        assert_eq!("3.8.18+".parse(), Ok(Version(0x0308_12f0)));
        assert_eq!("3.10".parse(), Ok(Version(0x030a_00f0)));
        for nonsense in ["", "3", "pypy", "3.x", "3.999"] {
            assert_eq!(nonsense.parse::<Version>(), Err(Unsupported::Unknown), "{nonsense}");
        }
        assert_eq!(Version(0x030d_00c2).to_string(), "3.13.0rc2");
        assert_eq!(Version(0x030b_07f0).to_string(), "3.11.7");
        assert_eq!(Version(0x030b_07f0).release(), (3, 11));
    }

    #[test]
    fn a_layout_is_fixed_from_the_first_candidate_on() {
        assert!(Version(0x030d_00c1).is_fixed() && Version(0x030d_00f0).is_fixed());
        assert!(!Version(0x030d_00b4).is_fixed());
    }
}
