//! Timelines drawn in ASCII, for tests: a row for each thread, a column for
//! each millisecond.
//!
//! ```text
//! #  user code           s  nanosleep            l  a futex lock (expects 2)
//! K  kernel code         d  reads a file         q  a futex of unknown use
//! r  preempted           n  awaits a tcp reply   g  the interpreter lock
//! w  woken, no CPU yet   a  awaits clients       p  reads a pipe
//! T  stopped             m  page fault           P  writes a pipe
//! .  not there           c  waits for a child    ?  blocked, nothing known
//! ```
//!
//! Locks, pipes, futexes and children are woken by the first other thread that
//! ran in the column before, everything else by an interrupt.

use std::collections::BTreeMap;

use whyslow_events::{
    Capabilities, Cpu, CpuSet, EngineName, Entrance, Entry, Event, Frame, Header, InMemory, Mode,
    Ns, Object, Off, Pid, Seen, Site, SiteId, SpaceId, StackEnd, StackId, SymbolKey, SystemFacts,
    Target, TcpRole, Tid, Wakener,
};

use crate::segments::read;
use crate::tables::Tables;
use crate::timeline::Timeline;
use crate::{Analysis, analyze};

pub(crate) const MS: u64 = 1_000_000;
/// Not zero, so that nothing works by accident.
pub(crate) const START: u64 = 7_000 * MS;
pub(crate) const GIL: (u64, u64) = (0x9000, 0x9fff);
const ROOT: Pid = Pid(100);

#[derive(Clone, Debug)]
struct Row {
    tid: Tid,
    pid: Pid,
    name: String,
    doing: Vec<char>,
    cpus: Option<CpuSet>,
}

/// A timeline under construction.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    cpus: u32,
    rows: Vec<Row>,
    /// `f` where another program has the CPU.
    foreign: BTreeMap<u32, Vec<char>>,
    extra: Vec<(u64, Event)>,
}

impl Script {
    pub(crate) fn new(cpus: u32) -> Self {
        Script { cpus, rows: Vec::new(), foreign: BTreeMap::new(), extra: Vec::new() }
    }

    /// A thread of the first process; the first row is its main thread.
    pub(crate) fn thread(self, name: &str, doing: &str) -> Self {
        self.row(ROOT, name, doing)
    }

    /// A thread of a child of the first process.
    pub(crate) fn child(self, name: &str, doing: &str) -> Self {
        let pid = Pid(ROOT.0 + u32::try_from(self.rows.len()).unwrap());
        self.row(pid, name, doing)
    }

    fn row(mut self, pid: Pid, name: &str, doing: &str) -> Self {
        let tid = Tid(ROOT.0 + u32::try_from(self.rows.len()).unwrap());
        let doing = doing.chars().collect();
        self.rows.push(Row { tid, pid, name: name.to_owned(), doing, cpus: None });
        self
    }

    /// The last thread may run on `cpu` only.
    pub(crate) fn pinned(mut self, cpu: u32) -> Self {
        let row = self.rows.last_mut().unwrap();
        row.cpus = Some([Cpu(cpu)].into_iter().collect());
        self
    }

    /// Other programs on `cpu`.
    pub(crate) fn foreign(mut self, cpu: u32, busy: &str) -> Self {
        self.foreign.insert(cpu, busy.chars().collect());
        self
    }

    /// Another event, at a time from the start.
    pub(crate) fn at(mut self, ns: u64, event: Event) -> Self {
        self.extra.push((START + ns, event));
        self
    }

    /// How many columns of all rows are drawn with `letter`.
    pub(crate) fn drawn(&self, letter: char) -> usize {
        self.rows.iter().flat_map(|row| &row.doing).filter(|doing| **doing == letter).count()
    }

    /// The longest time that a thread is drawn waiting for a CPU, ns.
    pub(crate) fn longest_queue(&self) -> u64 {
        let turns = self.rows.iter().flat_map(|row| row.doing.split(|it| !matches!(it, 'r' | 'w')));
        turns.map(|turn| turn.len() as u64 * MS).max().unwrap_or(0)
    }

    pub(crate) fn run(&self) -> Analysis {
        analyze(&mut InMemory::new(header(self.cpus), self.events()))
    }

    pub(crate) fn read(&self) -> (Tables, Timeline, Option<String>) {
        read(&mut InMemory::new(header(self.cpus), self.events()))
    }

    pub(crate) fn events(&self) -> Vec<(u64, Event)> {
        let mut events = definitions();
        let mut pids: Vec<Pid> = self.rows.iter().map(|row| row.pid).collect();
        pids.dedup();
        for pid in pids {
            let parent = (pid != ROOT).then_some(ROOT);
            events.push((
                START,
                Event::Process { pid, parent, space: SpaceId(1), name: "prog".to_owned() },
            ));
        }
        let columns = self.rows.iter().map(|row| row.doing.len()).max().unwrap_or(0);
        let mut stage = Stage { script: self, on: BTreeMap::new(), shown: BTreeMap::new() };
        for column in 0..=columns {
            stage.column(column, &mut events);
        }
        events.extend(self.extra.iter().cloned());
        events.sort_by_key(|(time, _)| *time);
        events.push((time(columns), Event::End { exit: None }));
        events
    }
}

