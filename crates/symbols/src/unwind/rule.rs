//! How to get from one frame to its caller: one row of unwind information,
//! taken out of its file, and how it is carried out.

use gimli::{
    CfaRule, EndianSlice, FrameDescriptionEntry, LittleEndian, Reader, Register, RegisterRule,
    UnwindExpression, UnwindSection, UnwindTableRow,
};
use whyslow_events::StackMemory;

use crate::unwind::expression::Expression;
use crate::unwind::plain::Plain;
use crate::unwind::registers::{BP, PC, Registers, SP};

/// Why a rule cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The chain ends here.
    First,
    /// It needs a register that is not known.
    Unknown(u8),
    /// It needs memory that was not copied.
    Outside(u64),
    /// It makes no sense, or is of a kind we do not know.
    Bad,
}

impl From<gimli::Error> for Stop {
    fn from(_: gimli::Error) -> Self {
        Stop::Bad
    }
}

/// The caller's frame, told by that of its callee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// First instruction of the function, as its file counts.
    pub(crate) function: u64,
    /// The frame was made by the kernel to deliver a signal: what it returns
    /// to was interrupted and made no call.
    pub(crate) signal: bool,
    /// The canonical frame address: the stack pointer after the return.
    pub(crate) cfa: Cfa,
    return_address: Saved,
    registers: Box<[(u8, Saved)]>,
    /// None of `registers` is told by another register of the callee.
    apart: bool,
    plain: Option<Plain>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cfa {
    Register(u8, i64),
    Expression(Expression),
}

/// Where the caller's value of a register is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Saved {
    Nowhere,
    Unchanged,
    /// In memory, so far from the CFA.
    At(i64),
    /// It is the CFA and so much.
    Is(i64),
    InRegister(u8),
    AtExpression(Expression),
    IsExpression(Expression),
}

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

impl Rule {
    /// Takes a row out of `section`.
    pub(crate) fn of<'a, S: UnwindSection<Bytes<'a>>>(
        section: &S,
        function: &FrameDescriptionEntry<Bytes<'a>>,
        row: &UnwindTableRow<usize>,
    ) -> Result<Rule, Stop> {
        let encoding = function.cie().encoding();
        let copy = |expression: &UnwindExpression<usize>| -> Result<Expression, Stop> {
            let bytes = expression.get(section)?.0.to_slice()?.as_ref().into();
            Ok(Expression { bytes, encoding })
        };
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                Cfa::Register(number(*register)?, *offset)
            }
            CfaRule::Expression(expression) => Cfa::Expression(copy(expression)?),
        };
        let saved = |rule: &RegisterRule<usize>| match rule {
            RegisterRule::Undefined => Ok(Saved::Nowhere),
            RegisterRule::SameValue => Ok(Saved::Unchanged),
            RegisterRule::Offset(offset) => Ok(Saved::At(*offset)),
            RegisterRule::ValOffset(offset) => Ok(Saved::Is(*offset)),
            RegisterRule::Register(register) => Ok(Saved::InRegister(number(*register)?)),
            RegisterRule::Expression(expression) => Ok(Saved::AtExpression(copy(expression)?)),
            RegisterRule::ValExpression(expression) => Ok(Saved::IsExpression(copy(expression)?)),
            _ => Err(Stop::Bad),
        };
        let return_column = function.cie().return_address_register();
        let return_address = match row.register(return_column) {
            Some(rule) => saved(&rule)?,
            None => Saved::Nowhere,
        };
        let general = row.registers().filter(|(register, _)| register.0 < u16::from(PC));
        let registers = general.map(|(register, rule)| Ok((number(*register)?, saved(rule)?)));
        let registers = registers.collect::<Result<Box<[_]>, Stop>>()?;
        let signal = function.is_signal_trampoline();
        let plain = if signal { None } else { plain(&cfa, &return_address, &registers) };
        Ok(Rule {
            function: function.initial_address(),
            signal,
            cfa,
            return_address,
            apart: registers.iter().all(|(number, saved)| saved.is_apart(*number)),
            registers,
            plain,
        })
    }

    /// The frame it makes, where that is a plain one.
    pub(crate) fn plain(&self) -> Option<&Plain> {
        self.plain.as_ref()
    }

    /// Makes of a frame's registers those of its caller, the program counter among
    /// them. They stay as they are where it cannot be carried out.
    pub(crate) fn apply(
        &self,
        registers: &mut Registers,
        stack: StackMemory<'_>,
    ) -> Result<(), Stop> {
        if self.plain.as_ref().is_some_and(|plain| plain.leave(registers, stack).is_some()) {
            return Ok(());
        }
        if self.return_address == Saved::Nowhere {
            return Err(Stop::First);
        }
        let cfa = self.cfa.value(registers, stack)?;
        let return_address = self.return_address.value(PC, cfa, registers, stack)?;
        let below = registers.get(SP);
        let value = |(number, saved): &(u8, Saved), registers: &Registers| {
            match saved.value(*number, cfa, registers, stack) {
                // Popped already: rules do not follow each step of an epilogue.
                Err(Stop::Outside(place)) if Some(place) < below => registers.get(*number),
                value => value.ok(),
            }
        };
        if self.apart {
            registers.keep_preserved();
            registers.set(SP, Some(cfa));
            for saved in &self.registers {
                registers.set(saved.0, value(saved, registers));
            }
        } else {
            let callee = *registers;
            registers.keep_preserved();
            registers.set(SP, Some(cfa));
            for saved in &self.registers {
                registers.set(saved.0, value(saved, &callee));
            }
        }
        registers.set(PC, Some(return_address));
        Ok(())
    }
}

