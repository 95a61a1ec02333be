//! Addresses to names: watches the events that define address spaces,
//! mappings and stacks, and afterwards says what stands at each address and
//! what language runtime each space holds. From registers and a copy of a
//! stack to a call chain is the business of [`Unwinder`].
//!
//! A miss is a value: an address that no symbol covers is named by its module and the
//! offset in it, of the function where the unwind information tells where that begins.
//! Nothing in here fails.
#![forbid(unsafe_code)]

mod addresses;
mod batches;
mod binary;
mod debug_files;
mod debuginfod;
mod elf;
mod files;
mod frames;
pub mod fuzzing;
mod interpreters;
mod jit;
mod kallsyms;
mod kernel;
mod living;
mod mappings;
mod plt;
mod proc_maps;
mod process;
mod qualified;
mod replaced;
mod runtime;
mod space;
mod unwind;
mod user;
mod vdso;

use std::collections::BTreeMap;
use std::path::Path;

use whyslow_events::{Event, Ns, Pid, SpaceId, SymbolKey, SystemFacts};

use crate::addresses::{Addresses, Wanted};
pub use crate::debuginfod::Debuginfod;
pub use crate::kernel::Kernel;

use crate::debug_files::DebugFiles;
use crate::debuginfod::Client;
use crate::files::Files;
pub use crate::interpreters::{Interpreters, Python};
use crate::jit::Jits;
use crate::mappings::{Mapping, Mappings};
use crate::replaced::{Before, Named, Replaced};
use crate::space::Space;
pub use crate::unwind::Unwinder;

/// Bytes of each file of a runtime that one [`Symbolizer::refresh`] reads.
const REFRESH_LIMIT: u64 = 4 << 20;

/// Names the addresses of a recording, from the files of this host.
///
/// Code that a runtime compiles has a name for each time, and so has code where one file
/// is mapped after another. All other code has one for good. An address that stands in stacks both as the innermost address and as a
/// return address is named as the latter: the call site it returns to.
#[derive(Debug)]
pub struct Symbolizer {
    facts: SystemFacts,
    spaces: BTreeMap<SpaceId, Space>,
    addresses: Addresses,
    files: Files,
    debug_files: DebugFiles,
    jits: Jits,
    kernel: Kernel,
    /// When the events happened that pass by.
    now: Ns,
    /// Mappings whose build id was found.
    identified: Vec<Event>,
    replaced: Replaced,
}

impl Symbolizer {
    /// Knows nothing yet. `facts` are those of the recording.
    #[must_use]
    pub fn new(facts: SystemFacts) -> Self {
        let (spaces, addresses, files, debug_files) = Default::default();
        let (jits, kernel) = Default::default();
        let (identified, replaced, now) = (Vec::new(), Replaced::default(), Ns(0));
        Symbolizer {
            facts,
            spaces,
            addresses,
            files,
            debug_files,
            jits,
            kernel,
            now,
            identified,
            replaced,
        }
    }

    /// Asks these servers for debug files that are not on this host. Nothing
    /// is asked of anybody otherwise.
    #[must_use]
    pub fn with_servers(mut self, servers: Option<Debuginfod>) -> Self {
        self.debug_files.servers = servers.map(Client::new);
        self
    }

    /// An unwinder that shares with us the files it finds.
    #[must_use]
    pub fn unwinder(&self) -> Unwinder {
        Unwinder::new(self.files.clone())
    }

