//! Rules by address: a table of fixed size in which a new rule takes the place
//! of an old one.

use std::sync::Arc;

use crate::unwind::modules::ModuleId;
use crate::unwind::rule::{Rule, Stop};

/// Places. A program that is busy everywhere has fewer call sites on its stacks.
const PLACES: usize = 1 << 14;

/// What a module says of an address.
pub(crate) type Answer = Result<Option<Arc<Rule>>, Stop>;

/// The answers of late.
#[derive(Debug)]
pub(crate) struct Cache {
    places: Box<[Option<Place>]>,
}

#[derive(Clone, Debug)]
struct Place {
    module: ModuleId,
    address: u64,
    answer: Answer,
}

impl Default for Cache {
    fn default() -> Self {
        Cache { places: vec![None; PLACES].into() }
    }
}

impl Cache {
    /// The answer for an address as the file of `module` counts.
    pub(crate) fn get_or_ask(
        &mut self,
        module: ModuleId,
        address: u64,
        ask: impl FnOnce() -> Answer,
    ) -> &Answer {
        let place = &mut self.places[index(module, address)];
        let fits = |place: &&mut Place| place.module == module && place.address == address;
        if place.as_mut().filter(fits).is_none() {
            *place = None;
        }
        &place.get_or_insert_with(|| Place { module, address, answer: ask() }).answer
    }
}

fn index(module: ModuleId, address: u64) -> usize {
    // Fibonacci hashing: neighbours spread over the table.
    const RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (address ^ u64::from(module.0) << 40).wrapping_mul(RATIO);
    usize::try_from(mixed >> (u64::BITS - PLACES.ilog2())).unwrap_or_default()
}
