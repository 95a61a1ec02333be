//! Programs to ask: compiled, run up to where they have told all they know,
//! and observed through `/proc` as an engine would.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use whyslow_events::{Event, Frame, Pid, SpaceId, StackEnd, StackId, SymbolKey, SystemFacts};
use whyslow_symbols::Symbolizer;

/// The one address space of most tests.
pub(crate) const SPACE: SpaceId = SpaceId(1);

pub(crate) fn facts() -> SystemFacts {
    // The kernel tells every program its page size (AT_PAGESZ, 6).
    let vector = fs::read("/proc/self/auxv").expect("our own auxiliary vector");
    let entries = vector.chunks_exact(16).map(|entry| entry.split_at(8));
    let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("8 bytes"));
    let mut pages = entries.filter(|(key, _)| number(key) == 6).map(|(_, value)| number(value));
    let page_size = pages.next().expect("the kernel tells the page size");
    SystemFacts { page_size, clock_ticks: 100, cpus: 1 }
}

/// A running program that has printed what it knows and waits for its input
/// to end.
pub(crate) struct Program {
    child: Child,
    /// The lines it printed.
    pub(crate) said: Vec<String>,
}

impl Program {
    /// Starts `command` and reads up to a line `ready`.
    pub(crate) fn start(command: &mut Command) -> Program {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let lines = output.lines().map(|line| line.expect("readable output"));
        let said: Vec<String> = lines.take_while(|line| line != "ready").collect();
        Program { child, said }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The number printed as `key 0x…` or `key …`.
    pub(crate) fn number(&self, key: &str) -> u64 {
        let value = self.text(key);
        match value.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => value.parse(),
        }
        .unwrap_or_else(|error| panic!("{key} {value:?}: {error}"))
    }

    /// What was printed behind `key`.
    pub(crate) fn text(&self, key: &str) -> &str {
        let line = self.said.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{key} not in {:?}", self.said))
    }

    /// What an engine reports of it.
    pub(crate) fn events(&self) -> Vec<Event> {
        events_of(self.pid(), SPACE)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().expect("our child");
    }
}

/// The address space of `pid` and its executable mappings.
pub(crate) fn events_of(pid: u32, space: SpaceId) -> Vec<Event> {
    events_in(&fs::read_to_string(format!("/proc/{pid}/maps")).expect("a live process"), pid, space)
}

/// The same from the text of the maps.
pub(crate) fn events_in(maps: &str, pid: u32, space: SpaceId) -> Vec<Event> {
    let mut events = vec![Event::Space { space, pid: Pid(pid) }];
    for line in maps.lines() {
        let mut fields = line.splitn(6, ' ');
        let mut next = || fields.next().expect("six fields");
        let (range, permissions, offset) = (next(), next(), next());
        let path = fields.nth(2).unwrap_or_default().trim_start();
        if !permissions.contains('x') {
            continue;
        }
        let hex = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
        let (start, end) = range.split_once('-').expect("a range");
        events.push(Event::Mapping {
            space,
            start: hex(start),
            end: hex(end),
            file_offset: hex(offset),
            path: if path.is_empty() { "//anon".to_owned() } else { path.to_owned() },
            build_id: vec![],
        });
    }
    events
}

/// A call chain of [`SPACE`].
pub(crate) fn stack(kernel: &[u64], user: &[u64]) -> Event {
    let end = StackEnd::Complete;
    Event::Stack {
        id: StackId(1),
        space: SPACE,
        kernel: kernel.into(),
        user: user.into(),
        end,
        script: vec![],
    }
}

/// Observes `events` and resolves.
pub(crate) fn resolve(events: &[Event]) -> Vec<Event> {
    let mut symbolizer = Symbolizer::new(facts());
    for event in events {
        symbolizer.observe(event);
    }
    symbolizer.resolve()
}

/// The frames that `resolved` gives for an address of [`SPACE`].
pub(crate) fn frames_at(resolved: &[Event], address: u64) -> Vec<Frame> {
    frames_of(resolved, &SymbolKey { space: Some(SPACE), address })
}

/// The frames that `resolved` gives for `key`.
pub(crate) fn frames_of(resolved: &[Event], key: &SymbolKey) -> Vec<Frame> {
    let batches = resolved.iter().filter_map(|event| match event {
        Event::Symbols(batch) => Some(batch),
        _ => None,
    });
    let mut found = batches.flatten().filter(|(named, _)| named == key);
    let (_, frames) = found.next().unwrap_or_else(|| panic!("{key:?} is not named"));
    assert!(found.next().is_none(), "{key:?} is named twice");
    frames.clone()
}

/// Compiles `source` into a program in `directory`; `None`, with the reason
/// printed, where there is no such compiler.
pub(crate) fn compile(
    directory: &Path,
    compiler: &str,
    source: &str,
    flags: &[&str],
) -> Option<PathBuf> {
    let extension = if compiler == "c++" { "cc" } else { "c" };
    let file = directory.join(format!("program.{extension}"));
    fs::write(&file, source).expect("a fresh directory");
    let program = directory.join("program");
    let mut command = Command::new(compiler);
    match command.args(flags).arg("-o").arg(&program).arg(&file).output() {
        Ok(output) => {
            let complaints = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command:?}: {complaints}");
            Some(program)
        }
        Err(error) => {
            println!("skipped: no compiler {compiler}: {error}");
            None
        }
    }
}
