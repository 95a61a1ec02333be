//! What the stream defines beside the threads' doings: processes, address
//! spaces, stacks, sites, symbols, and the kernel's own counts.

mod made;

use std::collections::BTreeMap;
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};
use whyslow_events::{
    CodeId, Event, ExitStatus, Frame, GilId, GilPlace, Header, Object, Pid, ScriptFrame,
    ScriptReads, Site, SiteId, SpaceId, StackEnd, StackId, SymbolKey, Thinned,
};

use crate::frames::base;
use crate::library::Function;
use crate::report::Stops;
use made::Kin;

#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) header: Header,
    pub(crate) processes: FxHashMap<Pid, Process>,
    pub(crate) stacks: FxHashMap<StackId, Stack>,
    pub(crate) sites: FxHashMap<SiteId, Site>,
    pub(crate) codes: FxHashMap<CodeId, Code>,
    pub(crate) script_reads: ScriptReads,
    /// How threads were stopped, if that was asked for.
    pub(crate) stops: Option<Stops>,
    pub(crate) thinned: Option<Thinned>,
    pub(crate) gils: BTreeMap<GilId, Gil>,
    /// The kernel's count for the whole launched tree.
    pub(crate) kernel_cpu_all: Option<u64>,
    pub(crate) exit: Option<ExitStatus>,
    /// CPU time of the recorder and records it read.
    pub(crate) overhead: Option<(u64, u64)>,
    /// What recording took of the CPU time of the target, ns.
    pub(crate) target_cost: Option<u64>,
    pub(crate) events: u64,
    /// Where the target waits for what it does itself at the other end.
    pub(crate) inside: FxHashSet<SiteId>,
    spaces: FxHashMap<SpaceId, Space>,
    symbols: FxHashMap<SymbolKey, Vec<Frame>>,
    /// What else addresses are called, and since when, in the order of time.
    renamed: FxHashMap<SymbolKey, Vec<(u64, Vec<Frame>)>>,
    /// When addresses of a stack get other names.
    changes: FxHashMap<StackId, Rc<[u64]>>,
    /// Stacks that were made of others.
    made: FxHashMap<(StackId, Kin), StackId>,
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) parent: Option<Pid>,
    pub(crate) space: SpaceId,
    quota: Option<Quota>,
    memory: Option<u64>,
}

#[derive(Debug)]
struct Quota {
    per_second_ns: u64,
    first_throttled_ns: u64,
    last_throttled_ns: u64,
    /// What the whole group had run when it was told first and last, ns.
    ran: Option<[u64; 2]>,
    /// Where it is set.
    file: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) space: SpaceId,
    pub(crate) kernel: Vec<u64>,
    pub(crate) user: Vec<u64>,
    pub(crate) end: StackEnd,
    pub(crate) script: Vec<ScriptFrame>,
    /// Nobody saw these calls in it, but in another that came there the same way.
    pub(crate) inferred: bool,
    /// Its addresses have the names they had then, ns.
    pub(crate) named_at: u64,
}

/// A function of an interpreted program.
#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) function: String,
    pub(crate) file: String,
    /// Where its definition begins.
    pub(crate) line: Option<u32>,
}

impl Code {
    /// Whether it is of the interpreter's own that imports modules.
    pub(crate) fn imports(&self) -> bool {
        self.file.starts_with("<frozen importlib")
    }
}

/// The lock of an interpreter.
#[derive(Debug)]
pub(crate) struct Gil {
    pub(crate) space: SpaceId,
    pub(crate) place: GilPlace,
}

#[derive(Debug)]
struct Space {
    pid: Pid,
    mappings: Vec<Mapping>,
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Mapping {
    start: u64,
    end: u64,
    file_offset: u64,
    path: String,
}

#[derive(Debug)]
struct Runtime {
    name: String,
    gil: Option<(u64, u64)>,
}

impl Tables {
    pub(crate) fn new(header: Header) -> Self {
        Tables {
            header,
            processes: FxHashMap::default(),
            stacks: FxHashMap::default(),
            sites: FxHashMap::default(),
            codes: FxHashMap::default(),
            script_reads: ScriptReads::default(),
            stops: None,
            thinned: None,
            gils: BTreeMap::new(),
            kernel_cpu_all: None,
            exit: None,
            overhead: None,
            target_cost: None,
            events: 0,
            inside: FxHashSet::default(),
            spaces: FxHashMap::default(),
            symbols: FxHashMap::default(),
            renamed: FxHashMap::default(),
            changes: FxHashMap::default(),
            made: FxHashMap::default(),
        }
    }

    /// Length of a tick, ns: the kernel's own are no longer.
    pub(crate) fn tick(&self) -> u64 {
        1_000_000_000 / self.header.facts.clock_ticks.max(1)
    }

