//! The registers of one frame while a chain is walked: each known or not.

use whyslow_events::UserRegisters;

/// DWARF number of the return address column; here it holds the program
/// counter (System V ABI, AMD64 supplement, figure 3.36).
pub(crate) const PC: u8 = 16;
pub(crate) const BX: u8 = 3;
pub(crate) const BP: u8 = 6;
pub(crate) const SP: u8 = 7;
const COUNT: u8 = 17;

/// RBX, RBP and R12 to R15: a function gives them back as it got them.
pub(crate) const PRESERVED_NUMBERS: [u8; 6] = [BP, BX, 12, 13, 14, 15];
/// A bit for each.
const PRESERVED: u32 = 1 << BX | 1 << BP | 0b1111 << 12;

/// The general registers and the program counter, by DWARF number.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Registers {
    values: [u64; COUNT as usize],
    known: u32,
}

impl Registers {
    pub(crate) fn get(&self, number: u8) -> Option<u64> {
        let value = *self.values.get(usize::from(number))?;
        (self.known & 1 << number != 0).then_some(value)
    }

    /// Sets or forgets a register; numbers past the last are ignored.
    pub(crate) fn set(&mut self, number: u8, value: Option<u64>) {
        let Some(place) = self.values.get_mut(usize::from(number)) else { return };
        *place = value.unwrap_or_default();
        self.known = self.known & !(1 << number) | u32::from(value.is_some()) << number;
    }

    /// Whether a function gives this one back as it got it.
    pub(crate) fn is_preserved(number: u8) -> bool {
        number < COUNT && PRESERVED & 1 << number != 0
    }

    /// Forgets those that a caller may find changed even when its callee saved none.
    pub(crate) fn keep_preserved(&mut self) {
        self.known &= PRESERVED;
    }
}

/// What a function gives back as it got it, and the stack pointer and the program counter
/// after its return: all that is known of most frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preserved {
    values: [u64; NUMBERS.len()],
    known: u32,
}

/// The numbers of those, the program counter and the stack pointer first.
const NUMBERS: [u8; 8] = [PC, SP, BP, BX, 12, 13, 14, 15];

impl Preserved {
    pub(crate) fn sp(&self) -> u64 {
        self.values[1]
    }
}

impl Registers {
    /// All of a frame; `None` where more is known of it.
    pub(crate) fn preserved(&self) -> Option<Preserved> {
        let all = PRESERVED | 1 << PC | 1 << SP;
        // What is not known of these was set so, and its value is 0.
        let values = NUMBERS.map(|number| self.values[usize::from(number)]);
        (self.known & !all == 0).then_some(Preserved { values, known: self.known })
    }
}

impl From<&Preserved> for Registers {
    fn from(kept: &Preserved) -> Self {
        let mut registers = Registers { known: kept.known, ..Registers::default() };
        for (number, value) in NUMBERS.iter().zip(kept.values) {
            registers.values[usize::from(*number)] = value;
        }
        registers
    }
}

impl From<&UserRegisters> for Registers {
    fn from(user: &UserRegisters) -> Self {
        let mut registers = Registers::default();
        for number in 0..PC {
            registers.set(number, user.get(number.into()));
        }
        registers.set(PC, Some(user.pc));
        registers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_stays_so() {
        let mut user = UserRegisters::new(0x10, 0x20);
        user.set(3, 0x30);
        user.set(0, 0x40);
        let mut registers = Registers::from(&user);
        let all = |registers: &Registers| (0..=20).map(|n| registers.get(n)).collect::<Vec<_>>();
        let mut expected = vec![None; 21];
        expected[16] = Some(0x10);
        expected[7] = Some(0x20);
        expected[3] = Some(0x30);
        expected[0] = Some(0x40);
        assert_eq!(all(&registers), expected);
        registers.set(3, None);
        assert_eq!(registers.get(3), None);
    }

    #[test]
    fn a_call_keeps_what_the_callee_must_give_back() {
        let mut registers = Registers::default();
        (0..=16).for_each(|number| registers.set(number, Some(number.into())));
        registers.keep_preserved();
        let kept: Vec<u8> = (0..=16).filter(|&number| registers.get(number).is_some()).collect();
        assert_eq!(kept, [3, 6, 12, 13, 14, 15]);
    }
}
