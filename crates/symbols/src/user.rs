//! Names of user addresses: from the symbols and debug information of the
//! file mapped there. Each file is opened once, each place in it named once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{Input, Symbolized, Symbolizer};
use whyslow_events::{Frame, SpaceId, SymbolKey};

use crate::addresses::Wanted;
use crate::binary::{Binary, Modest};
use crate::debug_files::{self, DebugFiles};
use crate::files::{FileId, Files, Place};
use crate::frames;
use crate::mappings::{Backing, Mapping};
use crate::qualified;
use crate::space::Space;
use crate::unwind::modules;
use crate::vdso::Vdso;

type Named = (SymbolKey, Vec<Frame>);

/// Addresses of one symbol source: what to ask for, and whom the answer names.
#[derive(Clone, Debug, Default)]
struct Questions {
    by_place: BTreeMap<u64, Vec<usize>>,
}

/// The source could not be read: what it did not answer, it might know.
struct Broken;

impl Questions {
    fn ask(&mut self, place: u64, index: usize) {
        self.by_place.entry(place).or_default().push(index);
    }

    /// The same questions with `translate` made of their places; those without
    /// are dropped.
    fn translated(self, translate: impl Fn(u64) -> Option<u64>) -> Questions {
        let places = self.by_place.into_iter();
        let translated = places.filter_map(|(place, whom)| Some((translate(place)?, whom)));
        Questions { by_place: translated.collect() }
    }

    /// Hands out the answers of `find`, and keeps what it does not know.
    fn answer(
        &mut self,
        named: &mut [Named],
        mut find: impl FnMut(u64, &str) -> Option<Vec<Frame>>,
    ) {
        self.by_place.retain(|place, whom| {
            let mut known = true;
            for &index in whom.iter() {
                let module = named[index].1.first().map(|frame| frame.module.as_str());
                match find(*place, module.unwrap_or_default()) {
                    Some(frames) => named[index].1 = frames,
                    None => known = false,
                }
            }
            !known
        });
    }

    /// Hands out the answers of a symbol source. A symbol without a size names the
    /// places for which `may_name` allows it, given its address and the place.
    fn answer_from(
        &mut self,
        source: (&Symbolizer, &Source<'_>),
        input: fn(&[u64]) -> Input<&[u64]>,
        may_name: impl Fn(u64, u64) -> bool,
        named: &mut [Named],
    ) -> Result<(), Broken> {
        let found = self.found(source, input)?;
        self.answer(named, |place, module| {
            let symbol = found.get(&place)?.as_sym()?;
            let covers = symbol.size.is_some() || may_name(symbol.addr, place);
            frames::of(symbol, module).filter(|_| covers)
        });
        Ok(())
    }

    /// What a symbol source finds, by place.
    fn found<'a>(
        &self,
        (symbolizer, source): (&'a Symbolizer, &Source<'_>),
        input: fn(&[u64]) -> Input<&[u64]>,
    ) -> Result<HashMap<u64, Symbolized<'a>>, Broken> {
        let places: Vec<u64> = self.by_place.keys().copied().collect();
        let ask = || symbolizer.symbolize(source, input(&places)).ok();
        // Its parsers meet whatever file the target has mapped: a broken one
        // must cost its own names and nothing else.
        let found = panic::catch_unwind(AssertUnwindSafe(ask)).ok().flatten().ok_or(Broken)?;
        Ok(places.into_iter().zip(found).collect())
    }

    /// Looks in the symbol table of a file for the rest of names of which debug information
    /// told the last part.
    fn lengthen(mut self, path: &Path, named: &mut [Named]) {
        self.by_place
            .retain(|_, whom| whom.iter().any(|&index| qualified::may_be_longer(&named[index].1)));
        if self.by_place.is_empty() {
            return;
        }
        let mut elf = Elf::new(path);
        elf.debug_syms = false;
        let source = (&Symbolizer::new(), &Source::Elf(elf));
        let Ok(found) = self.found(source, |at| Input::VirtOffset(at)) else { return };
        for (place, whom) in &self.by_place {
            let Some(symbol) = found.get(place).and_then(Symbolized::as_sym) else { continue };
            whom.iter().for_each(|&index| qualified::lengthen(&mut named[index].1, &symbol.name));
        }
    }
}

/// What is asked of one file, and where it was found.
struct InFile {
    questions: Questions,
    place: Place,
}

