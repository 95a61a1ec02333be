//! What the stream defines beside the threads' doings: processes, address
//! spaces, stacks, sites, symbols, and the kernel's own counts.

use std::collections::{HashMap, HashSet};

use whyslow_events::{
    CodeId, Event, ExitStatus, Frame, Header, Pid, ScriptFrame, ScriptReads, Site, SiteId, SpaceId,
    StackEnd, StackId, SymbolKey,
};

#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) header: Header,
    pub(crate) processes: HashMap<Pid, Process>,
    pub(crate) stacks: HashMap<StackId, Stack>,
    pub(crate) sites: HashMap<SiteId, Site>,
    pub(crate) codes: HashMap<CodeId, Code>,
    pub(crate) script_reads: ScriptReads,
    /// The kernel's count for the whole launched tree.
    pub(crate) kernel_cpu_all: Option<u64>,
    pub(crate) exit: Option<ExitStatus>,
    /// CPU time of the recorder and records it read.
    pub(crate) overhead: Option<(u64, u64)>,
    pub(crate) events: u64,
    /// Where the target waits for what it does itself at the other end.
    pub(crate) inside: HashSet<SiteId>,
    spaces: HashMap<SpaceId, Space>,
    symbols: HashMap<SymbolKey, Vec<Frame>>,
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) parent: Option<Pid>,
    pub(crate) space: SpaceId,
    quota: Option<Quota>,
}

#[derive(Debug)]
struct Quota {
    per_second_ns: u64,
    first_throttled_ns: u64,
    last_throttled_ns: u64,
}

#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) space: SpaceId,
    pub(crate) kernel: Vec<u64>,
    pub(crate) user: Vec<u64>,
    pub(crate) end: StackEnd,
    pub(crate) script: Vec<ScriptFrame>,
}

/// A function of an interpreted program.
#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) function: String,
    pub(crate) file: String,
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
            processes: HashMap::new(),
            stacks: HashMap::new(),
            sites: HashMap::new(),
            codes: HashMap::new(),
            script_reads: ScriptReads::default(),
            kernel_cpu_all: None,
            exit: None,
            overhead: None,
            events: 0,
            inside: HashSet::new(),
            spaces: HashMap::new(),
            symbols: HashMap::new(),
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
                self.stacks.insert(id, Stack { space, kernel, user, end, script });
            }
            Event::Code { id, function, file } => {
                self.codes.insert(id, Code { function, file });
            }
            Event::ScriptReads(reads) => self.script_reads = reads,
            Event::Site { id, site } => {
                self.sites.insert(id, site);
            }
            Event::Process { pid, parent, space, name } => {
                self.processes.insert(pid, Process { name, parent, space, quota: None });
            }
            Event::Exec { pid, space, name } => {
                if let Some(process) = self.processes.get_mut(&pid) {
                    process.space = space;
                    process.name = name;
                }
            }
            Event::Quota { pid, per_second_ns, throttled_ns, .. } => {
                self.quota(pid, per_second_ns, throttled_ns);
            }
            Event::KernelCpu { tid: None, cpu_ns } => self.kernel_cpu_all = Some(cpu_ns),
            Event::Symbols(symbols) => self.symbols.extend(symbols),
            Event::Runtime { space, name, gil } => {
                if let Some(space) = self.spaces.get_mut(&space) {
                    space.runtime = Some(Runtime { name, gil });
                }
            }
            Event::Inside { site } => {
                self.inside.insert(site);
            }
            Event::Fallback(fallback) => self.header.fallbacks.push(fallback),
            Event::End { exit } => self.exit = exit,
            Event::Overhead { profiler_cpu_ns, events } => {
                self.overhead = Some((profiler_cpu_ns, events));
            }
            _ => {}
        }
    }

    fn quota(&mut self, pid: Pid, per_second_ns: u64, throttled_ns: u64) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let quota = process.quota.get_or_insert(Quota {
            per_second_ns,
            first_throttled_ns: throttled_ns,
            last_throttled_ns: throttled_ns,
        });
        quota.per_second_ns = per_second_ns;
        quota.last_throttled_ns = throttled_ns;
    }

    /// The CPU time per second that a quota left to `pid`, if it held it back
    /// while it was recorded. A process without a quota event of its own is in
    /// its parent's group.
    pub(crate) fn throttled(&self, pid: Pid) -> Option<u64> {
        let mut pid = pid;
        // A damaged recording may name a process its own ancestor.
        for _ in 0..self.processes.len() {
            let process = self.processes.get(&pid)?;
            if let Some(quota) = &process.quota {
                let held = quota.last_throttled_ns > quota.first_throttled_ns;
                return (held && quota.per_second_ns > 0).then_some(quota.per_second_ns);
            }
            pid = process.parent?;
        }
        None
    }

    /// Whether `pid` started another process of the target.
    pub(crate) fn has_child(&self, pid: Pid) -> bool {
        self.processes.values().any(|process| process.parent == Some(pid))
    }

    /// Whether `address` lies in the runtime of a Python that `pid` runs: the
    /// futexes there guard the interpreter lock.
    pub(crate) fn is_gil(&self, pid: Pid, address: u64) -> bool {
        self.spaces
            .values()
            .filter(|space| space.pid == pid)
            .filter_map(|space| space.runtime.as_ref()?.gil)
            .any(|(start, end)| (start..end).contains(&address))
    }

    /// The runtime of `pid`, of the program it runs now.
    pub(crate) fn runtime(&self, pid: Pid) -> Option<&str> {
        let space = self.processes.get(&pid)?.space;
        Some(&self.spaces.get(&space)?.runtime.as_ref()?.name)
    }

    /// The functions at an address, innermost inlined first.
    pub(crate) fn symbols(&self, space: Option<SpaceId>, address: u64) -> &[Frame] {
        self.symbols.get(&SymbolKey { space, address }).map_or(&[], Vec::as_slice)
    }

    /// Whether a stack has a user half.
    pub(crate) fn reaches_out(&self, stack: StackId) -> bool {
        self.stacks.get(&stack).is_some_and(|stack| stack.end != StackEnd::None)
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

    /// `module+0x…` for an address without a symbol.
    pub(crate) fn place(&self, space: SpaceId, address: u64) -> String {
        match self.mapping(space, address) {
            Some(mapping) => {
                let offset = (address - mapping.start).saturating_add(mapping.file_offset);
                let module = mapping.path.rsplit('/').next().unwrap_or(&mapping.path);
                format!("{module}+{offset:#x}")
            }
            None => format!("{address:#x}"),
        }
    }
}
