//! What is fed: one function of bytes for each parser. It may refuse them; it
//! may not panic.

mod python;

use std::io::Write;

use whyslow_events::{
    EventSource,
    recording::{MAGIC, Reader, VERSION},
};
use whyslow_sampler::fuzzing;
use whyslow_symbols::fuzzing as symbols;
use whyslow_symbols::fuzzing::unwinding;

use crate::seeds;

/// Shares are summed as doubles.
const ROUNDING: f64 = 1e-6;

/// A parser and what it is known to take.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    /// Feeds one input; panics where the parser is wrong.
    pub feed: fn(&[u8]),
    /// Inputs made in code, so that they keep up with the formats.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "recording", feed: recording, seeds: seeds::recordings },
    Target { name: "analyze", feed: analyze, seeds: seeds::chunks },
    Target { name: "ring_record", feed: fuzzing::ring_record, seeds: seeds::ring::records },
    Target { name: "proc", feed: proc, seeds: seeds::proc::texts },
    Target { name: "kallsyms", feed: symbols::kallsyms, seeds: seeds::proc::kallsyms },
    Target { name: "perf_map", feed: symbols::perf_map, seeds: seeds::jit::maps },
    Target { name: "jitdump", feed: symbols::jitdump, seeds: seeds::jit::dumps },
    Target { name: "elf", feed: symbols::elf, seeds: Vec::new },
    Target { name: "unwind", feed: unwind, seeds: seeds::unwind::stacks },
    Target { name: "image", feed: unwinding::image, seeds: seeds::unwind::images },
    Target { name: "python", feed: python::feed, seeds: seeds::python::images },
];

/// A whole recording, as it stands in a file.
fn recording(bytes: &[u8]) {
    if let Ok(mut reader) = Reader::new(bytes) {
        while let Ok(Some(_)) = reader.next_event() {}
    }
}

/// Any stream of events. The input is the plain bytes of a header and of one
/// chunk, behind the length of the header: bent, and only then packed, for the
/// checksums to hold. Whatever the stream, the ledger closes.
fn analyze(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk() else { return };
    let (header, chunk) = rest.split_at(rest.len().min(u16::from_le_bytes(*length).into()));
    let file = packed(&[header, chunk]);
    let Ok(mut reader) = Reader::new(file.as_slice()) else { return };
    let report = whyslow_analysis::analyze(&mut reader).report;
    for thread in &report.ledger.threads {
        let sum = thread.states.values().map(|ns| u128::from(*ns)).sum::<u128>();
        assert_eq!(sum, u128::from(thread.lifetime_ns), "states and lifetime of {}", thread.tid);
    }
    let shares: f64 = report.bottleneck.shares.values().sum();
    assert!((shares - 1.0).abs() < ROUNDING, "shares sum to {shares}");
}

/// Something under `/proc`. The first byte chooses what.
fn proc(bytes: &[u8]) {
    if let Some((number, text)) = bytes.split_first() {
        let (_, parse) = fuzzing::PROC[usize::from(*number) % fuzzing::PROC.len()];
        parse(text);
    }
}

/// Unwind information, registers and a stack.
fn unwind(bytes: &[u8]) {
    unwinding::unwind(bytes);
}

/// A recording of these chunks.
fn packed(chunks: &[&[u8]]) -> Vec<u8> {
    const IN_MEMORY: &str = "writing to memory does not fail";
    let mut file = MAGIC.to_vec();
    file.extend(VERSION.to_le_bytes());
    for chunk in chunks {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect(IN_MEMORY);
        encoder.write_all(chunk).expect(IN_MEMORY);
        let packed = encoder.finish().expect(IN_MEMORY);
        let length = u32::try_from(packed.len()).expect("inputs are short");
        file.extend(length.to_le_bytes());
        file.extend(packed);
    }
    file.extend(0u32.to_le_bytes());
    file
}

#[cfg(test)]
mod tests {
    use whyslow_events::StackEnd;

    use super::*;

    #[test]
    fn the_stacks_made_in_code_are_unwound_to_their_end() {
        for stack in seeds::unwind::stacks() {
            for chain in unwinding::unwind(&stack) {
                assert_eq!(chain.end, StackEnd::Complete, "{chain:x?}");
                assert_eq!(chain.addresses.len(), 5, "{chain:x?}");
            }
        }
    }

    #[test]
    fn the_chunks_made_in_code_are_read_to_their_end() {
        for chunk in seeds::chunks() {
            let (length, rest) = chunk.split_first_chunk().unwrap();
            let (header, events) = rest.split_at(u16::from_le_bytes(*length).into());
            let file = packed(&[header, events]);
            let mut reader = Reader::new(file.as_slice()).unwrap();
            let mut read = 0;
            while reader.next_event().unwrap().is_some() {
                read += 1;
            }
            assert_eq!(read, seeds::events().len());
        }
    }
}
