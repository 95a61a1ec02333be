//! Which system call a thread waits in. The registers at a switch hold the
//! arguments but not the number: that is learned once for each place in the
//! code, from the code itself or from the kernel's frames.

use rustc_hash::FxHashMap;
use whyslow_events::{KernelFunctions, SpaceId};

use crate::arch::{CODE_BEFORE, syscall_before, syscall_of_function};

/// The kernel's functions that tell what a thread does in it.
#[derive(Debug, Default)]
pub(crate) struct KernelCalls {
    /// First address, one past the last, what it does; by first address.
    functions: Vec<(u64, u64, Does)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// Carries out the system call of this number.
    Call(u32),
    /// Gives the CPU to another thread.
    Switch,
}

impl Does {
    fn named(name: &str) -> Option<Does> {
        let call = syscall_of_function(name).map(Does::Call);
        call.or((name == "__schedule").then_some(Does::Switch))
    }
}

impl KernelCalls {
    /// Those among all of its functions.
    pub(crate) fn among(kernel: &dyn KernelFunctions) -> KernelCalls {
        let (mut functions, mut last) = (vec![], None);
        let mut next = |address, does: Option<Does>| {
            if let Some((start, does)) = last.take() {
                functions.push((start, address, does));
            }
            last = does.map(|does| (address, does));
        };
        kernel.all(&mut |address, name| next(address, Does::named(name)));
        next(u64::MAX, None);
        KernelCalls { functions }
    }

    /// The system call that the kernel half of a stack is in: the outermost
    /// function that names one.
    pub(crate) fn of_stack(&self, kernel: &[u64]) -> Option<u32> {
        kernel.iter().rev().find_map(|&address| match self.of_address(address)? {
            Does::Call(number) => Some(number),
            Does::Switch => None,
        })
    }

    /// Leaves out of the kernel half of a stack, innermost first, what the switch calls to be
    /// recorded.
    pub(crate) fn end_at_switch(&self, kernel: &mut Vec<u64>) {
        let is_switch = |address: &u64| self.of_address(*address) == Some(Does::Switch);
        if let Some(called) = kernel.iter().position(is_switch) {
            kernel.drain(..called);
        }
    }

    fn of_address(&self, address: u64) -> Option<Does> {
        let after = self.functions.partition_point(|(start, ..)| *start <= address);
        let (_, end, does) = self.functions[..after].last()?;
        (address < *end).then_some(*does)
    }
}

/// What is known of a place in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It always makes this call.
    Always(u32),
    /// It makes different calls: a generic `syscall()` wrapper.
    Varies,
}

/// System calls by the place in the code that makes them.
#[derive(Debug, Default)]
pub(crate) struct CallSites {
    known: FxHashMap<(SpaceId, u64), Option<Known>>,
}

impl CallSites {
    /// The number of the call that returns to `pc`. `in_stack` is what the
    /// kernel frames of this very switch say, if there are any; `code` reads
    /// the bytes before `pc`, once for each place.
    pub(crate) fn number(
        &mut self,
        space: SpaceId,
        pc: u64,
        in_stack: Option<u32>,
        code: impl FnOnce() -> Option<[u8; CODE_BEFORE]>,
    ) -> Option<u32> {
        let known = self
            .known
            .entry((space, pc))
            .or_insert_with(|| code().and_then(syscall_before).map(Known::Always));
        match (*known, in_stack) {
            // The code says it, so the stack can only agree.
            (Some(Known::Always(number)), None) => Some(number),
            (Some(Known::Always(number)), Some(seen)) => {
                if number != seen && !same_wait(number, seen) {
                    *known = Some(Known::Varies);
                    return Some(seen);
                }
                Some(number)
            }
            (None, Some(seen)) => {
                *known = Some(Known::Always(seen));
                Some(seen)
            }
            (Some(Known::Varies), seen) => seen,
            (None, None) => None,
        }
    }

    /// Forgets the places of a space that is gone.
    pub(crate) fn remove(&mut self, space: SpaceId) {
        self.known.retain(|(of, _), _| *of != space);
    }
}

