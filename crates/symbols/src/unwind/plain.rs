//! The frame that nearly all optimised code makes: of a fixed size above the stack pointer,
//! the return address at its end, and registers saved in it.

use whyslow_events::StackMemory;

use crate::unwind::registers::{PC, Registers, SP};

/// Bytes of a register.
const WORD: usize = 8;

/// Such a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plain {
    /// Bytes from the stack pointer up to behind the return address.
    size: usize,
    /// Registers, and how far above the stack pointer the caller's value is.
    saved: Box<[(u8, usize)]>,
}

impl Plain {
    /// Of a rule by which the CFA is `size` above the stack pointer, and what was saved is so
    /// far from the CFA. `None` where some of it is outside the frame.
    pub(crate) fn new(size: i64, returns: i64, saved: Vec<(u8, i64)>) -> Option<Plain> {
        let size = usize::try_from(size).ok()?;
        let place = |offset: i64| {
            let below = usize::try_from(offset.checked_neg()?).ok().filter(|it| *it >= WORD)?;
            size.checked_sub(below)
        };
        let saved = saved.into_iter().map(|(number, offset)| {
            (number != SP).then(|| place(offset)).flatten().map(|place| (number, place))
        });
        let saved = saved.collect::<Option<_>>()?;
        (place(returns)? + WORD == size).then_some(Plain { size, saved })
    }

    /// Makes of a frame's registers those of its caller; `None`, and nothing, where not all
    /// of the frame is known.
    pub(crate) fn leave(&self, registers: &mut Registers, stack: StackMemory<'_>) -> Option<()> {
        let sp = registers.get(SP)?;
        let frame = stack.bytes.get(offset(stack.start, sp)?..)?.get(..self.size)?;
        self.restore(registers, sp, frame)
    }

    /// The same for up to `most` frames in a row that return to the place in the code at which
    /// they are; how many there are. A frame with a stack pointer at which to `stop` is not
    /// come to, nor what was read later than the frame before.
    pub(crate) fn repeat(
        &self,
        registers: &mut Registers,
        stack: StackMemory<'_>,
        most: usize,
        stop: impl Fn(u64) -> bool,
    ) -> usize {
        let passed = || {
            let (sp, pc) = (registers.get(SP)?, registers.get(PC)?);
            let frames = stack.bytes.get(offset(stack.start, sp)?..)?;
            let later = stack.later.filter(|later| sp <= *later);
            let known = later.and_then(|later| offset(sp, later)).unwrap_or(usize::MAX);
            let frames = frames.get(..known.min(frames.len()))?.chunks_exact(self.size);
            let above = (sp..).step_by(self.size).skip(1);
            let same = |(frame, above): &(&[u8], u64)| {
                word(frame, self.size - WORD) == Some(pc) && !stop(*above)
            };
            let (last, (frame, _)) =
                frames.zip(above).take(most).take_while(same).enumerate().last()?;
            Some((last, sp + (last * self.size) as u64, frame))
        };
        let Some((last, sp, frame)) = passed() else { return 0 };
        self.restore(registers, sp, frame).map_or(0, |()| last + 1)
    }

    fn restore(&self, registers: &mut Registers, sp: u64, frame: &[u8]) -> Option<()> {
        let pc = word(frame, self.size - WORD)?;
        registers.keep_preserved();
        for (number, place) in &self.saved {
            registers.set(*number, word(frame, *place));
        }
        registers.set(SP, Some(sp.wrapping_add(self.size as u64)));
        registers.set(PC, Some(pc));
        Some(())
    }
}

/// Bytes from one address up to another.
fn offset(from: u64, to: u64) -> Option<usize> {
    usize::try_from(to.checked_sub(from)?).ok()
}

fn word(frame: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*frame.get(at..)?.first_chunk::<WORD>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unwind::registers::BP;

    const START: u64 = 0x7000;
    const HERE: u64 = 0x1234;
    const RBX: u8 = 3;

    /// Frames of four words: nothing, RBX, nothing, and where it returns to.
    fn frames(returns: &[u64]) -> Vec<u8> {
        let words = returns.iter().zip(1..).flat_map(|(pc, rbx)| [0, rbx, 0, *pc]);
        words.flat_map(u64::to_ne_bytes).collect()
    }

    fn plain() -> Plain {
        Plain::new(32, -8, vec![(RBX, -24)]).unwrap()
    }

    fn at_start() -> Registers {
        let mut registers = Registers::default();
        for (number, value) in [(PC, HERE), (SP, START), (BP, 5), (RBX, 99), (0, 7)] {
            registers.set(number, Some(value));
        }
        registers
    }

    fn values(registers: &Registers) -> [Option<u64>; 5] {
        [PC, SP, BP, RBX, 0].map(|number| registers.get(number))
    }

    #[test]
    fn a_frame_is_left_with_what_it_saved() {
        let bytes = frames(&[0x99]);
        let stack = StackMemory { start: START, bytes: &bytes, whole: false, later: None };
        let mut registers = at_start();
        assert_eq!(plain().leave(&mut registers, stack), Some(()));
        assert_eq!(values(&registers), [Some(0x99), Some(START + 32), Some(5), Some(1), None]);
        let left = values(&registers);
        assert_eq!(plain().leave(&mut registers, stack), None);
        assert_eq!(values(&registers), left, "nothing is known of the next");
    }

    #[test]
    fn frames_of_one_place_are_passed_up_to_the_last() {
        let bytes = frames(&[HERE, HERE, HERE, 0x99]);
        let passed = |later, most, stop: u64| {
            let stack = StackMemory { start: START, bytes: &bytes, whole: false, later };
            let mut registers = at_start();
            let passed = plain().repeat(&mut registers, stack, most, |sp| sp == START + stop);
            assert_eq!(registers.get(SP), Some(START + 32 * passed as u64));
            assert_eq!(registers.get(RBX), Some(if passed == 0 { 99 } else { passed as u64 }));
            assert_eq!(registers.get(PC), Some(HERE));
            passed
        };
        assert_eq!(passed(None, 10, 0), 3);
        assert_eq!(passed(None, 2, 0), 2);
        assert_eq!(passed(None, 10, 64), 1);
        assert_eq!(passed(Some(START + 64), 10, 0), 2);
        assert_eq!(passed(Some(START + 63), 10, 0), 1);
        assert_eq!(passed(Some(START), 10, 0), 0);
        assert_eq!(passed(Some(START - 8), 10, 0), 3);
        assert_eq!(passed(None, 0, 0), 0);
    }

    #[test]
    fn what_is_outside_its_frame_is_no_plain_one() {
        let of =
            |size, returns, saved: i64| Plain::new(size, returns, vec![(RBX, saved)]).is_some();
        assert!(of(32, -8, -16) && of(32, -8, -32));
        assert!(!of(32, -8, -40), "below the stack pointer");
        assert!(!of(32, -8, 0) && !of(32, -8, 8), "in the caller's");
        assert!(!of(32, -16, -24), "it returns by another place");
        assert!(!of(-8, -8, -16) && !of(0, -8, -16));
        assert!(Plain::new(8, -8, vec![]).is_some());
    }
}