    /// The kernel's functions, read at most once for both of us.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        self.kernel.clone()
    }

    /// Looks for interpreters in the files that it shares with us.
    #[must_use]
    pub fn interpreters(&self) -> Interpreters {
        Interpreters::new(self.facts.page_size, self.files.clone())
    }

    /// The same as [`Symbolizer::observe`] of an event that happened at `time`:
    /// compiled code is named as it was then.
    pub fn observe_at(&mut self, time: Ns, event: &Event) {
        self.now = self.now.max(time);
        self.observe(event);
    }

    /// Learns spaces, mappings and stacks from the events that pass by.
    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::Space { space, pid }
            | Event::Process { space, pid, .. }
            | Event::Exec { space, pid, .. } => self.space(*space).pid = Some(*pid),
            Event::Mapping { .. } => {
                let Some((space, mapping)) = Mapping::of(event) else { return };
                let known = self.spaces.entry(space).or_default();
                self.jits.mapped(space, known, &mapping, &self.files);
                let before = known.mappings.other_than(&mapping);
                known.mappings.insert(mapping);
                self.replace(space, before);
            }
            Event::Stack { space, kernel, user, .. } => {
                self.addresses.stack(None, kernel);
                let new = self.addresses.stack(Some(*space), user);
                self.visit(*space, &new);
            }
            Event::Symbols(named) => self.addresses.named(named.iter().map(|(key, _)| key)),
            Event::Runtime { space, .. } => self.space(*space).runtime_known = true,
            _ => {}
        }
    }

    /// Names every address observed in stacks and not named by an observed
    /// `Event::Symbols`, and every runtime not yet reported by an observed
    /// `Event::Runtime`. What this call returned, the next one does not.
    pub fn resolve(&mut self) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.identified);
        events.extend(self.runtimes());
        events.extend(self.compiled(u64::MAX));
        let wanted = self.addresses.take_wanted();
        // `None`, the kernel, sorts before every space.
        let (in_kernel, in_user) =
            wanted.split_at(wanted.partition_point(|wanted| wanted.key.space.is_none()));
        let mut named = self.kernel.name(in_kernel);
        let earlier = self.names_before();
        named.extend(user::name(in_user, &self.spaces, &self.files, &mut self.debug_files));
        let (named, renamed) = replaced::in_order(earlier, named);
        events.extend(batches::of(named).map(Event::Symbols));
        events.extend(renamed);
        let servers = self.debug_files.servers.as_mut();
        events.extend(servers.and_then(Client::take_failure).map(Event::Fallback));
        events.extend(self.jits.take_failure().map(Event::Fallback));
        events
    }

    /// Notes what was mapped `before` at addresses that were seen, and looks for the files
    /// that are there now.
    fn replace(&mut self, space: SpaceId, before: Mappings) {
        let addresses = |mapping: &Mapping| {
            self.addresses.within(space, mapping.start..mapping.end.saturating_add(1))
        };
        let mut seen: Vec<Wanted> = before.iter().flat_map(addresses).collect();
        seen.sort_unstable_by_key(|wanted| wanted.key.address);
        seen.dedup();
        seen.retain(|wanted| {
            let executing = wanted.executing();
            let now = self.spaces.get(&space).and_then(|space| space.mappings.find(executing));
            let then = before.find(executing);
            then.is_some_and(|then| now.is_some_and(|now| !then.continues(now)))
        });
        let addresses: Vec<u64> = seen.iter().map(|wanted| wanted.key.address).collect();
        self.replaced.note(space, self.now, before, seen);
        self.visit(space, &addresses);
    }

    /// What stood at addresses where something else is now.
    fn names_before(&mut self) -> Vec<(Before, Vec<Named>)> {
        let mut named = Vec::new();
        for mut before in self.replaced.take() {
            let Some(space) = self.spaces.get_mut(&before.space) else { continue };
            std::mem::swap(&mut space.mappings, &mut before.mappings);
            let (files, debug_files) = (&self.files, &mut self.debug_files);
            let names = user::name(&before.addresses, &self.spaces, files, debug_files);
            if let Some(space) = self.spaces.get_mut(&before.space) {
                std::mem::swap(&mut space.mappings, &mut before.mappings);
            }
            named.push((before, names));
        }
        named
    }

    fn runtimes(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut finder = runtime::Finder::new(self.facts.page_size);
        for (&space, known) in self.spaces.iter_mut().filter(|(_, known)| !known.runtime_known) {
            if let Some(found) = finder.find(known, &self.files) {
                known.runtime_known = true;
                events.push(Event::Runtime { space, name: found.name, gil: found.gil });
            }
        }
        events
    }

    /// Names addresses in code that runtimes have compiled and told of since
    /// the last call, and gives mappings in use their files' build ids. Such
    /// code comes and goes: this is to be called about once a second while the
    /// target runs, and does not take long.
    pub fn refresh(&mut self) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.identified);
        events.extend(self.compiled(REFRESH_LIMIT));
        let (spaces, proc) = (&self.spaces, self.files.proc());
        let pid = |space| spaces.get(&space).and_then(|space: &Space| space.pid);
        self.jits
            .end(|space| pid(space).is_none_or(|Pid(pid)| !proc.join(pid.to_string()).exists()));
        events
    }

    /// Names addresses in compiled code, reading about `limit` bytes of each file.
    fn compiled(&mut self, limit: u64) -> Vec<Event> {
        let key = |space, address| SymbolKey { space: Some(space), address };
        let addresses = &self.addresses;
        let (named, renamed) =
            self.jits.read((limit, self.now.0), |space, at| addresses.executing(key(space, at)));
        let named = named.into_iter().map(|(space, at, _, frame)| (key(space, at), vec![frame]));
        let named: Vec<_> = named.collect();
        self.addresses.named(named.iter().map(|(key, _)| key));
        let renamed = renamed.into_iter().map(|(space, at, since, frame)| Event::Renamed {
            key: key(space, at),
            since: Ns(since),
            frames: vec![frame],
        });
        batches::of(named).map(Event::Symbols).chain(renamed).collect()
    }

    /// Looks for the files in which new addresses of a stack lie: now the
    /// process may still live.
    fn visit(&mut self, space: SpaceId, new: &[u64]) {
        let Some(known) = self.spaces.get_mut(&space) else { return };
        for &address in new {
            match known.mappings.find(address) {
                Some(mapping) if !mapping.is_memory() => {
                    let file = self.files.locate(known, mapping);
                    let place = self.files.place(known, mapping);
                    let identified = self.files.identify(known, mapping);
                    // Another root may be gone with its last process.
                    if let Some(file) = file.filter(|_| place.root != Path::new("/")) {
                        self.debug_files.find(&self.files, file, &place);
                    }
                    if let Some(mapping) = identified {
                        self.identified.push(mapping.event(space));
                        known.mappings.insert(mapping);
                    }
                }
                _ => self.jits.ask(space, known, (address, self.now.0), &self.files),
            }
        }
    }

    fn space(&mut self, space: SpaceId) -> &mut Space {
        self.spaces.entry(space).or_default()
    }
}
