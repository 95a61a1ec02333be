//! The symboliser beside a recording: what it has said or read is not said
//! again.

use whyslow_events::{Event, Frame, SymbolKey};
use whyslow_symbols::Symbolizer;

use crate::program::{SPACE, facts, stack};

fn named(address: u64) -> Event {
    let key = SymbolKey { space: Some(SPACE), address };
    Event::Symbols(vec![(key, vec![Frame::default()])])
}

#[test]
fn names_that_are_in_the_recording_are_left_alone() {
    let mut symbolizer = Symbolizer::new(facts());
    for event in [named(10), stack(&[], &[10, 20, 30]), named(30)] {
        symbolizer.observe(&event);
    }
    let [Event::Symbols(batch)] = &symbolizer.resolve()[..] else { panic!("one batch") };
    let addresses: Vec<u64> = batch.iter().map(|(key, _)| key.address).collect();
    assert_eq!(addresses, [20]);
}

#[test]
fn a_second_call_gives_only_what_came_since() {
    let mut symbolizer = Symbolizer::new(facts());
    symbolizer.observe(&stack(&[], &[10]));
    assert_eq!(symbolizer.resolve().len(), 1);
    assert_eq!(symbolizer.resolve(), []);
    symbolizer.observe(&stack(&[], &[10, 20]));
    let [Event::Symbols(batch)] = &symbolizer.resolve()[..] else { panic!("one batch") };
    assert_eq!(batch[0].0.address, 20);
}
