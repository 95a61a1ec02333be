//! The distinct addresses that stand in stacks, and which of them want a name.

use std::ops::Range;

use rustc_hash::FxHashMap;
use whyslow_events::{SpaceId, SymbolKey};

/// Distinct addresses kept; further ones stay without a name. Real recordings
/// have a hundredth of it.
const LIMIT: usize = 1 << 20;

/// An address that wants a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) key: SymbolKey,
    /// The instruction behind a call, which may belong to the next line or
    /// even the next function.
    pub(crate) is_return: bool,
}

impl Wanted {
    /// An address inside the instruction that was executing.
    pub(crate) fn executing(&self) -> u64 {
        self.key.address.saturating_sub(u64::from(self.is_return))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Exact,
    Return,
    Named,
}

#[derive(Debug, Default)]
pub(crate) struct Addresses {
    states: FxHashMap<SymbolKey, State>,
}

impl Addresses {
    /// Notes one half of a call chain, innermost first. Gives the addresses in
    /// it that were not seen before.
    pub(crate) fn stack(&mut self, space: Option<SpaceId>, chain: &[u64]) -> Vec<u64> {
        let known = self.states.len();
        let mut new = Vec::new();
        for (depth, &address) in chain.iter().enumerate() {
            // Noted a moment ago: recursion.
            if depth > 1 && chain[depth - 1] == address {
                continue;
            }
            let seen = if depth == 0 { State::Exact } else { State::Return };
            self.note(SymbolKey { space, address }, seen);
            if self.states.len() > known + new.len() {
                new.push(address);
            }
        }
        new
    }

    /// The address inside the instruction that was executing; `None` when it
    /// has a name, or was not seen.
    pub(crate) fn executing(&self, key: SymbolKey) -> Option<u64> {
        let is_return = match self.states.get(&key)? {
            State::Exact => false,
            State::Return => true,
            State::Named => return None,
        };
        Some(Wanted { key, is_return }.executing())
    }

    /// Those of a space in a range that have no name yet.
    pub(crate) fn within(&self, space: SpaceId, range: Range<u64>) -> Vec<Wanted> {
        let wanted = self.states.iter().filter(|(key, state)| {
            key.space == Some(space) && range.contains(&key.address) && **state != State::Named
        });
        let wanted = wanted
            .map(|(key, state)| Wanted { key: key.clone(), is_return: *state == State::Return });
        wanted.collect()
    }

    /// Notes that these have a name.
    pub(crate) fn named<'a>(&mut self, keys: impl Iterator<Item = &'a SymbolKey>) {
        for key in keys {
            self.note(key.clone(), State::Named);
        }
    }

    /// Those without a name, ordered by space (the kernel first) and address.
    /// From now on they count as named.
    pub(crate) fn take_wanted(&mut self) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for (key, state) in self.states.iter_mut().filter(|(_, state)| **state != State::Named) {
            wanted.push(Wanted { key: key.clone(), is_return: *state == State::Return });
            *state = State::Named;
        }
        wanted.sort_unstable_by_key(|wanted| (wanted.key.space, wanted.key.address));
        wanted
    }

    fn note(&mut self, key: SymbolKey, seen: State) {
        if self.states.len() >= LIMIT && !self.states.contains_key(&key) {
            return;
        }
        let state = self.states.entry(key).or_insert(seen);
        if seen == State::Named || *state == State::Exact {
            *state = seen;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: u64) -> SymbolKey {
        SymbolKey { space: Some(SpaceId(1)), address }
    }

    #[test]
    fn an_address_seen_both_ways_counts_as_a_return_address() {
        for chains in [[[10, 20], [20, 30]], [[20, 30], [10, 20]]] {
            let mut addresses = Addresses::default();
            for chain in chains {
                addresses.stack(Some(SpaceId(1)), &chain);
            }
            let executing: Vec<_> =
                addresses.take_wanted().iter().map(|w| (w.key.address, w.executing())).collect();
            let innermost_10 = (10, 10);
            assert_eq!(executing, [innermost_10, (20, 19), (30, 29)]);
        }
    }

    #[test]
    fn named_addresses_are_not_wanted_in_either_order() {
        let mut addresses = Addresses::default();
        addresses.named([key(1)].iter());
        addresses.stack(Some(SpaceId(1)), &[1, 2, 3]);
        addresses.named([key(3)].iter());
        let wanted = addresses.take_wanted();
        assert_eq!(wanted, [Wanted { key: key(2), is_return: true }]);
        assert_eq!(addresses.take_wanted(), [], "a second call wants nothing");
    }

    #[test]
    fn the_same_address_in_two_spaces_is_two_addresses_and_the_kernel_comes_first() {
        let mut addresses = Addresses::default();
        addresses.stack(Some(SpaceId(2)), &[7]);
        addresses.stack(Some(SpaceId(1)), &[7]);
        addresses.stack(None, &[7]);
        let spaces: Vec<_> = addresses.take_wanted().into_iter().map(|w| w.key.space).collect();
        assert_eq!(spaces, [None, Some(SpaceId(1)), Some(SpaceId(2))]);
    }

    #[test]
    fn address_zero_as_a_return_address_stays_zero() {
        let wanted = Wanted { key: key(0), is_return: true };
        assert_eq!(wanted.executing(), 0);
    }
}
