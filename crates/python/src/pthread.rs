//! From `pthread_t` to the thread's number, for interpreters before 3.11, which
//! do not note the latter.

use std::collections::HashSet;

use crate::memory::{self, Memory, half};
use crate::threads::Thread;

/// Bytes behind a `pthread_t` that are searched; no C library has less there.
const SPAN: u64 = 1024;

/// Where glibc has it on x86-64.
const GLIBC: u64 = 720;

/// The number of each of `threads`, in order. A `pthread_t` is the address of
/// the C library's description of the thread, which somewhere has the number
/// the kernel gave it: at the place where every one of the threads has a
/// number that `is_thread` knows, and each another one. `None` when there is no
/// such place. Numbers are those of the innermost PID namespace of the process.
#[must_use]
pub fn kernel_ids(
    memory: &dyn Memory,
    threads: &[Thread],
    is_thread: impl Fn(u64) -> bool,
) -> Option<Vec<u64>> {
    let read = |thread: &Thread| memory::bytes(memory, thread.pthread, SPAN);
    let blocks: Vec<Vec<u8>> = threads.iter().map(read).collect::<Option<_>>()?;
    let distinct = threads.iter().map(|thread| thread.pthread).collect::<HashSet<_>>().len();
    let at = |offset: u64| {
        let numbers: Vec<u64> = blocks.iter().map(|block| half(block, offset).into()).collect();
        let fits = numbers.iter().all(|number| is_thread(*number))
            && numbers.iter().collect::<HashSet<_>>().len() == distinct;
        fits.then_some(numbers)
    };
    at(GLIBC).or_else(|| (0..SPAN).step_by(4).find_map(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two blocks, each of [`SPAN`] bytes, behind each other.
    struct Blocks(Vec<u8>);

    impl Memory for Blocks {
        fn read(&self, address: u64, into: &mut [u8]) -> bool {
            let found = self.0.get(address as usize..).and_then(|rest| rest.get(..into.len()));
            found.is_some_and(|found| {
                into.copy_from_slice(found);
                true
            })
        }
    }

    fn thread(pthread: u64) -> Thread {
        Thread { state: 0, interpreter: 0, native: None, pthread }
    }

    fn blocks(at: u64, numbers: [u32; 2]) -> Blocks {
        let mut bytes = vec![0; 2 * SPAN as usize];
        for (block, number) in numbers.into_iter().enumerate() {
            let at = block * SPAN as usize + at as usize;
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        Blocks(bytes)
    }

    #[test]
    fn the_place_is_where_every_thread_has_a_number_of_its_own() {
        let threads = [thread(0), thread(SPAN)];
        let known = |number: u64| matches!(number, 41 | 42);
        for at in [GLIBC, 48, SPAN - 4] {
            let found = kernel_ids(&blocks(at, [41, 42]), &threads, known);
            assert_eq!(found, Some(vec![41, 42]), "{at}");
        }
        for wrong in [[41, 41], [41, 43], [0, 0]] {
            assert_eq!(kernel_ids(&blocks(48, wrong), &threads, known), None, "{wrong:?}");
        }
        assert_eq!(kernel_ids(&blocks(48, [41, 42]), &[thread(u64::MAX)], known), None);
    }

    #[test]
    fn a_thread_known_to_two_interpreters_has_one_number() {
        let threads = [thread(0), thread(SPAN), thread(0)];
        let found = kernel_ids(&blocks(GLIBC, [41, 42]), &threads, |number| number > 40);
        assert_eq!(found, Some(vec![41, 42, 41]));
    }
}