    /// Takes in what `event` defines; what it says of threads is not ours.
    pub(crate) fn define(&mut self, event: Event) {
        self.events += 1;
        match event {
            Event::Space { space, pid } => {
                self.spaces.insert(space, Space { pid, mappings: Vec::new(), runtime: None });
            }
            Event::Mapping { space, start, end, file_offset, path, .. } => {
                if let Some(space) = self.spaces.get_mut(&space) {
                    space.mappings.push(Mapping { start, end, file_offset, path });
                }
            }
            Event::Stack { id, space, kernel, user, end, script } => {
                let (inferred, named_at) = (false, 0);
                let stack = Stack { space, kernel, user, end, script, inferred, named_at };
                self.stacks.insert(id, stack);
            }
            Event::Code { id, function, file } => {
                self.codes.insert(id, Code { function, file, line: None });
            }
            Event::Definition { code, line } => {
                if let Some(code) = self.codes.get_mut(&code) {
                    code.line = Some(line);
                }
            }
            Event::Gil { id, space, place } => {
                self.gils.insert(id, Gil { space, place });
            }
            Event::ScriptReads(reads) => self.script_reads = reads,
            Event::Stops { stops, stopped_ns, longest_ns } => {
                self.stops = Some(Stops { count: stops, total_ns: stopped_ns, max_ns: longest_ns });
            }
            Event::Thinned(thinned) => self.thinned = Some(thinned),
            Event::Site { id, site } => {
                self.sites.insert(id, site);
            }
            Event::Process { pid, parent, space, name } => {
                self.processes
                    .insert(pid, Process { name, parent, space, quota: None, memory: None });
            }
            Event::Exec { pid, space, name } => {
                if let Some(process) = self.processes.get_mut(&pid) {
                    process.space = space;
                    process.name = name;
                }
            }
            Event::Symbols(symbols) => self.symbols.extend(symbols),
            Event::Runtime { space, name, gil } => {
                if let Some(space) = self.spaces.get_mut(&space) {
                    space.runtime = Some(Runtime { name, gil });
                }
            }
            Event::Inside { site } => {
                self.inside.insert(site);
            }
            other => self.count(other),
        }
    }

    fn rename(&mut self, key: SymbolKey, since: u64, frames: Vec<Frame>) {
        let names = self.renamed.entry(key).or_default();
        let place = names.partition_point(|(before, _)| *before <= since);
        names.insert(place, (since, frames));
    }

    /// What a process was called last; empty when it is unknown.
    pub(crate) fn process_name(&self, pid: Pid) -> &str {
        self.processes.get(&pid).map_or("", |process| &process.name)
    }

    /// Takes in what `event` says anew, and counts of processes and of the recording.
    fn count(&mut self, event: Event) {
        match event {
            Event::Renamed { key, since, frames } => self.rename(key, since.0, frames),
            Event::Quota { pid, per_second_ns, throttled_ns, .. } => {
                self.quota(pid, per_second_ns, throttled_ns);
            }
            Event::GroupRan { pid, ran_ns } => {
                let process = self.processes.get_mut(&pid);
                if let Some(quota) = process.and_then(|process| process.quota.as_mut()) {
                    quota.ran.get_or_insert([ran_ns; 2])[1] = ran_ns;
                }
            }
            Event::QuotaFile { pid, path } => {
                let process = self.processes.get_mut(&pid);
                if let Some(quota) = process.and_then(|process| process.quota.as_mut()) {
                    quota.file = Some(path);
                }
            }
            Event::Memory { pid, resident_bytes, share_bytes } => {
                if let Some(process) = self.processes.get_mut(&pid) {
                    process.memory = Some(share_bytes.unwrap_or(resident_bytes));
                }
            }
            Event::KernelCpu { tid: None, cpu_ns } => self.kernel_cpu_all = Some(cpu_ns),
            Event::Fallback(fallback) => self.header.fallbacks.push(fallback),
            Event::End { exit } => self.exit = exit,
            Event::Overhead { profiler_cpu_ns, events } => {
                self.overhead = Some((profiler_cpu_ns, events));
            }
            Event::TargetCost { cpu_ns } => self.target_cost = Some(cpu_ns),
            _ => {}
        }
    }

    fn quota(&mut self, pid: Pid, per_second_ns: u64, throttled_ns: u64) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let quota = process.quota.get_or_insert(Quota {
            per_second_ns,
            first_throttled_ns: throttled_ns,
            last_throttled_ns: throttled_ns,
            file: None,
            ran: None,
        });
        quota.per_second_ns = per_second_ns;
        quota.last_throttled_ns = throttled_ns;
    }

