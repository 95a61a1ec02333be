//! DWARF expressions of unwind rules, evaluated over registers and the copy
//! of the stack.

use gimli::{
    Encoding, EndianSlice, Evaluation, EvaluationResult, EvaluationStorage, LittleEndian, Piece,
    Reader, Register, Value,
};
use whyslow_events::StackMemory;

use crate::unwind::registers::Registers;
use crate::unwind::rule::Stop;

/// Operations after which an expression is taken for an endless loop. Real
/// ones have about ten.
const OPERATIONS: u32 = 1_000;

/// A copy of an expression, so that a rule needs nothing but itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expression {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) encoding: Encoding,
}

/// Room on our own stack; an expression that needs more is refused.
struct Inline;

impl<R: Reader> EvaluationStorage<R> for Inline {
    type Stack = [Value; 64];
    type ExpressionStack = [(R, R); 4];
    type Result = [Piece<R>; 1];
}

impl Expression {
    /// Its value. Rules of registers find the CFA on the stack of operands,
    /// that of the CFA itself finds it empty.
    pub(crate) fn evaluate(
        &self,
        cfa: Option<u64>,
        registers: &Registers,
        stack: StackMemory<'_>,
    ) -> Result<u64, Stop> {
        let bytes = EndianSlice::new(&self.bytes, LittleEndian);
        let mut evaluation = Evaluation::<_, Inline>::new_in(bytes, self.encoding);
        evaluation.set_max_iterations(OPERATIONS);
        if let Some(cfa) = cfa {
            evaluation.set_initial_value(cfa);
        }
        let mut result = evaluation.evaluate()?;
        loop {
            result = match result {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register: Register(number), .. } => {
                    let number = u8::try_from(number).map_err(|_| Stop::Bad)?;
                    let value = registers.get(number).ok_or(Stop::Unknown(number))?;
                    evaluation.resume_with_register(Value::Generic(value))?
                }
                EvaluationResult::RequiresMemory { address, size, .. } => {
                    let value = read(stack, address, size)?;
                    evaluation.resume_with_memory(Value::Generic(value))?
                }
                _ => return Err(Stop::Bad),
            };
        }
        match evaluation.value_result() {
            Some(Value::Generic(value)) => Ok(value),
            _ => Err(Stop::Bad),
        }
    }
}

/// The little-endian number of `size` bytes at `address`.
fn read(stack: StackMemory<'_>, address: u64, size: u8) -> Result<u64, Stop> {
    let outside = || Stop::Outside(address);
    let at = address.checked_sub(stack.start).and_then(|at| usize::try_from(at).ok());
    let at = at.ok_or_else(outside)?;
    let end = at.checked_add(size.into()).ok_or_else(outside)?;
    let bytes = stack.bytes.get(at..end).ok_or_else(outside)?;
    let mut number = [0; 8];
    number.get_mut(..bytes.len()).ok_or(Stop::Bad)?.copy_from_slice(bytes);
    Ok(u64::from_le_bytes(number))
}
