//! The memory of a Python process: however it is bent, few reads of it tell so.

use std::cell::Cell;

use whyslow_python::{Image, Memory, Motion, Read, Reader, kernel_ids};

/// Threads that are read.
const THREADS: usize = 4;

/// The most frames that a stack may have.
const DEPTH: usize = 2048;

/// Reads of memory that are enough for all that is listed and read here: an
/// input holds few threads, and few frames that are not those of another.
const READS: usize = 100_000;

/// Lists the threads, and reads the stacks of some.
pub(super) fn feed(bytes: &[u8]) {
    let image = Image::parse(bytes);
    let (runtime, version) = (image.runtime, image.version);
    let memory = Counted { image, reads: Cell::new(0) };
    let Ok(mut reader) = Reader::new(&memory, runtime, version) else { return };
    let interpreters = reader.interpreters(&memory).unwrap_or_default();
    for interpreter in &interpreters {
        let _ = reader.gil(&memory, interpreter.state);
    }
    let threads = interpreters.iter().flat_map(|interpreter| &interpreter.threads);
    for thread in threads.take(THREADS) {
        let _ = kernel_ids(&memory, &[*thread], |number| number == 1);
        for motion in [Motion::Running, Motion::Blocked] {
            if let Read::Accepted(stack) = reader.read(&memory, thread, motion) {
                assert!(stack.frames.len() <= DEPTH, "{} frames", stack.frames.len());
            }
        }
    }
    assert!(memory.reads.get() <= READS, "{} reads", memory.reads.get());
}

/// Counts how often memory is read.
struct Counted {
    image: Image,
    reads: Cell<usize>,
}

impl Memory for Counted {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        self.reads.set(self.reads.get() + 1);
        self.image.read(address, into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;

    #[test]
    fn what_was_kept_has_one_thread_that_is_read() {
        for seed in seeds::python::images() {
            let image = Image::parse(&seed);
            let mut reader = Reader::new(&image, image.runtime, image.version).unwrap();
            let interpreters = reader.interpreters(&image).unwrap();
            let thread = interpreters[0].threads[0];
            assert!(matches!(reader.read(&image, &thread, Motion::Running), Read::Accepted(_)));
        }
    }
}