    /// The CPU time per second that a quota left to `pid`, if it held it back
    /// while it was recorded. A process without a quota event of its own is in
    /// its parent's group.
    pub(crate) fn throttled(&self, pid: Pid) -> Option<u64> {
        let quota = self.quota_above(pid)?;
        let held = quota.last_throttled_ns > quota.first_throttled_ns;
        (held && quota.per_second_ns > 0).then_some(quota.per_second_ns)
    }

    /// What the whole group of `pid` ran until it was throttled last, ns; 0 where nobody tells.
    pub(crate) fn group_ran(&self, pid: Pid) -> u64 {
        let ran = self.quota_above(pid).and_then(|quota| quota.ran);
        ran.map_or(0, |[first, last]| last.saturating_sub(first))
    }

    /// The CPU time per second that a quota leaves to `pid`, reached or not.
    pub(crate) fn allowed(&self, pid: Pid) -> Option<u64> {
        Some(self.quota_above(pid)?.per_second_ns).filter(|ns| *ns > 0)
    }

    /// Where that is set, if it is known.
    pub(crate) fn quota_file(&self, pid: Pid) -> Option<&str> {
        self.quota_above(pid)?.file.as_deref()
    }

    fn quota_above(&self, pid: Pid) -> Option<&Quota> {
        let mut pid = pid;
        // A damaged recording may name a process its own ancestor.
        for _ in 0..self.processes.len() {
            let process = self.processes.get(&pid)?;
            if process.quota.is_some() {
                return process.quota.as_ref();
            }
            pid = process.parent?;
        }
        None
    }

    /// The memory of `pid`, its part of what it shares, where that is known.
    pub(crate) fn memory(&self, pid: Pid) -> Option<u64> {
        self.processes.get(&pid)?.memory
    }

    /// Who started `pid`, where that is known.
    pub(crate) fn parent(&self, pid: Pid) -> Option<Pid> {
        self.processes.get(&pid)?.parent
    }

    /// Whether `pid` started another process of the target.
    pub(crate) fn has_child(&self, pid: Pid) -> bool {
        self.processes.values().any(|process| process.parent == Some(pid))
    }

    /// Whether a futex at `address` guards the interpreter lock of `pid`: it lies in
    /// the runtime of a Python, or in the lock of an interpreter that has its own.
    pub(crate) fn is_gil(&self, pid: Pid, address: u64) -> bool {
        let mut runtimes = self
            .spaces
            .values()
            .filter(|space| space.pid == pid)
            .filter_map(|space| space.runtime.as_ref()?.gil);
        runtimes.any(|(start, end)| (start..end).contains(&address))
            || self.gil_at(pid, address).is_some()
    }

    /// Whether only the program itself ends what is waited on there, as far as its object tells.
    pub(crate) fn is_inside(&self, site: SiteId) -> bool {
        let event = |site: &Site| matches!(site.object, Object::EventFd);
        self.inside.contains(&site) || self.sites.get(&site).is_some_and(event)
    }

    /// Whether it is a futex that is waited on there.
    pub(crate) fn is_futex(&self, site: Option<SiteId>) -> bool {
        let site = site.and_then(|site| self.sites.get(&site));
        site.is_some_and(|site| {
            matches!(site.object, Object::Futex { .. } | Object::SharedFutex { .. })
        })
    }

    /// The interpreter lock of `pid` that `address` lies in.
    pub(crate) fn gil_at(&self, pid: Pid, address: u64) -> Option<(GilId, &Gil)> {
        let contains = |(start, end): (u64, u64)| (start..end).contains(&address);
        let mut gils = self.gils.iter().map(|(id, gil)| (*id, gil));
        gils.find(|(_, gil)| contains(gil.place.lock) && self.is_in(gil.space, pid))
    }

    /// Whether an address space is or was that of `pid`.
    pub(crate) fn is_in(&self, space: SpaceId, pid: Pid) -> bool {
        self.pid_of(space) == Some(pid)
    }

    /// Whose address space it is.
    pub(crate) fn pid_of(&self, space: SpaceId) -> Option<Pid> {
        self.spaces.get(&space).map(|space| space.pid)
    }

    /// The runtime of `pid`, of the program it runs now.
    pub(crate) fn runtime(&self, pid: Pid) -> Option<&str> {
        let space = self.processes.get(&pid)?.space;
        Some(&self.spaces.get(&space)?.runtime.as_ref()?.name)
    }

    /// Whether `pid` runs CPython.
    pub(crate) fn is_python(&self, pid: Pid) -> bool {
        let space = self.processes.get(&pid).map(|process| process.space);
        self.runtime(pid).is_some_and(|name| name.starts_with("cpython"))
            || self.gils.values().any(|gil| Some(gil.space) == space)
    }