/// Whether two numbers are variants of one call, which share a kernel
/// function: `accept` and `accept4`, `poll` and `ppoll`.
fn same_wait(a: u32, b: u32) -> bool {
    use crate::arch::syscall_name;
    let stem = |number| {
        let name = syscall_name(number).unwrap_or_default();
        match name {
            "pselect6" => "select",
            "ppoll" => "poll",
            "clock_nanosleep" => "nanosleep",
            _ => name
                .trim_end_matches(|c: char| c.is_ascii_digit())
                .trim_end_matches("_pwait")
                .trim_end_matches("_wait"),
        }
    };
    stem(a) == stem(b)
}

/// A kernel of few functions.
#[cfg(test)]
pub(crate) struct Functions(pub(crate) &'static [(u64, &'static str)]);

#[cfg(test)]
impl KernelFunctions for Functions {
    fn all(&self, each: &mut dyn FnMut(u64, &str)) {
        self.0.iter().for_each(|(address, name)| each(*address, name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::syscall_name;

    const BASE: u64 = 0xffff_ffff_8100_0000;
    const KERNEL: Functions = Functions(&[
        (BASE, "schedule"),
        (BASE + 0x100, "__x64_sys_futex"),
        (BASE + 0x200, "do_syscall_64"),
        (BASE + 0x300, "ksys_read"),
        (BASE + 0x400, "other"),
        (BASE + 0x500, "__schedule"),
        (BASE + 0x600, "__traceiter_sched_switch"),
    ]);

    fn calls() -> KernelCalls {
        KernelCalls::among(&KERNEL)
    }

    #[test]
    fn the_outermost_function_that_names_a_call_counts() {
        let name = |stack: &[u64]| calls().of_stack(stack).and_then(syscall_name);
        assert_eq!(name(&[BASE + 4, BASE + 0x110, BASE + 0x210]), Some("futex"));
        assert_eq!(name(&[BASE + 4, BASE + 0x310, BASE + 0x210]), Some("read"));
        assert_eq!(name(&[BASE + 4, BASE + 0x410]), None);
    }

    #[test]
    fn what_records_a_switch_is_no_part_of_the_stack() {
        let ended = |mut stack: Vec<u64>| {
            calls().end_at_switch(&mut stack);
            stack
        };
        let waits = vec![BASE + 0x510, BASE + 4, BASE + 0x110];
        assert_eq!(ended([&[0xffff_ffff_c000_0000, BASE + 0x610], &waits[..]].concat()), waits);
        assert_eq!(ended(waits.clone()), waits);
        assert_eq!(ended(vec![BASE + 0x610, BASE + 4]), [BASE + 0x610, BASE + 4]);
    }

    #[test]
    fn where_no_function_is_known_none_names_a_call() {
        assert_eq!(KernelCalls::among(&Functions(&[])).of_stack(&[0, 1]), None);
    }

    #[test]
    fn the_last_function_has_no_end() {
        let calls = KernelCalls::among(&Functions(&[(BASE, "ksys_read")]));
        assert!(calls.of_stack(&[BASE + 4]).is_some() && calls.of_stack(&[BASE - 4]).is_none());
    }

    #[test]
    fn a_place_is_learned_once_from_its_code() {
        let mut sites = CallSites::default();
        let futex = [0xb8, 202, 0, 0, 0, 0x0f, 0x05];
        assert_eq!(sites.number(SpaceId(0), 7, None, || Some(futex)), Some(202));
        assert_eq!(sites.number(SpaceId(0), 7, None, || panic!("read twice")), Some(202));
    }

    #[test]
    fn a_place_that_makes_several_calls_is_believed_only_with_a_stack() {
        let mut sites = CallSites::default();
        let mut at = |stack| sites.number(SpaceId(0), 7, stack, || None);
        assert_eq!(at(None), None);
        assert_eq!(at(Some(0)), Some(0));
        assert_eq!(at(None), Some(0));
        assert_eq!(at(Some(202)), Some(202));
        assert_eq!(at(None), None);
    }
}
