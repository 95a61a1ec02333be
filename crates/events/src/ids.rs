//! Identifiers and units. All are plain integers with a name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A point on `CLOCK_MONOTONIC`, or a span of it, in nanoseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Ns(pub u64);

impl Ns {
    /// The span from `earlier` to `self`; zero when the order is reversed.
    #[must_use]
    pub fn since(self, earlier: Ns) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A process (thread group), as the initial PID namespace numbers it.
    Pid
}
id! {
    /// A thread, as the initial PID namespace numbers it.
    Tid
}
id! {
    /// A logical CPU.
    Cpu
}
id! {
    /// An interned pair of kernel and user call chain ([`crate::Event::Stack`]).
    StackId
}
id! {
    /// An interned function of an interpreted program ([`crate::Event::Code`]).
    CodeId
}
id! {
    /// An interned place of waiting ([`crate::Event::Site`]).
    SiteId
}
id! {
    /// A lock under which an interpreter runs code ([`crate::Event::Gil`]).
    GilId
}
id! {
    /// One address space: a process from its start, or from an `exec`, to the next.
    SpaceId
}

/// A set of logical CPUs, 64 to the word, CPU 0 in the lowest bit of the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CpuSet(pub Vec<u64>);

impl CpuSet {
    /// Whether `cpu` is in the set.
    #[must_use]
    pub fn contains(&self, cpu: Cpu) -> bool {
        let (word, bit) = (cpu.0 as usize / 64, cpu.0 % 64);
        self.0.get(word).is_some_and(|w| w >> bit & 1 == 1)
    }

    /// Adds `cpu`.
    pub fn insert(&mut self, cpu: Cpu) {
        let (word, bit) = (cpu.0 as usize / 64, cpu.0 % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }

    /// The members, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Cpu> + '_ {
        self.0.iter().zip(0u32..).flat_map(|(&word, index)| {
            (0..64u32).filter(move |bit| word >> bit & 1 == 1).map(move |bit| Cpu(index * 64 + bit))
        })
    }

    /// How many CPUs are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether the set has no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|w| *w == 0)
    }
}

impl FromIterator<Cpu> for CpuSet {
    fn from_iter<I: IntoIterator<Item = Cpu>>(cpus: I) -> Self {
        let mut set = CpuSet::default();
        for cpu in cpus {
            set.insert(cpu);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_set_gives_back_what_went_in() {
        let set: CpuSet = [Cpu(0), Cpu(63), Cpu(64), Cpu(200)].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [Cpu(0), Cpu(63), Cpu(64), Cpu(200)]);
        assert_eq!(set.len(), 4);
        assert!(set.contains(Cpu(64)) && !set.contains(Cpu(65)) && !set.contains(Cpu(100_000)));
    }
}
