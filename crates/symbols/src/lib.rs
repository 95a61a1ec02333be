//! Addresses to names: watches the events that define address spaces,
//! mappings and stacks, and afterwards says what stands at each address and
//! what language runtime each space holds. From registers and a copy of a
//! stack to a call chain is the business of [`Unwinder`].
//!
//! A miss is a value: an address that no symbol covers is named by its module
//! and offset. Nothing in here fails. JIT-compiled code is not named yet.
#![forbid(unsafe_code)]

mod addresses;
mod batches;
mod elf;
mod files;
mod frames;
mod kernel;
mod mappings;
mod proc_maps;
mod runtime;
mod space;
mod unwind;
mod user;
mod vdso;

use std::collections::BTreeMap;

use whyslow_events::{Event, SpaceId, SystemFacts};

use crate::addresses::Addresses;
use crate::files::Files;
use crate::mappings::Mapping;
use crate::space::Space;
pub use crate::unwind::{Unwinder, fuzzing};

/// Names the addresses of a recording, from the files of this host.
///
/// An address that stands in stacks both as the innermost address and as a
/// return address is named as the latter: the call site it returns to.
#[derive(Debug)]
pub struct Symbolizer {
    facts: SystemFacts,
    spaces: BTreeMap<SpaceId, Space>,
    addresses: Addresses,
}

impl Symbolizer {
    /// Knows nothing yet. `facts` are those of the recording.
    #[must_use]
    pub fn new(facts: SystemFacts) -> Self {
        Symbolizer { facts, spaces: BTreeMap::new(), addresses: Addresses::default() }
    }

    /// Learns spaces, mappings and stacks from the events that pass by.
    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::Space { space, pid }
            | Event::Process { space, pid, .. }
            | Event::Exec { space, pid, .. } => self.space(*space).pid = Some(*pid),
            Event::Mapping { space, start, end, file_offset, path, .. } => {
                let mapping = Mapping {
                    start: *start,
                    end: *end,
                    file_offset: *file_offset,
                    path: path.as_str().into(),
                };
                self.space(*space).mappings.insert(mapping);
            }
            Event::Stack { space, kernel, user, .. } => {
                self.addresses.stack(None, kernel);
                self.addresses.stack(Some(*space), user);
            }
            Event::Symbols(named) => self.addresses.named(named.iter().map(|(key, _)| key)),
            Event::Runtime { space, .. } => self.space(*space).runtime_known = true,
            _ => {}
        }
    }

    /// Names every address observed in stacks and not named by an observed
    /// `Event::Symbols`, and every runtime not yet reported by an observed
    /// `Event::Runtime`. What this call returned, the next one does not.
    pub fn resolve(&mut self) -> Vec<Event> {
        let mut files = Files::default();
        let mut events = self.runtimes(&mut files);
        let wanted = self.addresses.take_wanted();
        // `None`, the kernel, sorts before every space.
        let (in_kernel, in_user) =
            wanted.split_at(wanted.partition_point(|wanted| wanted.key.space.is_none()));
        let mut named = kernel::name(in_kernel);
        named.extend(user::name(in_user, &self.spaces, &mut files));
        events.extend(batches::of(named).map(Event::Symbols));
        events
    }

    fn runtimes(&mut self, files: &mut Files) -> Vec<Event> {
        let mut events = Vec::new();
        let mut finder = runtime::Finder::new(self.facts.page_size);
        for (&space, known) in self.spaces.iter_mut().filter(|(_, known)| !known.runtime_known) {
            if let Some(found) = finder.find(known, files) {
                known.runtime_known = true;
                events.push(Event::Runtime { space, name: found.name, gil: found.gil });
            }
        }
        events
    }

    fn space(&mut self, space: SpaceId) -> &mut Space {
        self.spaces.entry(space).or_default()
    }
}
