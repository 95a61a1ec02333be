//! Files that are mapped where others were: plugins that are unloaded and loaded again.

use std::path::{Path, PathBuf};

use whyslow_events::{Event, Ns, SymbolKey};
use whyslow_symbols::Symbolizer;

use crate::program::{SPACE, compile, facts, frames_at, stack};
use crate::sources::{nm, text};

const START: u64 = 0x10_0000;
const END: u64 = 0x20_0000;

/// A library whose one function has this name.
fn library(directory: &Path, name: &str) -> Option<PathBuf> {
    let directory = directory.join(name);
    std::fs::create_dir(&directory).unwrap();
    let source = format!("int {name}(int n) {{ return n + 1; }}");
    compile(&directory, "cc", &source, &["-shared", "-fPIC", "-nostdlib"])
}

fn mapping(path: &Path) -> Event {
    let (space, start, end, file_offset) = (SPACE, START, END, 0);
    Event::Mapping { space, start, end, file_offset, path: text(path).into(), build_id: vec![] }
}

#[test]
fn an_address_has_the_name_of_each_file_while_it_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let names = ["first", "other", "third"];
    let paths: Option<Vec<PathBuf>> =
        names.iter().map(|name| library(directory.path(), name)).collect();
    let Some(paths) = paths else { return };
    let (at, _) = nm(&paths[0])["first"];
    assert!(paths.iter().zip(names).all(|(path, name)| nm(path)[name].0 == at));
    let mut symbolizer = Symbolizer::new(facts());
    let address = START + at;
    for (time, path) in (0..).step_by(10).zip(&paths) {
        symbolizer.observe_at(Ns(time), &mapping(path));
        // The same again is no change.
        symbolizer.observe_at(Ns(time + 5), &mapping(path));
        if time == 0 {
            symbolizer.observe_at(Ns(time), &stack(&[], &[address]));
        }
    }
    let resolved = symbolizer.resolve();
    assert_eq!(frames_at(&resolved, address)[0].function, "first");
    let later: Vec<_> = resolved
        .iter()
        .filter_map(|event| match event {
            Event::Renamed { key, since, frames } => Some((key, *since, &*frames[0].function)),
            _ => None,
        })
        .collect();
    let key = SymbolKey { space: Some(SPACE), address };
    assert_eq!(later, [(&key, Ns(10), "other"), (&key, Ns(20), "third")]);
    assert!(symbolizer.resolve().is_empty(), "all was said");
}
