//! What language runtime an address space holds, told by the names of the
//! files mapped in it; and for CPython, where its `_PyRuntime` is.

pub(crate) mod python;

use std::collections::HashMap;

use crate::elf::{self, ElfFile};
use crate::files::{FileId, Files};
use crate::mappings::Mapping;
use crate::runtime::python::{FileName, Interpreter};
use crate::space::Space;

/// A runtime found in an address space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Such as `cpython 3.11.7`.
    pub(crate) name: String,
    /// First address and one past the last of `_PyRuntime`.
    pub(crate) gil: Option<(u64, u64)>,
}

/// Looks into each file once, however many spaces map it.
#[derive(Debug)]
pub(crate) struct Finder {
    page_size: u64,
    interpreters: HashMap<FileId, Option<Interpreter>>,
}

impl Finder {
    pub(crate) fn new(page_size: u64) -> Self {
        Finder { page_size, interpreters: HashMap::new() }
    }

    /// The runtime in `space`: an interpreter found in memory before one told
    /// from a file name alone, CPython before others.
    pub(crate) fn find(&mut self, space: &Space, files: &Files) -> Option<Found> {
        let mut python: Option<Found> = None;
        let mut other = None;
        for mapping in space.mappings.iter() {
            if let Some(name) = python::file_name(mapping.module()) {
                let found = self.cpython(&name, mapping, space, files);
                if python.as_ref().is_none_or(|known| surer(&found) > surer(known)) {
                    python = Some(found);
                }
            } else if let Some(name) = by_file_name(mapping.module()) {
                other.get_or_insert(Found { name: name.to_owned(), gil: None });
            }
        }
        python.or(other)
    }

    /// Where the section lies with which `_asyncio` describes itself: in a library of
    /// its own, or in the interpreter.
    pub(crate) fn asyncio(&self, space: &Space, files: &Files) -> Option<u64> {
        space.mappings.iter().find_map(|mapping| {
            let module = mapping.module();
            let may_hold = module.starts_with("_asyncio.") || python::file_name(module).is_some();
            let file = may_hold.then(|| files.locate(space, mapping))??;
            let bytes = elf::open(&files.path(file)?)?;
            let file = ElfFile::parse(&bytes)?;
            let (address, _) = file.section(".AsyncioDebug")?;
            let bias = elf::load_bias(&file.segments(), mapping, self.page_size)?;
            Some(address.wrapping_add(bias))
        })
    }

    fn cpython(
        &mut self,
        name: &FileName,
        mapping: &Mapping,
        space: &Space,
        files: &Files,
    ) -> Found {
        let interpreter = files.locate(space, mapping).and_then(|file| {
            let look = || look_inside(file, files, name);
            self.interpreters.entry(file).or_insert_with(look).as_ref()
        });
        let version = interpreter.and_then(|interpreter| interpreter.version.clone());
        let version = version.or_else(|| name.version_text());
        let gil = interpreter.and_then(|interpreter| {
            let bias = elf::load_bias(&interpreter.segments, mapping, self.page_size)?;
            let (address, size) = interpreter.runtime?;
            let start = address.wrapping_add(bias);
            Some((start, start.checked_add(size)?))
        });
        let name = version.map_or("cpython".to_owned(), |version| format!("cpython {version}"));
        Found { name, gil }
    }
}

/// How much is known: the interpreter itself before a stub that loads it.
fn surer(found: &Found) -> (bool, usize) {
    (found.gil.is_some(), found.name.len())
}

fn look_inside(file: FileId, files: &Files, name: &FileName) -> Option<Interpreter> {
    let bytes = elf::open(&files.path(file)?)?;
    python::look_inside(&ElfFile::parse(&bytes)?, name)
}

fn by_file_name(name: &str) -> Option<&'static str> {
    match name {
        "node" | "nodejs" => Some("node"),
        "libjvm.so" => Some("jvm"),
        _ => None,
    }
}
