//! Cuts a long list of names into pieces that a recording can hold.

use std::iter;

use whyslow_events::{Frame, SymbolKey};

/// Addresses in one batch: a chunk of a recording that is cut short loses few names.
const KEYS: usize = 4 << 10;

/// Bytes of names after which a batch is full.
const TEXT: usize = 1 << 20;

type Named = (SymbolKey, Vec<Frame>);

/// `named` in batches, in order; none is empty.
pub(crate) fn of(named: Vec<Named>) -> impl Iterator<Item = Vec<Named>> {
    let mut rest = named.into_iter();
    iter::from_fn(move || {
        let mut batch = Vec::new();
        let mut text = 0;
        while batch.len() < KEYS && text < TEXT {
            let Some(next) = rest.next() else { break };
            text += next.1.iter().map(length).sum::<usize>();
            batch.push(next);
        }
        (!batch.is_empty()).then_some(batch)
    })
}

fn length(frame: &Frame) -> usize {
    frame.function.len() + frame.file.as_ref().map_or(0, String::len) + frame.module.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(count: usize, function: &str) -> Vec<Named> {
        let frame = Frame { function: function.to_owned(), ..Frame::default() };
        let key = |address| SymbolKey { space: None, address };
        (0..count as u64).map(|address| (key(address), vec![frame.clone()])).collect()
    }

    fn sizes(named: Vec<Named>) -> Vec<usize> {
        of(named).map(|batch| batch.len()).collect()
    }

    #[test]
    fn a_batch_is_full_at_its_keys_or_its_text() {
        assert_eq!(sizes(named(0, "f")), []);
        assert_eq!(sizes(named(KEYS, "f")), [KEYS]);
        assert_eq!(sizes(named(2 * KEYS + 1, "f")), [KEYS, KEYS, 1]);
        assert_eq!(sizes(named(5, &"f".repeat(TEXT / 2))), [2, 2, 1]);
        assert_eq!(sizes(named(2, &"f".repeat(TEXT * 2))), [1, 1]);
    }

    #[test]
    fn nothing_is_lost_or_moved() {
        let all = named(3 * KEYS + 7, "f");
        assert_eq!(of(all.clone()).flatten().collect::<Vec<_>>(), all);
    }
}