/// What is on stage while the columns are played.
struct Stage<'a> {
    script: &'a Script,
    /// Which row has which CPU.
    on: BTreeMap<usize, u32>,
    /// What was said of the CPUs that no row has.
    shown: BTreeMap<u32, bool>,
}

impl Stage<'_> {
    fn column(&mut self, column: usize, events: &mut Vec<(u64, Event)>) {
        let at = time(column);
        let mut say = |event| events.push((at, event));
        let script = self.script;
        let turns: Vec<(usize, &Row, char, char)> = script
            .rows
            .iter()
            .enumerate()
            .filter(|(_, row)| column < row.doing.len())
            .map(|(index, row)| {
                (index, row, doing(row, column.checked_sub(1)), doing(row, Some(column)))
            })
            .filter(|(_, _, before, now)| before != now)
            .collect();
        for (index, row, before, now) in &turns {
            if blocked(*before) && *now != '.' {
                say(Event::Wakeup { tid: row.tid, by: self.waker(*index, *before, column) });
            }
        }
        for (index, row, before, now) in &turns {
            if let Some(cpu) = self.on.remove(index).filter(|_| runs(*before)) {
                if runs(*now) {
                    self.on.insert(*index, cpu);
                } else {
                    self.leave(row, cpu, *now, &mut say);
                }
            } else if *now == '.' {
                say(Event::Exit { tid: row.tid });
            }
        }
        for (index, row, before, now) in &turns {
            if *before == '.' {
                enter(row, column, *now, &mut say);
            }
            let turns_over = !runs(*before) && (*before != '.' || column > 0) && blocked(*now);
            if (runs(*now) && !runs(*before)) || turns_over {
                let cpu = self.free_cpu(row);
                say(Event::SwitchIn { tid: row.tid, cpu: Cpu(cpu) });
                self.shown.remove(&cpu);
                if turns_over {
                    self.leave(row, cpu, *now, &mut say);
                } else {
                    self.on.insert(*index, cpu);
                }
            }
        }
        self.others(column, &mut say);
        for (index, cpu) in &self.on {
            let row = &script.rows[*index];
            let now = doing(row, Some(column));
            if runs(now) {
                let (kernel, cpu) = (now == 'K', Cpu(*cpu));
                let sample = Event::Sample { tid: row.tid, cpu, kernel, stack: stack(now) };
                events.push((at + MS / 2, sample));
            }
        }
    }

    fn leave(&mut self, row: &Row, cpu: u32, now: char, say: &mut impl FnMut(Event)) {
        let (off, stack) = (off(now), stack(now));
        say(Event::SwitchOut { tid: row.tid, cpu: Cpu(cpu), off, stack });
        self.shown.remove(&cpu);
    }

    /// Tells who has the CPUs that no row has, where that changed.
    fn others(&mut self, column: usize, say: &mut impl FnMut(Event)) {
        for cpu in (0..self.script.cpus).filter(|cpu| !self.on.values().any(|on| on == cpu)) {
            let foreign = self.script.foreign.get(&cpu);
            let busy = foreign.and_then(|row| row.get(column)) == Some(&'f');
            if self.shown.insert(cpu, busy) != Some(busy) {
                say(Event::Occupant { cpu: Cpu(cpu), busy });
            }
        }
    }

    fn free_cpu(&self, row: &Row) -> u32 {
        let may = |cpu: &u32| row.cpus.as_ref().is_none_or(|set| set.contains(Cpu(*cpu)));
        let taken = |cpu: &u32| self.on.values().any(|on| on == cpu);
        (0..self.script.cpus).filter(may).find(|cpu| !taken(cpu)).expect("a CPU is free")
    }

    fn waker(&self, waiter: usize, wait: char, column: usize) -> Wakener {
        let mut others = self
            .script
            .rows
            .iter()
            .enumerate()
            .filter(|(index, row)| *index != waiter && runs(doing(row, column.checked_sub(1))));
        match others.next() {
            Some((_, row)) if "lqgcpP".contains(wait) => Wakener::Thread(row.tid),
            None if "pP".contains(wait) => Wakener::Foreign,
            _ => Wakener::Interrupt,
        }
    }
}

fn time(column: usize) -> u64 {
    START + column as u64 * MS
}

fn doing(row: &Row, column: Option<usize>) -> char {
    column.and_then(|column| row.doing.get(column)).copied().unwrap_or('.')
}

