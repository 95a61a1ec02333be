//! Rules by address: tables of fixed size in which a new rule takes the place
//! of an old one. One goes by files, for all processes; one by the addresses of a
//! process, for those that a deep recursion asks for over and over.

use std::rc::Rc;

use whyslow_events::SpaceId;

use crate::unwind::modules::ModuleId;
use crate::unwind::rule::{Rule, Stop};

/// Places. A program that is busy everywhere has fewer call sites on its stacks.
const PLACES: usize = 1 << 14;

/// What a module says of an address.
pub(crate) type Answer = Result<Option<Rc<Rule>>, Stop>;

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
        let place = &mut self.places[index::<PLACES>(module.0, address)];
        let fits = |place: &&mut Place| place.module == module && place.address == address;
        if place.as_mut().filter(fits).is_none() {
            *place = None;
        }
        &place.get_or_insert_with(|| Place { module, address, answer: ask() }).answer
    }
}

/// Places by the address in a process. They stay in the processor's nearest cache.
const NEAR_PLACES: usize = 1 << 8;

/// The rules of late by the address in a process.
#[derive(Debug)]
pub(crate) struct Near {
    places: Box<[Option<NearPlace>]>,
}

#[derive(Clone, Debug)]
struct NearPlace {
    space: SpaceId,
    address: u64,
    rule: Rc<Rule>,
    /// Where its function begins in the process.
    function: u64,
}

impl Default for Near {
    fn default() -> Self {
        Near { places: vec![None; NEAR_PLACES].into() }
    }
}

impl Near {
    /// The rule at an address, and where its function begins.
    pub(crate) fn get(&self, space: SpaceId, address: u64) -> Option<(&Rc<Rule>, u64)> {
        let place = self.places[index::<NEAR_PLACES>(space.0, address)].as_ref()?;
        let fits = place.space == space && place.address == address;
        fits.then_some((&place.rule, place.function))
    }

    /// Remembers the rule at an address, and where its function begins.
    pub(crate) fn put(&mut self, space: SpaceId, address: u64, rule: &Rc<Rule>, function: u64) {
        let place = NearPlace { space, address, rule: Rc::clone(rule), function };
        self.places[index::<NEAR_PLACES>(space.0, address)] = Some(place);
    }

    /// Forgets all: other code may be mapped somewhere.
    pub(crate) fn clear(&mut self) {
        self.places.fill(None);
    }
}

fn index<const PLACES: usize>(of: u32, address: u64) -> usize {
    // Fibonacci hashing: neighbours spread over the table.
    const RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (address ^ u64::from(of) << 40).wrapping_mul(RATIO);
    usize::try_from(mixed >> (u64::BITS - PLACES.ilog2())).unwrap_or_default()
}
