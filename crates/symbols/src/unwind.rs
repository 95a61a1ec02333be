//! Call chains of code without frame pointers: from registers and a copy of
//! the stack, by the unwind information of the files that are mapped.
//!
//! The steps from frame to frame (`walk`) touch no file; files are read the
//! first time a stack goes through them (`modules`).

mod cache;
mod calls;
mod contents;
mod expression;
mod frame_pointer;
pub mod fuzzing;
mod image;
mod java;
mod leaf;
mod lost;
mod memory;
pub(crate) mod modules;
mod plain;
mod registers;
mod rule;
mod spaces;
mod table;
mod trail;
mod walk;
mod way_out;

use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use gimli::UnwindContext;
use whyslow_events::{Event, SpaceId, StackEnd, StackMemory, Unwind, Unwound, UserRegisters};

use crate::files::Files;
use crate::unwind::cache::{Cache, Near};
use crate::unwind::java::Keeps;
use crate::unwind::memory::Piece;
use crate::unwind::modules::Modules;
use crate::unwind::registers::Registers;
use crate::unwind::spaces::{Known, Spaces};
use crate::unwind::trail::Trails;
use crate::unwind::walk::Code;

/// Unwinds stacks of x86-64 processes of this host.
#[derive(Debug, Default)]
pub struct Unwinder {
    spaces: Spaces,
    files: Read,
    trails: Trails,
}

/// What was read of the mapped files.
#[derive(Debug, Default)]
struct Read {
    modules: Modules,
    rules: Cache,
    near: Near,
    context: UnwindContext<usize>,
}

impl Unwinder {
    /// Finds the files of the target with `files`, which hold them open.
    pub(crate) fn new(files: Files) -> Self {
        let files = Read { modules: Modules::new(files), ..Read::default() };
        Unwinder { files, ..Unwinder::default() }
    }
}

impl Unwind for Unwinder {
    fn observe(&mut self, event: &Event) {
        if let Event::Mapping { space, .. } = event {
            self.files.near.clear();
            self.trails.forget(*space);
        }
        self.spaces.observe(event);
    }

    fn unwind(
        &mut self,
        id: SpaceId,
        registers: &UserRegisters,
        stack: StackMemory<'_>,
    ) -> Unwound {
        let Some(space) = self.spaces.get_mut(id) else {
            return Unwound { addresses: vec![registers.pc], end: StackEnd::NoUnwindInfo };
        };
        space.memory.next_stack();
        let mut code = Mapped { id, space, files: &mut self.files };
        let mut along = self.trails.along(id, stack);
        let walk = || walk::walk(&mut code, Registers::from(registers), stack, &mut along);
        // The parsers meet whatever file the target has mapped: a broken one
        // must cost its own stacks and nothing else.
        let walked = panic::catch_unwind(AssertUnwindSafe(walk));
        let Ok(unwound) = walked else {
            return Unwound { addresses: vec![registers.pc], end: StackEnd::BadUnwindInfo };
        };
        self.trails.keep(id, along, stack, &unwound);
        unwound
    }

    fn function(&mut self, id: SpaceId, address: u64) -> Option<u64> {
        let mut code = Mapped { id, space: self.spaces.get_mut(id)?, files: &mut self.files };
        match panic::catch_unwind(AssertUnwindSafe(|| code.at(address))) {
            Ok(walk::Known::Rule(_, function)) => Some(function),
            _ => None,
        }
    }
}

/// The code mapped in a space.
struct Mapped<'a> {
    id: SpaceId,
    space: &'a mut Known,
    files: &'a mut Read,
}

impl Code for Mapped<'_> {
    fn at(&mut self, address: u64) -> walk::Known {
        let Read { modules, rules, near, context } = &mut *self.files;
        if let Some((rule, function)) = near.get(self.id, address) {
            return walk::Known::Rule(Rc::clone(rule), function);
        }
        let Some(region) = self.space.region(address, modules) else {
            return walk::Known::Nothing;
        };
        let Some((module, image)) = region.module.and_then(|id| Some((id, modules.image(id)?)))
        else {
            return walk::Known::Code;
        };
        let Some(linked) = image.address_of(region.mapping.offset_of(address)) else {
            return walk::Known::Code;
        };
        let ask = || Ok(image.table.rule(linked, context)?.map(Rc::new));
        match rules.get_or_ask(module, linked, ask) {
            Ok(rule) if image.begins_at(linked, rule.is_some()) => walk::Known::First,
            Ok(Some(rule)) => {
                let function = address.wrapping_sub(linked.wrapping_sub(rule.function));
                near.put(self.id, address, rule, function);
                walk::Known::Rule(Rc::clone(rule), function)
            }
            Ok(None) => walk::Known::Code,
            Err(_) => walk::Known::Broken,
        }
    }

    fn bytes<'a>(&mut self, address: u64, bytes: &'a mut [u8]) -> Option<&'a [u8]> {
        let Known { space, .. } = &*self.space;
        let mapping = space.mappings.find(address)?;
        let room = usize::try_from(mapping.end - address).unwrap_or(usize::MAX);
        if room < bytes.len() {
            return None;
        }
        self.files.modules.read_code(space, mapping, address, bytes)?;
        Some(bytes)
    }

    fn in_memory(&mut self, address: u64) -> Option<Piece> {
        let Known { space, memory, .. } = &mut *self.space;
        let mapping = space.mappings.find(address)?;
        if mapping.is_memory() { memory.at(space.pid?, address) } else { None }
    }

    fn java(&mut self, address: u64) -> Option<Keeps> {
        let Known { space, memory, java, .. } = &mut *self.space;
        let mapping = space.mappings.find(address).filter(|mapping| mapping.is_memory())?;
        let pid = space.pid.filter(|_| *java)?;
        let block = |start| if start < mapping.start { None } else { memory.block(pid, start) };
        Some(java::keeps(address, block))
    }
}
