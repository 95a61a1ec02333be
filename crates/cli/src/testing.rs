//! Fixture reports, and comparison with checked-in files. Run the tests with
//! `WHYSLOW_BLESS=1` (as `cargo xtask bless` does) to rewrite those files.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use whyslow_analysis::report::Report;
use whyslow_events::recording::Writer;
use whyslow_events::{
    Capabilities, Cpu, EngineName, Entrance, Entry, Event, ExitStatus, Header, Mode, Ns, Object,
    Off, Pid, Site, SiteId, SpaceId, StackEnd, StackId, SystemFacts, Target, Tid, Timed, Wakener,
};

use crate::render::Origin;

/// The reports under `fixtures/`.
pub(crate) const FIXTURES: [&str; 4] = ["server", "gil", "idle", "damaged"];

/// A report under `fixtures/`.
pub(crate) fn fixture(name: &str) -> Report {
    let path = here().join(format!("fixtures/{name}.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Where the fixtures come from.
pub(crate) fn origin() -> Origin {
    Origin { host: "db-7".into(), frequency: 499 }
}

/// A recording of one thread that works and sleeps, ended as it should.
pub(crate) fn recording() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    for (time, event) in events() {
        writer.push(&Timed { time: Ns(time), event }).unwrap();
        // Small chunks, so that a cut recording keeps some of them.
        writer.flush().unwrap();
    }
    writer.finish().unwrap()
}

/// A header as if this machine had recorded.
pub(crate) fn header() -> Header {
    let here = nix::sys::utsname::uname().unwrap();
    Header {
        tool_version: "0".into(),
        host: here.nodename().to_string_lossy().into_owned(),
        kernel: here.release().to_string_lossy().into_owned(),
        boot_id: whyslow_sampler::boot_id(),
        arch: "x86_64".into(),
        facts: SystemFacts { page_size: 4096, clock_ticks: 100, cpus: 2 },
        engine: EngineName::Perf,
        capabilities: Capabilities::ALL,
        fallbacks: vec![],
        frequency: 499,
        target: Target {
            mode: Mode::Launch,
            pids: vec![Pid(7)],
            command: vec!["nap".into(), "3".into()],
            name: "nap".into(),
        },
        start: Ns(0),
        start_unix_ns: 1_795_446_335_000_000_000,
    }
}

/// 100 ms on the CPU, 300 ms asleep, 100 ms on the CPU.
fn events() -> Vec<(u64, Event)> {
    const MS: u64 = 1_000_000;
    let (pid, tid, space, cpu) = (Pid(7), Tid(7), SpaceId(0), Cpu(0));
    let (id, stack) = (SiteId(0), Some(StackId(0)));
    let entry = Entry::Syscall("clock_nanosleep".into());
    let off = |off| Event::SwitchOut { tid, cpu, off, stack };
    vec![
        (0, Event::Space { space, pid }),
        (
            0,
            Event::Stack {
                id: StackId(0),
                space,
                kernel: vec![],
                user: vec![0x1234],
                end: StackEnd::Complete,
                script: vec![],
            },
        ),
        (0, Event::Site { id, site: Site { pid, entry, pc: 0x1234, object: Object::None } }),
        (0, Event::Process { pid, parent: None, space, name: "nap".into() }),
        (0, Event::Thread { tid, pid, name: "nap".into(), entrance: Entrance::Born }),
        (0, Event::SwitchIn { tid, cpu }),
        (100 * MS, off(Off::Blocked { site: Some(id), uninterruptible: false })),
        (400 * MS, Event::Wakeup { tid, by: Wakener::Interrupt }),
        (400 * MS, Event::SwitchIn { tid, cpu }),
        (500 * MS, Event::Exit { tid }),
        (500 * MS, off(Off::Dead)),
        (500 * MS, Event::End { exit: Some(ExitStatus { code: Some(0), signal: None }) }),
    ]
}

/// What `render` writes.
pub(crate) fn written(render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    render(&mut bytes).unwrap();
    bytes
}

/// Compares with the file of this name under `goldens/`.
pub(crate) fn assert_golden(name: &str, actual: &[u8]) {
    assert_file(&here().join("goldens").join(name), actual);
}

/// Compares with the file at `path`, which must exist.
pub(crate) fn assert_file(path: &Path, actual: &[u8]) {
    if std::env::var_os("WHYSLOW_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, actual).unwrap();
        return;
    }
    let expected = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (expected, actual) = (String::from_utf8_lossy(&expected), String::from_utf8_lossy(actual));
    assert!(
        expected == actual,
        "{} differs; `cargo xtask bless` accepts the change.\n--- expected\n{expected}\n--- actual\n{actual}",
        path.display()
    );
}

/// The root of the repository.
pub(crate) fn repository() -> PathBuf {
    here().join("../..")
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