    /// Whether the threads of `pid` take turns to run Python. Those of a free-threaded
    /// build do not, unless it was told to.
    pub(crate) fn has_gil(&self, pid: Pid) -> bool {
        let lockless = self.runtime(pid).is_some_and(|name| name.contains("free-threaded"));
        let seen = || self.gils.values().any(|gil| self.is_in(gil.space, pid));
        self.is_python(pid) && (!lockless || seen())
    }

    /// The functions at an address at a time, innermost inlined first.
    pub(crate) fn symbols(&self, space: Option<SpaceId>, address: u64, time: u64) -> &[Frame] {
        let key = SymbolKey { space, address };
        let later = self.renamed.get(&key).and_then(|names| {
            let behind = names.partition_point(|(since, _)| *since <= time);
            Some(&names.get(behind.checked_sub(1)?)?.1)
        });
        later.or_else(|| self.symbols.get(&key)).map_or(&[], Vec::as_slice)
    }

    /// `stack` with the names that its addresses have at `time`.
    pub(crate) fn named_at(&mut self, stack: StackId, time: u64) -> StackId {
        if self.renamed.is_empty() {
            return stack;
        }
        let changes = match self.changes.get(&stack) {
            Some(changes) => Rc::clone(changes),
            None => self.changes_of(stack),
        };
        let behind = changes.partition_point(|since| *since <= time);
        let last = behind.checked_sub(1).and_then(|last| changes.get(last));
        let Some(&named_at) = last else { return stack };
        let renamed = self
            .like(stack, Kin::Named(named_at), |stack| Some(Stack { named_at, ..stack.clone() }));
        renamed.unwrap_or(stack)
    }

    fn changes_of(&mut self, id: StackId) -> Rc<[u64]> {
        let mut times = vec![];
        if let Some(stack) = self.stacks.get(&id) {
            let space = Some(stack.space);
            let key = |&address: &u64| SymbolKey { space, address };
            let names = stack.user.iter().filter_map(|address| self.renamed.get(&key(address)));
            times.extend(names.flatten().map(|(since, _)| *since));
        }
        times.sort_unstable();
        let times: Rc<[u64]> = times.into();
        self.changes.insert(id, Rc::clone(&times));
        times
    }

    /// How many addresses of a user call chain, innermost first, can be true.
    /// Where code keeps no frame pointers, the walk leads astray: a return
    /// address outside all code, and all that was found beyond it, is not.
    pub(crate) fn credible(&self, space: SpaceId, user: &[u64]) -> usize {
        let mapped = self.spaces.get(&space).is_some_and(|space| !space.mappings.is_empty());
        let astray = |address: &u64| self.mapping(space, *address).is_none();
        match user {
            [_, callers @ ..] if mapped => {
                1 + callers.iter().position(astray).unwrap_or(callers.len())
            }
            _ => user.len(),
        }
    }

    fn mapping(&self, space: SpaceId, address: u64) -> Option<&Mapping> {
        let mut newest_first = self.spaces.get(&space)?.mappings.iter().rev();
        newest_first.find(|mapping| (mapping.start..mapping.end).contains(&address))
    }

    /// Whether code is that of a function of the standard library.
    pub(crate) fn is_of(&self, code: CodeId, function: Function) -> bool {
        self.codes.get(&code).is_some_and(|code| function.is(code))
    }

    /// `function (file:line)` of a call of an interpreted program.
    pub(crate) fn place_of_call(&self, call: ScriptFrame) -> Option<String> {
        let code = self.codes.get(&call.code)?;
        Some(format!("{} ({}:{})", code.function, base(&code.file), call.line))
    }

    /// Whether a process has mapped such a file.
    pub(crate) fn maps(&self, pid: Pid, such: impl Fn(&str) -> bool) -> bool {
        let space = self.processes.get(&pid).and_then(|process| self.spaces.get(&process.space));
        space.is_some_and(|space| space.mappings.iter().any(|mapping| such(&mapping.path)))
    }

    /// The file whose code is at an address.
    pub(crate) fn module(&self, space: SpaceId, address: u64) -> Option<&str> {
        self.mapping(space, address).map(|mapping| mapping.path.as_str())
    }

    /// `module+0x…` for an address without a symbol.
    pub(crate) fn place(&self, space: SpaceId, address: u64) -> String {
        match self.mapping(space, address) {
            Some(mapping) => {
                let offset = (address - mapping.start).saturating_add(mapping.file_offset);
                format!("{}+{offset:#x}", base(&mapping.path))
            }
            None => format!("{address:#x}"),
        }
    }
}
