//! Times that are not in step with anything: a program may have a rhythm of its own, and be
//! at the same place each time.

/// How far on, as a part of 2³².
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Uneven(u32);

impl Uneven {
    /// The next length is another.
    pub(crate) fn step(&mut self) {
        // The golden section of the circle comes to no point twice, and leaves no gaps.
        self.0 = self.0.wrapping_add(0x9e37_79b9);
    }

    /// A length from half of `mean` to one and a half times as much.
    pub(crate) fn around(self, mean: u64) -> u64 {
        mean / 2 + ((mean * u64::from(self.0 >> 16)) >> 16)
    }
}