impl Rule {
    /// Bytes of registers that the function pushed after it made the frame
    /// pointer its own; `None` if it makes no such frame.
    pub(crate) fn saved_below_frame_pointer(&self) -> Option<u64> {
        // Above it are the caller's frame pointer and the return address.
        const ABOVE: i64 = 16;
        let places = self.registers.iter().map(|(number, saved)| match saved {
            Saved::At(offset) => Some((*number, *offset)),
            _ => None,
        });
        let places: Vec<(u8, i64)> = places.collect::<Option<_>>()?;
        let usual = self.cfa == Cfa::Register(BP, ABOVE) && places.contains(&(BP, -ABOVE));
        let lowest = places.iter().map(|(_, offset)| *offset).min()?;
        usual.then(|| u64::try_from(-ABOVE - lowest).ok()).flatten()
    }
}

impl Cfa {
    fn value(&self, registers: &Registers, stack: StackMemory<'_>) -> Result<u64, Stop> {
        match self {
            Cfa::Register(number, offset) => {
                let base = registers.get(*number).ok_or(Stop::Unknown(*number))?;
                Ok(base.wrapping_add_signed(*offset))
            }
            Cfa::Expression(expression) => expression.evaluate(None, registers, stack),
        }
    }
}

impl Saved {
    /// Whether the value of register `number` is told by the CFA and the stack, or is what a
    /// function gives back as it got it.
    fn is_apart(&self, number: u8) -> bool {
        match self {
            Saved::At(_) | Saved::Is(_) | Saved::Nowhere => true,
            Saved::Unchanged => Registers::is_preserved(number),
            Saved::InRegister(_) | Saved::AtExpression(_) | Saved::IsExpression(_) => false,
        }
    }

    fn value(
        &self,
        number: u8,
        cfa: u64,
        registers: &Registers,
        stack: StackMemory<'_>,
    ) -> Result<u64, Stop> {
        let known = |number| registers.get(number).ok_or(Stop::Unknown(number));
        let word = |address| stack.word(address).ok_or(Stop::Outside(address));
        match self {
            Saved::Nowhere => Err(Stop::Unknown(number)),
            Saved::Unchanged => known(number),
            Saved::At(offset) => word(cfa.wrapping_add_signed(*offset)),
            Saved::Is(offset) => Ok(cfa.wrapping_add_signed(*offset)),
            Saved::InRegister(other) => known(*other),
            Saved::AtExpression(expression) => {
                word(expression.evaluate(Some(cfa), registers, stack)?)
            }
            Saved::IsExpression(expression) => expression.evaluate(Some(cfa), registers, stack),
        }
    }
}

/// The frame that a rule is about, if it is as most are.
fn plain(cfa: &Cfa, return_address: &Saved, registers: &[(u8, Saved)]) -> Option<Plain> {
    let (Cfa::Register(SP, size), Saved::At(returns)) = (cfa, return_address) else { return None };
    let saved = registers.iter().map(|(number, saved)| match saved {
        Saved::At(offset) => Some((*number, *offset)),
        _ => None,
    });
    Plain::new(*size, *returns, saved.collect::<Option<Vec<_>>>()?)
}

fn number(register: Register) -> Result<u8, Stop> {
    u8::try_from(register.0).map_err(|_| Stop::Bad)
}

#[cfg(test)]
impl Rule {
    /// Of a function at `function` with a frame of so many bytes, the return address and
    /// what it `saves` next to that included.
    pub(crate) fn of_frame(function: u64, size: i64, saves: Option<u8>) -> Rule {
        const WORD: i64 = 8;
        let (cfa, return_address) = (Cfa::Register(SP, size), Saved::At(-WORD));
        let registers: Box<[_]> =
            saves.map(|number| (number, Saved::At(-2 * WORD))).into_iter().collect();
        let plain = plain(&cfa, &return_address, &registers);
        Rule { function, signal: false, cfa, return_address, apart: true, registers, plain }
    }
}
