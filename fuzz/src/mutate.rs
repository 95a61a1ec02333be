//! Bending an input: a few small changes at random places, of the kinds that
//! break parsers.

use fastrand::Rng;

const MOST_CHANGES: usize = 6;
/// Inputs do not grow beyond this.
const LONGEST: usize = 1 << 16;
/// Longest piece that is copied or cut in one change.
const PIECE: usize = 64;
/// Values at the edges of integer types, and of what they count.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
];

/// A bent version of one of `corpus`.
pub(crate) fn mutate(rng: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = corpus[rng.usize(..corpus.len())].clone();
    for _ in 0..rng.usize(1..=MOST_CHANGES) {
        change(rng, &mut input, corpus);
    }
    input.truncate(LONGEST);
    input
}

fn change(rng: &mut Rng, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    if input.is_empty() {
        input.push(rng.u8(..));
        return;
    }
    let at = rng.usize(..input.len());
    match rng.u8(..9) {
        0 => input[at] ^= 1 << rng.u8(..8),
        1 => input[at] = rng.u8(..),
        2 => input[at] = input[at].wrapping_add(if rng.bool() { 1 } else { u8::MAX }),
        3 => overwrite(input, at, &edge(rng)),
        4 => input.insert(at, rng.u8(..)),
        5 => drop(input.drain(piece(rng, input.len(), at))),
        6 => input.truncate(at),
        7 => {
            let copied = input[piece(rng, input.len(), at)].to_vec();
            input.splice(at..at, copied);
        }
        _ => splice(rng, input, at, corpus),
    }
}

/// An integer at the edge of its type, of 1, 2, 4 or 8 bytes.
fn edge(rng: &mut Rng) -> Vec<u8> {
    let value = EDGES[rng.usize(..EDGES.len())].to_le_bytes();
    value[..1 << rng.usize(..4)].to_vec()
}

fn overwrite(input: &mut [u8], at: usize, bytes: &[u8]) {
    for (old, new) in input[at..].iter_mut().zip(bytes) {
        *old = *new;
    }
}

fn piece(rng: &mut Rng, length: usize, at: usize) -> std::ops::Range<usize> {
    at..length.min(at + rng.usize(1..=PIECE))
}

/// Goes on with the end of another input.
fn splice(rng: &mut Rng, input: &mut Vec<u8>, at: usize, corpus: &[Vec<u8>]) {
    let other = &corpus[rng.usize(..corpus.len())];
    input.truncate(at);
    input.extend_from_slice(&other[rng.usize(..=other.len())..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_bends_alike_and_almost_every_input_differs() {
        let corpus = [b"some input".to_vec(), vec![], vec![0; 100]];
        let (mut a, mut b) = (Rng::with_seed(1), Rng::with_seed(1));
        let mut bent = 0;
        for _ in 0..1_000 {
            let input = mutate(&mut a, &corpus);
            assert_eq!(input, mutate(&mut b, &corpus));
            bent += usize::from(!corpus.contains(&input));
        }
        assert!(bent > 900, "{bent}");
    }
}
