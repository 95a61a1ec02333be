//! Names of user addresses: from ELF symbols and debug information of the
//! file mapped there. Each file is opened once, each place in it named once.

use std::collections::{BTreeMap, HashMap};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{Input, Symbolized};
use whyslow_events::{Frame, SpaceId, SymbolKey};

use crate::addresses::Wanted;
use crate::files::{FileId, Files};
use crate::frames;
use crate::mappings::{Backing, Mapping};
use crate::space::Space;
use crate::vdso::Vdso;

type Named = (SymbolKey, Vec<Frame>);

/// Addresses of one symbol source: what to ask for, and whom the answer names.
#[derive(Debug, Default)]
struct Questions {
    by_place: BTreeMap<u64, Vec<usize>>,
}

impl Questions {
    fn ask(&mut self, place: u64, index: usize) {
        self.by_place.entry(place).or_default().push(index);
    }

    /// Hands out the answers. A miss leaves the name that is there.
    fn answer(&self, source: &Source<'_>, input: fn(&[u64]) -> Input<&[u64]>, named: &mut [Named]) {
        let places: Vec<u64> = self.by_place.keys().copied().collect();
        // One symbolizer for each source keeps one file open at a time, and
        // none is used again after a panic.
        let symbolizer = blazesym::symbolize::Symbolizer::new();
        let ask = || symbolizer.symbolize(source, input(&places)).unwrap_or_default();
        // Its parsers meet whatever file the target has mapped: a broken one
        // must cost its own names and nothing else.
        let found = panic::catch_unwind(AssertUnwindSafe(ask)).unwrap_or_default();
        for (indices, symbol) in self.by_place.values().zip(&found) {
            let Symbolized::Sym(symbol) = symbol else { continue };
            for &index in indices {
                let module = named[index].1.first().map(|frame| frame.module.clone());
                if let Some(frames) = frames::of(symbol, &module.unwrap_or_default()) {
                    named[index].1 = frames;
                }
            }
        }
    }
}

/// Names `wanted`, all user addresses, in their order.
pub(crate) fn name(
    wanted: &[Wanted],
    spaces: &BTreeMap<SpaceId, Space>,
    files: &Files,
) -> Vec<Named> {
    let mut named = Vec::with_capacity(wanted.len());
    let mut in_files: HashMap<FileId, Questions> = HashMap::new();
    let mut in_vdso = Questions::default();
    let vdso = Vdso::of_this_process();
    for (index, wanted) in wanted.iter().enumerate() {
        let executing = wanted.executing();
        let space = wanted.key.space.and_then(|space| spaces.get(&space));
        let mapping = space.and_then(|space| space.mappings.find(executing));
        named.push((wanted.key.clone(), vec![nameless(wanted.key.address, mapping)]));
        let (Some(space), Some(mapping)) = (space, mapping) else { continue };
        if mapping.backing() == Backing::Vdso {
            if let Some(place) = vdso.and_then(|vdso| vdso.translate(mapping, executing)) {
                in_vdso.ask(place, index);
            }
        } else if let Some(file) = files.locate(space, mapping) {
            in_files.entry(file).or_default().ask(mapping.offset_of(executing), index);
        }
    }
    in_vdso.answer(&Vdso::source(), |places| Input::AbsAddr(places), &mut named);
    for (file, questions) in &in_files {
        if let Some(path) = files.path(*file) {
            questions.answer(&elf(&path), |places| Input::FileOffset(places), &mut named);
        }
    }
    named
}

fn elf(path: &Path) -> Source<'static> {
    Source::Elf(Elf::new(path))
}

/// The frame of an address that no symbol covers.
fn nameless(address: u64, mapping: Option<&Mapping>) -> Frame {
    let module = mapping.map_or("[unknown]", Mapping::module);
    let place = match mapping.map(Mapping::backing) {
        Some(Backing::File) => mapping.map_or(address, |mapping| mapping.offset_of(address)),
        Some(Backing::Vdso) => mapping.map_or(address, |mapping| address - mapping.start),
        Some(Backing::Memory) | None => address,
    };
    Frame {
        function: format!("{module}+{place:#x}"),
        module: module.to_owned(),
        ..Frame::default()
    }
}
