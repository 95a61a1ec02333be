//! Interpreters, against what they say of themselves.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use whyslow_events::{Event, SpaceId};

use crate::program::{Program, SPACE, events_of, resolve};

const ASK: &str = "
import ctypes, platform, sys
print('version', platform.python_version())
try:
    runtime = ctypes.c_char.in_dll(ctypes.pythonapi, '_PyRuntime')
    print('runtime', hex(ctypes.addressof(runtime)))
except ValueError:
    print('runtime 0x0')
print('ready', flush=True)
sys.stdin.read()
";

/// Every interpreter under pyenv and the system's own.
fn interpreters() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let versions = fs::read_dir(home.join(".pyenv/versions")).into_iter().flatten();
    let installed = versions.flatten().map(|entry| entry.path().join("bin/python3"));
    let all = installed.chain([PathBuf::from("/usr/bin/python3")]);
    let found: Vec<PathBuf> = all.filter(|path| path.exists()).collect();
    if found.is_empty() {
        println!("skipped: no Python here");
    }
    found
}

/// The size of `_PyRuntime`, as `readelf` sees it in the file that defines it.
fn size_by_readelf(events: &[Event]) -> Option<u64> {
    events.iter().find_map(|event| {
        let Event::Mapping { path, .. } = event else { return None };
        let output = Command::new("readelf").args(["-W", "--dyn-syms", path]).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line =
            text.lines().find(|line| line.ends_with(" _PyRuntime") && !line.contains(" UND "))?;
        let size = line.split_ascii_whitespace().nth(2)?;
        match size.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => size.parse().ok(),
        }
    })
}

#[test]
fn every_interpreter_is_found_with_its_version_and_runtime() {
    for path in interpreters() {
        let program = Program::start(Command::new(&path).args(["-I", "-c", ASK]));
        let events = program.events();
        let resolved = resolve(&events);
        let [Event::Runtime { space, name, gil }] = &resolved[..] else {
            panic!("{}: {resolved:?}", path.display());
        };
        assert_eq!(*space, SPACE);
        assert_eq!(*name, format!("cpython {}", program.text("version")), "{}", path.display());
        let start = program.number("runtime");
        assert_eq!(gil.map_or(0, |gil| gil.0), start, "{}", path.display());
        if let (Some((start, end)), Some(size)) = (gil, size_by_readelf(&events)) {
            assert_eq!(end - start, size, "{}", path.display());
        }
    }
}

#[test]
fn a_runtime_that_was_reported_is_not_reported_again() {
    for path in interpreters().into_iter().take(1) {
        let program = Program::start(Command::new(&path).args(["-I", "-c", ASK]));
        let mut events = program.events();
        events.extend(events_of(program.pid(), SpaceId(2)));
        events.push(Event::Runtime { space: SPACE, name: "cpython".to_owned(), gil: None });
        let spaces: Vec<SpaceId> = resolve(&events)
            .iter()
            .filter_map(|event| match event {
                Event::Runtime { space, .. } => Some(*space),
                _ => None,
            })
            .collect();
        assert_eq!(spaces, [SpaceId(2)]);
    }
}

fn mapping(path: &str) -> Event {
    let (space, path) = (SPACE, path.to_owned());
    Event::Mapping { space, start: 0x1000, end: 0x2000, file_offset: 0, path, build_id: vec![] }
}

/// A recording read on another machine: the interpreter is not here.
#[test]
fn an_interpreter_that_is_not_here_is_told_from_its_name() {
    for (path, name) in [
        ("/nowhere/libpython3.11.so.1.0", "cpython 3.11"),
        ("/nowhere/python3.9", "cpython 3.9"),
        ("/nowhere/python", "cpython"),
        ("/nowhere/node", "node"),
        ("/nowhere/libjvm.so", "jvm"),
    ] {
        let expected = Event::Runtime { space: SPACE, name: name.to_owned(), gil: None };
        assert_eq!(resolve(&[mapping(path)]), [expected]);
    }
    assert_eq!(resolve(&[mapping("/nowhere/postgres")]), []);
}
