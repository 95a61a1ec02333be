//! Code that a runtime compiled while it ran, named by the runtime itself: in
//! `/tmp/perf-PID.map`, or in a jitdump file that it maps.
//!
//! Such code comes and goes. An address gets the name of the code that was there
//! when it first stood in a stack, and another from when other code was, as far as
//! the files tell: jitdump has times, and of a map only between which two readings a
//! line was written. The files are read again and again while the target runs.

pub(crate) mod codes;
pub(crate) mod dump;
pub(crate) mod frame;
pub(crate) mod perf_map;
mod tail;
pub(crate) mod written;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use whyslow_events::{Fallback, Frame, SpaceId};

use self::codes::{Codes, Room};
use self::dump::Dump;
use self::tail::Tail;
use self::written::Written;
use crate::files::Files;
use crate::mappings::Mapping;
use crate::space::Space;

/// Address spaces with compiled code that are looked into, two open files for
/// each.
const SPACES: usize = 64;

/// Memory that the names of all of them may take.
const MEMORY: usize = 256 << 20;

/// Names that are given to addresses which have one.
const RENAMED: usize = 1 << 18;

/// A name for an address, and since when, ns.
pub(crate) type Named = (SpaceId, u64, u64, Frame);

/// The compiled code of all address spaces.
#[derive(Debug)]
pub(crate) struct Jits {
    spaces: BTreeMap<SpaceId, Jit>,
    room: Room,
    /// There were more spaces than are looked into.
    too_many: bool,
    /// How many addresses got another name.
    renamed: usize,
    /// It was told that something was left out.
    told: bool,
}

impl Default for Jits {
    fn default() -> Self {
        let (spaces, room) = (BTreeMap::new(), Room::new(MEMORY));
        Jits { spaces, room, too_many: false, renamed: 0, told: false }
    }
}

/// The compiled code of one address space.
#[derive(Debug)]
struct Jit {
    map: Tail,
    dump: Option<(Tail, Dump)>,
    codes: Codes,
    /// Addresses in stacks that have no name yet, and when they came.
    nameless: BTreeMap<u64, u64>,
    /// Those that have one.
    named: BTreeMap<u64, Given>,
    /// An address came since the last reading.
    asked: bool,
    /// The process was gone at the last reading.
    gone: bool,
}

/// The name that an address has.
#[derive(Debug)]
struct Given {
    /// The address to look for.
    executing: u64,
    /// It is known up to then, ns.
    since: u64,
    /// Hash of the frame.
    frame: u64,
}

impl Jits {
    /// A mapping appeared. A runtime maps its jitdump file to have it found.
    pub(crate) fn mapped(&mut self, id: SpaceId, space: &Space, mapping: &Mapping, files: &Files) {
        let module = mapping.module();
        if !(module.starts_with("jit-") && module.ends_with(".dump")) {
            return;
        }
        let path = files.locate(space, mapping).and_then(|file| files.path(file));
        let Some(file) = path.and_then(|path| File::open(path).ok()) else { return };
        let owner = owner(space, &files.proc());
        if let Some(jit) = self.of_space(id, space, files) {
            let dump = Dump::new(has_other_clock(space, &files.proc()));
            jit.dump = Some((Tail::of(file, owner), dump));
        }
    }

    /// An address in memory without a file stands in a stack of `time`.
    pub(crate) fn ask(
        &mut self,
        id: SpaceId,
        space: &Space,
        (address, time): (u64, u64),
        files: &Files,
    ) {
        if let Some(jit) = self.of_space(id, space, files) {
            jit.nameless.entry(address).or_insert(time);
            jit.asked = true;
        }
    }

