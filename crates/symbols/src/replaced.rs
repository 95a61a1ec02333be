//! Files that were mapped where another had been: an address has the name of the one
//! first, and of the other from then on.

use std::collections::HashMap;

use whyslow_events::{Event, Frame, Ns, SpaceId, SymbolKey};

use crate::addresses::Wanted;
use crate::mappings::Mappings;

/// Addresses that are named for two times or more, at most: a program may go on
/// loading and unloading for ever.
const LIMIT: usize = 1 << 16;

/// What was mapped at some addresses up to a time.
#[derive(Debug)]
pub(crate) struct Before {
    pub(crate) space: SpaceId,
    until: Ns,
    /// What was there, and where.
    pub(crate) mappings: Mappings,
    pub(crate) addresses: Vec<Wanted>,
}

/// All that was replaced, in the order of time.
#[derive(Debug, Default)]
pub(crate) struct Replaced {
    all: Vec<Before>,
    count: usize,
}

impl Replaced {
    /// These addresses, seen already, hold something else from `until` on.
    pub(crate) fn note(
        &mut self,
        space: SpaceId,
        until: Ns,
        mappings: Mappings,
        addresses: Vec<Wanted>,
    ) {
        self.count += addresses.len();
        if self.count <= LIMIT && !addresses.is_empty() {
            self.all.push(Before { space, until, mappings, addresses });
        }
    }

    /// Takes out what was replaced.
    pub(crate) fn take(&mut self) -> Vec<Before> {
        self.count = 0;
        std::mem::take(&mut self.all)
    }
}

/// An address and what stands there.
pub(crate) type Named = (SymbolKey, Vec<Frame>);

/// The names of all times: `earlier` those of what was replaced, `last` those of what is
/// there now. Gives the first of each address, and what it is called later.
pub(crate) fn in_order(
    earlier: impl IntoIterator<Item = (Before, Vec<Named>)>,
    last: Vec<Named>,
) -> (Vec<Named>, Vec<Event>) {
    let (mut first, mut later) = (vec![], vec![]);
    let mut since: HashMap<SymbolKey, Ns> = HashMap::new();
    let mut name = |(key, frames): Named, until: Option<Ns>| {
        let before = match until {
            Some(until) => since.insert(key.clone(), until),
            None => since.remove(&key),
        };
        match before {
            Some(since) => later.push(Event::Renamed { key, since, frames }),
            None => first.push((key, frames)),
        }
    };
    for (before, named) in earlier {
        named.into_iter().for_each(|named| name(named, Some(before.until)));
    }
    last.into_iter().for_each(|named| name(named, None));
    (first, later)
}