/// Names `wanted`, all user addresses, in their order.
pub(crate) fn name(
    wanted: &[Wanted],
    spaces: &BTreeMap<SpaceId, Space>,
    files: &Files,
    debug_files: &mut DebugFiles,
) -> Vec<Named> {
    let mut named = Vec::with_capacity(wanted.len());
    let mut in_files: HashMap<FileId, InFile> = HashMap::new();
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
            let new =
                || InFile { questions: Questions::default(), place: files.place(space, mapping) };
            let asked = in_files.entry(file).or_insert_with(new);
            asked.questions.ask(mapping.offset_of(executing), index);
        }
    }
    let source = (&Symbolizer::new(), &Vdso::source());
    let _ = in_vdso.answer_from(source, |places| Input::AbsAddr(places), |_, _| true, &mut named);
    // Servers may not have the time for all: what stands for the most first.
    let mut in_files: Vec<(FileId, InFile)> = in_files.into_iter().collect();
    in_files.sort_by_key(|(file, asked)| (Reverse(asked.questions.by_place.len()), *file));
    for (file, asked) in in_files {
        name_in_file(file, asked, files, debug_files, &mut named);
    }
    named
}

fn name_in_file(
    file: FileId,
    asked: InFile,
    files: &Files,
    debug_files: &mut DebugFiles,
    named: &mut [Named],
) {
    let Some(binary) = files.path(file).and_then(|path| Binary::read(&path)) else { return };
    let mut questions = asked.questions.translated(|offset| binary.address_at(offset));
    questions.answer(named, |address, module| {
        let (function, module) = (binary.stub(address)?.to_owned(), module.to_owned());
        Some(vec![Frame { function, module, ..Frame::default() }])
    });
    if questions.by_place.is_empty() {
        return;
    }
    let debug_file = debug_files.find(files, file, &asked.place);
    let debug_file = debug_file.or_else(|| debug_files.fetch(files, file));
    for source in debug_file.into_iter().chain([file]) {
        let Some(path) = files.path(source).filter(|_| !questions.by_place.is_empty()) else {
            continue;
        };
        let modest = Modest::read(&path);
        if modest.symbols {
            let debug = modest.debug_info && (source != file || binary.has_debug_info);
            answer_from_elf(&mut questions, (&path, &modest), debug, &asked.place, named);
        }
    }
    if !questions.by_place.is_empty() {
        answer_by_beginnings(&mut questions, files.path(file).as_deref(), named);
    }
}

/// Functions without a name are told apart by where they begin, which their file says to
/// those who unwind.
fn answer_by_beginnings(questions: &mut Questions, path: Option<&Path>, named: &mut [Named]) {
    let Some(image) = path.and_then(modules::parse) else { return };
    questions
        .answer(named, |address, module| Some(vec![nameless_in(module, image.function(address)?)]));
}

/// Asks for symbols and, if `debug`, lines and inlined functions.
fn answer_from_elf(
    questions: &mut Questions,
    (path, modest): (&Path, &Modest),
    debug: bool,
    place: &Place,
    named: &mut [Named],
) {
    let folders = debug_files::folders(&place.root);
    // Where debug information is broken, symbols may still be whole.
    for debug_syms in if debug { &[true, false][..] } else { &[false] } {
        // One symbolizer for each source keeps few files open at a time, and
        // none is used again after a panic.
        let symbolizer = Symbolizer::builder().set_debug_dirs(Some(&folders)).build();
        let mut elf = Elf::new(path);
        elf.debug_syms = *debug_syms;
        let source = (&symbolizer, &Source::Elf(elf));
        // Debug information gives a function in several pieces neither address nor size.
        let may_name = |symbol, place| *debug_syms && symbol == 0 || modest.may_name(symbol, place);
        let asked = if *debug_syms { questions.clone() } else { Questions::default() };
        let answer = questions.answer_from(source, |at| Input::VirtOffset(at), may_name, named);
        if answer.is_ok() {
            return asked.lengthen(path, named);
        }
    }
}

/// The frame of an address that no symbol covers.
fn nameless(address: u64, mapping: Option<&Mapping>) -> Frame {
    let module = mapping.map_or("[unknown]", Mapping::module);
    let place = match mapping.map(Mapping::backing) {
        Some(Backing::File) => mapping.map_or(address, |mapping| mapping.offset_of(address)),
        Some(Backing::Vdso) => mapping.map_or(address, |mapping| address - mapping.start),
        Some(Backing::Memory) | None => address,
    };
    nameless_in(module, place)
}

fn nameless_in(module: &str, place: u64) -> Frame {
    Frame {
        function: format!("{module}+{place:#x}"),
        module: module.to_owned(),
        ..Frame::default()
    }
}