    /// Reads what the runtimes have written since, about `limit` bytes of each
    /// file, and names what has a name now, or another one. `executing` tells the
    /// address to look for, or that none is wanted. Names that are new come first.
    pub(crate) fn read(
        &mut self,
        (limit, now): (u64, u64),
        executing: impl Fn(SpaceId, u64) -> Option<u64>,
    ) -> (Vec<Named>, Vec<Named>) {
        let (mut named, mut renamed) = (Vec::new(), Vec::new());
        let of_use = |jit: &Jit| !(jit.nameless.is_empty() && jit.named.is_empty());
        for (&id, jit) in self.spaces.iter_mut().filter(|(_, jit)| of_use(jit)) {
            let new = jit.read(limit, now, &mut self.room);
            if !new && !std::mem::take(&mut jit.asked) {
                continue;
            }
            let Jit { codes, named: given, .. } = jit;
            jit.nameless.retain(|&address, time| {
                let Some(executing) = executing(id, address) else { return false };
                let Some((code, offset)) = codes.find(executing, *time) else { return true };
                let frame = frame::of(&code.name, code.line(offset));
                given.insert(address, Given { executing, since: *time, frame: hash(&frame) });
                named.push((id, address, *time, frame));
                false
            });
            for (&address, given) in given {
                for (since, code, offset) in codes.later(given.executing, given.since) {
                    let frame = frame::of(&code.name, code.line(offset));
                    given.since = since;
                    let new = hash(&frame);
                    let old = std::mem::replace(&mut given.frame, new);
                    if new != old && self.renamed < RENAMED {
                        self.renamed += 1;
                        renamed.push((id, address, since, frame));
                    }
                }
            }
        }
        (named, renamed)
    }

    /// Forgets the code of processes that were gone before the last reading:
    /// their stacks have come by then. `is_gone` tells which are.
    pub(crate) fn end(&mut self, is_gone: impl Fn(SpaceId) -> bool) {
        let mut ended = Vec::new();
        for (&id, jit) in &mut self.spaces {
            if std::mem::replace(&mut jit.gone, is_gone(id)) {
                ended.push(id);
            }
        }
        for id in ended {
            let Some(jit) = self.spaces.remove(&id) else { continue };
            jit.codes.end(&mut self.room);
        }
    }

    /// That code was left out, once.
    pub(crate) fn take_failure(&mut self) -> Option<Fallback> {
        if self.told || !(self.too_many || self.room.is_full()) {
            return None;
        }
        self.told = true;
        let errno = if self.too_many { "too many processes" } else { "too many names" };
        Some(Fallback {
            wanted: "names of all code that runtimes compiled".to_owned(),
            got: format!("those of {SPACES} processes at a time, {} MiB", MEMORY >> 20),
            errno: errno.to_owned(),
            remedy: "record fewer processes at once".to_owned(),
        })
    }

    fn of_space(&mut self, id: SpaceId, space: &Space, files: &Files) -> Option<&mut Jit> {
        if self.spaces.len() >= SPACES && !self.spaces.contains_key(&id) {
            self.too_many = true;
            return None;
        }
        let proc = files.proc();
        let process = space.process(&proc)?;
        let map = || {
            let path = process.root.join(format!("tmp/perf-{}.map", process.own_pid));
            Tail::at(path, owner(space, &proc))
        };
        Some(self.spaces.entry(id).or_insert_with(|| Jit::new(map())))
    }
}

impl Jit {
    fn new(map: Tail) -> Jit {
        let (codes, nameless, named) = Default::default();
        Jit { map, dump: None, codes, nameless, named, asked: false, gone: false }
    }

    /// Whether there was something new.
    fn read(&mut self, limit: u64, now: u64, room: &mut Room) -> bool {
        let codes = &mut self.codes;
        codes.forget(room);
        let known = self.map.is_caught_up();
        let map = self.map.read(limit, |bytes| {
            let into = Written::at(now, codes, room);
            perf_map::read(bytes, &mut if known { into } else { into.long_ago() })
        });
        let dump = self.dump.as_mut().is_some_and(|(tail, dump)| {
            let known = tail.is_caught_up();
            tail.read(limit, |bytes| {
                let into = Written::at(now, codes, room);
                dump.read(bytes, &mut if known { into } else { into.long_ago() })
            })
        });
        map || dump
    }
}

fn hash(frame: &Frame) -> u64 {
    let mut hasher = DefaultHasher::new();
    frame.hash(&mut hasher);
    hasher.finish()
}

/// Whose the files of a process are: its user's. When it is gone, only ours
/// are trusted, and those of root.
fn owner(space: &Space, proc: &Path) -> u32 {
    let user = space.process(proc).and_then(|process| process.user);
    let us = || fs::metadata(proc.join("self")).map_or(0, |us| us.uid());
    user.unwrap_or_else(us)
}

/// Whether a process writes its times by another clock than ours, as in a time namespace.
fn has_other_clock(space: &Space, proc: &Path) -> bool {
    let path = space.pid.map(|pid| proc.join(pid.to_string()).join("timens_offsets"));
    let offsets = path.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    offsets.contains(|c: char| c.is_ascii_digit() && c != '0')
}
