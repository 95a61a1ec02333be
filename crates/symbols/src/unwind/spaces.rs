//! The address spaces of living processes, and which module is mapped where.

use std::collections::HashMap;

use whyslow_events::{Event, SpaceId};

use crate::living::Living;
use crate::mappings::Mapping;
use crate::space::Space;
use crate::unwind::memory::Memory;
use crate::unwind::modules::{ModuleId, Modules};

/// An address space, and what was asked of it.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) space: Space,
    /// Modules by the start of their mapping; `None` where there is none.
    modules: HashMap<u64, Option<ModuleId>>,
    /// Where the last address was: the next is often there, too.
    recent: Option<Region>,
    /// No module is older than this.
    oldest: ModuleId,
    /// Code in memory without a file.
    pub(crate) memory: Memory,
    /// A JVM is mapped.
    pub(crate) java: bool,
}

/// A mapping, and what is mapped there.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    pub(crate) mapping: Mapping,
    pub(crate) module: Option<ModuleId>,
}

/// The spaces that matter.
#[derive(Debug, Default)]
pub(crate) struct Spaces {
    known: HashMap<SpaceId, Known>,
    living: Living,
}

impl Spaces {
    pub(crate) fn get_mut(&mut self, space: SpaceId) -> Option<&mut Known> {
        self.known.get_mut(&space)
    }

    pub(crate) fn observe(&mut self, event: &Event) {
        match event {
            Event::Space { space, pid }
            | Event::Process { pid, space, .. }
            | Event::Exec { pid, space, .. } => self.known(*space).space.pid = Some(*pid),
            Event::Mapping { .. } => {
                let Some((space, mapping)) = Mapping::of(event) else { return };
                self.known(space).map(mapping);
            }
            _ => {}
        }
        if let Some(gone) = self.living.observe(event) {
            self.known.remove(&gone);
        }
    }

    fn known(&mut self, space: SpaceId) -> &mut Known {
        self.known.entry(space).or_default()
    }
}

impl Known {
    /// The region of `address`. Its module is located once.
    pub(crate) fn region(&mut self, address: u64, files: &mut Modules) -> Option<&Region> {
        if self.oldest != files.first() {
            self.oldest = files.first();
            self.modules.clear();
            self.recent = None;
        }
        let Known { space, modules, recent, .. } = self;
        if recent.as_ref().is_none_or(|recent| !recent.mapping.holds(address)) {
            let mapping = space.mappings.find(address)?;
            let module =
                *modules.entry(mapping.start).or_insert_with(|| files.locate(space, mapping));
            *recent = Some(Region { mapping: mapping.clone(), module });
        }
        recent.as_ref()
    }

    fn map(&mut self, mapping: Mapping) {
        self.recent = None;
        let replaced = mapping.start..mapping.end;
        self.modules.retain(|start, _| !replaced.contains(start));
        self.java |= mapping.module() == "libjvm.so";
        self.space.mappings.insert(mapping);
    }
}

#[cfg(test)]
mod tests {
    use whyslow_events::{Entrance, Pid, Seen, Tid};

    use super::*;
    use crate::living::GONE;

    fn begin(spaces: &mut Spaces, number: u32) {
        let (pid, space) = (Pid(number), SpaceId(number));
        let name = || "program".to_owned();
        let entrance = Entrance::Found(Seen::Runnable);
        spaces.observe(&Event::Process { pid, parent: None, space, name: name() });
        spaces.observe(&Event::Space { space, pid });
        spaces.observe(&mapping(space, 0x1000, 0x3000, "/program"));
        spaces.observe(&Event::Thread { tid: Tid(number), pid, name: name(), entrance });
    }

    fn mapping(space: SpaceId, start: u64, end: u64, path: &str) -> Event {
        let (path, build_id) = (path.to_owned(), vec![]);
        Event::Mapping { space, start, end, file_offset: 0, path, build_id }
    }

    #[test]
    fn short_lived_processes_leave_nothing_behind() {
        let mut spaces = Spaces::default();
        begin(&mut spaces, 0);
        for number in 1..10_000 {
            begin(&mut spaces, number);
            spaces.observe(&Event::Exit { tid: Tid(number) });
            assert!(spaces.get_mut(SpaceId(number)).is_some(), "it runs a little longer");
        }
        assert_eq!(spaces.known.len(), GONE + 1);
        assert_eq!(spaces.living.len(), (1, 1));
        assert!(spaces.get_mut(SpaceId(0)).is_some());
    }

    #[test]
    fn a_process_that_executes_programs_keeps_the_last() {
        let mut spaces = Spaces::default();
        begin(&mut spaces, 7);
        for number in 100..1_000 {
            let name = "program".to_owned();
            spaces.observe(&Event::Exec { pid: Pid(7), space: SpaceId(number), name });
        }
        assert_eq!(spaces.known.len(), GONE + 1);
        assert!(spaces.get_mut(SpaceId(999)).is_some());
        assert!(spaces.get_mut(SpaceId(7)).is_none());
    }

    #[test]
    fn a_mapping_over_another_is_located_anew() {
        let mut spaces = Spaces::default();
        begin(&mut spaces, 1);
        let known = spaces.get_mut(SpaceId(1)).unwrap();
        let mut files = Modules::default();
        let path = |known: &mut Known, address| {
            known
                .region(address, &mut Modules::default())
                .map(|region| region.mapping.path.to_string())
        };
        assert!(known.region(0x1000, &mut files).is_some_and(|region| region.module.is_none()));
        spaces.observe(&mapping(SpaceId(1), 0x2000, 0x4000, "/other"));
        let known = spaces.get_mut(SpaceId(1)).unwrap();
        assert_eq!(path(known, 0x1fff).as_deref(), Some("/program"));
        assert_eq!(path(known, 0x2000).as_deref(), Some("/other"));
        assert_eq!(path(known, 0x4000), None);
        assert_eq!(known.modules.len(), 2);
        spaces.observe(&mapping(SpaceId(1), 0x1000, 0x4000, "/third"));
        let known = spaces.get_mut(SpaceId(1)).unwrap();
        assert_eq!(known.modules.len(), 0);
        assert_eq!(path(known, 0x2000).as_deref(), Some("/third"));
    }
}
