//! The memory of the target, as the caller lets us see it, and numbers in it.
//! How it is read is the caller's affair.

/// Reads the memory of the target.
pub trait Memory {
    /// Fills `into` from `address` on. False when not all of it can be read.
    fn read(&self, address: u64, into: &mut [u8]) -> bool;

    /// Fills every range, in the order given and as close together in time as
    /// it can: one system call, where there is one. False when anything could
    /// not be read.
    fn read_many(&self, ranges: &mut [(u64, &mut [u8])]) -> bool {
        ranges.iter_mut().all(|(address, into)| self.read(*address, into))
    }
}

/// The 64-bit number at `at`; zero where `bytes` end before.
pub(crate) fn word(bytes: &[u8], at: u64) -> u64 {
    number(bytes, at).map_or(0, u64::from_le_bytes)
}

/// The 32-bit number at `at`; zero where `bytes` end before.
pub(crate) fn half(bytes: &[u8], at: u64) -> u32 {
    number(bytes, at).map_or(0, u32::from_le_bytes)
}

/// The byte at `at`; zero where `bytes` end before.
pub(crate) fn byte(bytes: &[u8], at: u64) -> u8 {
    number::<1>(bytes, at).map_or(0, |[byte]| byte)
}

fn number<const N: usize>(bytes: &[u8], at: u64) -> Option<[u8; N]> {
    bytes.get(usize::try_from(at).ok()?..)?.first_chunk().copied()
}

/// `length` bytes at `address`.
pub(crate) fn bytes(memory: &dyn Memory, address: u64, length: u64) -> Option<Vec<u8>> {
    let mut into = vec![0; usize::try_from(length).ok()?];
    memory.read(address, &mut into).then_some(into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_does_not_fit_is_zero() {
        let bytes = [1, 0, 0, 0, 0, 0, 0, 0, 2];
        assert_eq!(word(&bytes, 0), 1);
        assert_eq!(word(&bytes, 1), 2 << 56);
        assert_eq!(word(&bytes, 2), 0);
        assert_eq!(half(&bytes, 5), 2 << 24);
        assert_eq!(half(&bytes, u64::MAX), 0);
        assert_eq!(byte(&bytes, 8), 2);
    }
}