fn runs(doing: char) -> bool {
    "#K".contains(doing)
}

fn blocked(doing: char) -> bool {
    !"#Krw.".contains(doing)
}

fn enter(row: &Row, column: usize, now: char, say: &mut impl FnMut(Event)) {
    let entrance = match (column, now) {
        (_, '.') => return,
        (0, '#' | 'K') => Entrance::Found(Seen::Runnable),
        (0, other) => Entrance::Found(Seen::Off(off(other))),
        _ => Entrance::Born,
    };
    say(Event::Thread { tid: row.tid, pid: row.pid, name: row.name.clone(), entrance });
    if let Some(cpus) = &row.cpus {
        say(Event::Affinity { tid: row.tid, cpus: cpus.clone() });
    }
}

fn off(doing: char) -> Off {
    match doing {
        '.' => Off::Dead,
        'r' | 'w' => Off::Preempted,
        'T' => Off::Stopped,
        '?' => Off::Blocked { site: None, uninterruptible: false },
        other => Off::Blocked { site: Some(SiteId(other.into())), uninterruptible: false },
    }
}

/// The stack of everything drawn with this letter.
fn stack(doing: char) -> Option<StackId> {
    (!"?.".contains(doing)).then_some(StackId(doing.into()))
}

pub(crate) fn listening() -> Object {
    tcp(TcpRole::Listening)
}

pub(crate) fn tcp(role: TcpRole) -> Object {
    let remote = if role == TcpRole::Listening { "0.0.0.0:0" } else { "10.0.0.2:5432" };
    Object::Tcp { local: "10.0.0.1:80".parse().unwrap(), remote: remote.parse().unwrap(), role }
}

pub(crate) fn futex(address: u64, expected: u32) -> Object {
    Object::Futex { address, operation: 9, expected }
}

fn definitions() -> Vec<(u64, Event)> {
    let sites = [
        ('s', "clock_nanosleep", Object::None),
        ('d', "pread64", Object::File("/data/file".to_owned())),
        ('n', "recvfrom", tcp(TcpRole::Opened)),
        ('a', "epoll_wait", Object::Set { members: vec![listening()], complete: true }),
        ('l', "futex", futex(0x1000, 2)),
        ('q', "futex", futex(0x2000, 0)),
        ('g', "futex", futex(GIL.0 + 8, 0)),
        ('p', "read", Object::Pipe(1)),
        ('P', "write", Object::Pipe(1)),
        ('c', "wait4", Object::None),
    ];
    let mut events = vec![
        Event::Space { space: SpaceId(1), pid: ROOT },
        Event::Runtime { space: SpaceId(1), name: "cpython 3.11".to_owned(), gil: Some(GIL) },
    ];
    for (letter, call, object) in sites {
        let entry = Entry::Syscall(call.to_owned());
        events.push(Event::Site {
            id: SiteId(letter.into()),
            site: Site { pid: ROOT, entry, pc: letter.into(), object },
        });
    }
    let fault = Site { pid: ROOT, entry: Entry::Fault, pc: 1, object: Object::None };
    events.push(Event::Site { id: SiteId('m'.into()), site: fault });
    for letter in "#KrwTsdnalqgpPcm".chars() {
        let user = vec![u64::from(letter), 1];
        let stack = Event::Stack {
            id: StackId(letter.into()),
            space: SpaceId(1),
            kernel: vec![],
            user,
            end: StackEnd::Complete,
            script: vec![],
        };
        events.push(stack);
        let key = SymbolKey { space: Some(SpaceId(1)), address: letter.into() };
        events.push(Event::Symbols(vec![(key, vec![function(&format!("do_{letter}"))])]));
    }
    let main = SymbolKey { space: Some(SpaceId(1)), address: 1 };
    events.push(Event::Symbols(vec![(main, vec![function("main")])]));
    events.into_iter().map(|event| (START, event)).collect()
}

pub(crate) fn function(name: &str) -> Frame {
    Frame {
        function: name.to_owned(),
        file: Some(format!("/src/{name}.c")),
        line: Some(10),
        module: "prog".to_owned(),
        inlined: false,
    }
}

pub(crate) fn header(cpus: u32) -> Header {
    Header {
        tool_version: "0".to_owned(),
        host: "host".to_owned(),
        kernel: "6.0".to_owned(),
        boot_id: "boot".to_owned(),
        arch: "x86_64".to_owned(),
        facts: SystemFacts { page_size: 4096, clock_ticks: 100, cpus },
        engine: EngineName::Perf,
        capabilities: Capabilities::default(),
        fallbacks: Vec::new(),
        frequency: 499,
        target: Target {
            mode: Mode::Launch,
            pids: vec![ROOT],
            command: vec!["prog".to_owned()],
            name: "prog".to_owned(),
        },
        start: Ns(START),
        start_unix_ns: 1_700_000_000_000_000_000,
    }
}
