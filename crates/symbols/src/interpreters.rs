//! Finds the interpreters of a target while it runs.

use std::collections::HashMap;

use whyslow_events::{Event, SpaceId};

use crate::files::Files;
use crate::living::Living;
use crate::mappings::Mapping;
use crate::runtime::Finder;
use crate::space::Space;

/// A CPython interpreter in an address space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// Where its `_PyRuntime` is, if it has one and its files tell.
    pub runtime: Option<u64>,
    /// Its version, such as `3.11.7`, as far as its file tells.
    pub version: Option<String>,
}

/// The address spaces of the processes that live.
#[derive(Debug)]
pub struct Interpreters {
    spaces: HashMap<SpaceId, Space>,
    living: Living,
    files: Files,
    finder: Finder,
}

impl Interpreters {
    pub(crate) fn new(page_size: u64, files: Files) -> Self {
        let (spaces, living) = Default::default();
        Interpreters { spaces, living, files, finder: Finder::new(page_size) }
    }

    /// Learns spaces and mappings from the events that pass by; the space in
    /// which something changed.
    pub fn observe(&mut self, event: &Event) -> Option<SpaceId> {
        if let Some(gone) = self.living.observe(event) {
            self.spaces.remove(&gone);
        }
        match event {
            Event::Space { space, pid }
            | Event::Process { space, pid, .. }
            | Event::Exec { space, pid, .. } => {
                self.spaces.entry(*space).or_default().pid = Some(*pid);
                Some(*space)
            }
            _ => {
                let (space, mapping) = Mapping::of(event)?;
                self.spaces.entry(space).or_default().mappings.insert(mapping);
                Some(space)
            }
        }
    }

    /// The CPython in a space, if there is one.
    pub fn python(&mut self, space: SpaceId) -> Option<Python> {
        let found = self.finder.find(self.spaces.get(&space)?, &self.files)?;
        let version = found.name.strip_prefix("cpython")?.strip_prefix(' ').map(str::to_owned);
        Some(Python { runtime: found.gil.map(|(start, _)| start), version })
    }

    /// Where asyncio describes its structures, from CPython 3.14 on.
    pub fn asyncio(&mut self, space: SpaceId) -> Option<u64> {
        self.finder.asyncio(self.spaces.get(&space)?, &self.files)
    }
}
