//! Maps whose keys are numbers that the kernel gives out – of threads, CPUs,
//! events, addresses. Every record asks several of them, and the numbers need
//! no protection from whoever might choose them to collide.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map from numbers, or from a few of them together.
pub(crate) type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// Multiplies by a large odd number, which spreads what differs in the low bits
/// over the high ones, and brings those back down.
#[derive(Debug, Default)]
pub(crate) struct NumberHasher(u64);

/// 2⁶⁴ divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_ne_bytes(word));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(SPREAD);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::{BuildHasher, Hash};

    fn hash(key: impl Hash) -> u64 {
        BuildHasherDefault::<NumberHasher>::default().hash_one(key)
    }

    #[test]
    fn neighbours_and_addresses_of_pages_do_not_collide() {
        // A table looks at the lowest bits and at the seven highest.
        let places = |keys: Vec<u64>| {
            let places = keys.into_iter().map(|key| (hash(key) % 1024, hash(key) >> 57));
            places.collect::<HashSet<_>>().len()
        };
        assert!(places((0..500).collect()) > 450);
        assert!(places((0..500).map(|page| 0x7f00_0000_0000 + (page << 12)).collect()) > 450);
    }

    #[test]
    fn the_order_of_two_numbers_matters() {
        assert_ne!(hash((1u64, 2u64)), hash((2u64, 1u64)));
        assert_ne!(hash([1u64, 2]), hash([2u64, 1]));
    }
}
