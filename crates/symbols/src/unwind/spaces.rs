//! The address spaces of living processes, and which module is mapped where.

use std::collections::{HashMap, VecDeque};

use whyslow_events::{Event, Pid, SpaceId, Tid};

use crate::mappings::Mapping;
use crate::space::Space;
use crate::unwind::modules::{ModuleId, Modules};

/// Spaces kept after their process: a thread that exits runs a little longer.
const GONE: usize = 64;

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
    processes: HashMap<Pid, Process>,
    threads: HashMap<Tid, Pid>,
    gone: VecDeque<SpaceId>,
}

#[derive(Debug)]
struct Process {
    space: SpaceId,
    threads: usize,
}

impl Spaces {
    pub(crate) fn get_mut(&mut self, space: SpaceId) -> Option<&mut Known> {
        self.known.get_mut(&space)
    }

    pub(crate) fn observe(&mut self, event: &Event) {
        match event {
            Event::Space { space, pid } => self.known(*space).space.pid = Some(*pid),
            Event::Process { pid, space, .. } => {
                self.known(*space).space.pid = Some(*pid);
                let process = Process { space: *space, threads: 0 };
                if let Some(old) = self.processes.insert(*pid, process) {
                    self.retire(old.space);
                }
            }
            Event::Exec { pid, space, .. } => {
                self.known(*space).space.pid = Some(*pid);
                if let Some(process) = self.processes.get_mut(pid) {
                    let old = std::mem::replace(&mut process.space, *space);
                    self.retire(old);
                }
            }
            Event::Mapping { space, start, end, file_offset, path, build_id } => {
                self.known(*space).map(Mapping {
                    start: *start,
                    end: *end,
                    file_offset: *file_offset,
                    path: path.as_str().into(),
                    build_id: build_id.as_slice().into(),
                });
            }
            Event::Thread { tid, pid, .. } => {
                self.threads.insert(*tid, *pid);
                if let Some(process) = self.processes.get_mut(pid) {
                    process.threads += 1;
                }
            }
            Event::Exit { tid } => self.exit(*tid),
            _ => {}
        }
    }

    fn exit(&mut self, tid: Tid) {
        let Some(pid) = self.threads.remove(&tid) else { return };
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.threads = process.threads.saturating_sub(1);
        if process.threads == 0 {
            let space = process.space;
            self.processes.remove(&pid);
            self.retire(space);
        }
    }

    /// Forgets a space, though not at once.
    fn retire(&mut self, space: SpaceId) {
        self.gone.push_back(space);
        if self.gone.len() > GONE
            && let Some(oldest) = self.gone.pop_front()
        {
            self.known.remove(&oldest);
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
        self.space.mappings.insert(mapping);
    }
}
