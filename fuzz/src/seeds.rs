//! Inputs made in code. In here, a recording with every kind of event.

pub(crate) mod jit;
pub(crate) mod proc;
pub(crate) mod python;
pub(crate) mod ring;
pub(crate) mod unwind;

use whyslow_events::{
    Capabilities, CodeId, Cpu, CpuSet, EngineName, Entrance, Entry, Event, ExitStatus, Frame,
    GilHolder, GilId, GilPlace, Header, Mode, Ns, Object, Off, Pid, ScriptFrame, Seen, Site,
    SiteId, SpaceId, StackEnd, StackId, SymbolKey, SystemFacts, Target, TcpRole, Tid, Timed,
    Wakener, recording::Writer,
};

const PID: Pid = Pid(7);
const TID: Tid = Tid(7);
const OTHER: Tid = Tid(8);
const CPU: Cpu = Cpu(0);
const SPACE: SpaceId = SpaceId(0);
const GIL: GilPlace = GilPlace { lock: (0x9000, 0x90d0), queue: (0x9020, 0x9050) };
const STACK: StackId = StackId(0);
/// Time between two events.
const STEP: u64 = 1_000_000;
const IN_MEMORY: &str = "writing to memory does not fail";

/// Whole files: with all events, and with none.
pub(crate) fn recordings() -> Vec<Vec<u8>> {
    [events(), Vec::new()].map(|events| recording(&events)).into()
}

fn recording(events: &[Timed]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header()).expect(IN_MEMORY);
    for event in events {
        writer.push(event).expect(IN_MEMORY);
    }
    writer.finish().expect(IN_MEMORY)
}

/// A header's length, the header, and one chunk with all events.
pub(crate) fn chunks() -> Vec<Vec<u8>> {
    let header = postcard::to_stdvec(&header()).expect(IN_MEMORY);
    let length = u16::try_from(header.len()).expect("the header is short");
    let mut input = length.to_le_bytes().to_vec();
    input.extend(header);
    let mut last = 0u64;
    input.extend(last.to_le_bytes());
    for timed in events() {
        let delta = (timed.time.0 - last).cast_signed();
        last = timed.time.0;
        input.extend(postcard::to_stdvec(&(delta, timed.event)).expect(IN_MEMORY));
    }
    vec![input]
}

fn header() -> Header {
    Header {
        tool_version: "0.1.0".into(),
        host: "host".into(),
        kernel: "6.1.0".into(),
        boot_id: "5d0f1c1e-3c64-4f29-9f0a-0a8e5f0c7e11".into(),
        arch: "x86_64".into(),
        facts: SystemFacts { page_size: 1 << 12, clock_ticks: 100, cpus: 2 },
        engine: EngineName::Perf,
        capabilities: Capabilities { exact_switches: true, causes: true, ..Default::default() },
        fallbacks: Vec::new(),
        frequency: 499,
        target: Target {
            mode: Mode::Launch,
            pids: vec![PID],
            command: vec!["program".into()],
            name: "program".into(),
        },
        start: Ns(0),
        start_unix_ns: 0,
    }
}

/// One short life of a program with two threads.
pub(crate) fn events() -> Vec<Timed> {
    let parts = [definitions(), life(), waits(), ends()];
    let events = parts.into_iter().flatten();
    (1u64..).zip(events).map(|(step, event)| Timed { time: Ns(step * STEP), event }).collect()
}

fn definitions() -> Vec<Event> {
    let kernel = SymbolKey { space: None, address: 0xffff_ffff_8100_0000 };
    let frame =
        Frame { function: "schedule".into(), module: "[kernel]".into(), ..Frame::default() };
    vec![
        Event::Space { space: SPACE, pid: PID },
        Event::Mapping {
            space: SPACE,
            start: 0x40_0000,
            end: 0x41_0000,
            file_offset: 0,
            path: "/usr/bin/program".into(),
            build_id: vec![0xab; 20],
        },
        Event::Process { pid: PID, parent: None, space: SPACE, name: "program".into() },
        Event::Runtime {
            space: SPACE,
            name: "cpython 3.11.7".into(),
            gil: Some((0x50_0000, 0x51_0000)),
        },
        Event::Stack {
            id: STACK,
            space: SPACE,
            kernel: vec![kernel.address],
            user: vec![0x40_0010],
            end: StackEnd::Complete,
            script: vec![ScriptFrame { code: CodeId(0), line: 3, entry: true }],
        },
        Event::Code { id: CodeId(0), function: "main".into(), file: "app.py".into() },
        Event::Definition { code: CodeId(0), line: 2 },
        Event::Symbols(vec![(kernel, vec![frame])]),
    ]
}

fn life() -> Vec<Event> {
    let born = Entrance::Born;
    let found = Entrance::Found(Seen::Off(Off::Stopped));
    vec![
        Event::Thread { tid: TID, pid: PID, name: "program".into(), entrance: born },
        Event::Affinity { tid: TID, cpus: CpuSet::from_iter([CPU]) },
        Event::SwitchIn { tid: TID, cpu: CPU },
        Event::Sample { tid: TID, cpu: CPU, kernel: false, stack: Some(STACK) },
        Event::Gil { id: GilId(0), space: SPACE, place: GIL },
        Event::GilSeen { tid: TID, gil: GilId(0), holder: GilHolder::Itself },
        Event::GilSeen { tid: TID, gil: GilId(0), holder: GilHolder::Other(Some(OTHER)) },
        Event::Thread { tid: OTHER, pid: PID, name: "other".into(), entrance: found },
        Event::Name { tid: OTHER, name: "worker".into() },
        Event::SwitchOut { tid: TID, cpu: CPU, off: Off::Preempted, stack: None },
        Event::Occupant { cpu: CPU, busy: true },
        Event::SwitchIn { tid: TID, cpu: CPU },
        Event::Exec { pid: PID, space: SPACE, name: "program".into() },
        Event::Quota { pid: PID, per_second_ns: STEP, periods: 1, throttled_ns: 1 },
        Event::Throttled { cpu: CPU },
        Event::GroupRan { pid: PID, ran_ns: STEP },
    ]
}

/// One wait on each of these objects.
fn waits() -> Vec<Event> {
    let address = "127.0.0.1:80".parse().expect("an address");
    let objects = [
        ("read", Object::File("/etc/hosts".into())),
        ("read", Object::Pipe(1)),
        ("recvfrom", Object::Tcp { local: address, remote: address, role: TcpRole::Accepted }),
        ("futex", Object::Futex { address: 0x50_0008, operation: 0, expected: 2 }),
        ("epoll_wait", Object::Set { members: vec![Object::EventFd], complete: true }),
        ("wait4", Object::None),
    ];
    let waits = (0u32..).zip(objects).flat_map(|(id, (syscall, object))| {
        let id = SiteId(id);
        let site = Site { pid: PID, entry: Entry::Syscall(syscall.into()), pc: 0x40_0010, object };
        let off = Off::Blocked { site: Some(id), uninterruptible: false };
        [
            Event::Site { id, site },
            Event::SwitchOut { tid: TID, cpu: CPU, off, stack: Some(STACK) },
            Event::Look { tid: TID, site: id, stack: None },
            Event::Limit { tid: TID, until: Some(Ns(STEP)) },
            Event::Stood { tid: TID, stack: StackId(0) },
            Event::Wakeup { tid: TID, by: Wakener::Thread(OTHER) },
            Event::SwitchIn { tid: TID, cpu: CPU },
        ]
    });
    waits.collect()
}

fn ends() -> Vec<Event> {
    vec![
        Event::Lost { cpu: CPU, since: Ns(STEP), records: 3 },
        Event::Late { records: 2 },
        Event::Exit { tid: TID },
        Event::SwitchOut { tid: TID, cpu: CPU, off: Off::Dead, stack: None },
        Event::KernelCpu { tid: None, cpu_ns: STEP },
        Event::Overhead { profiler_cpu_ns: STEP, events: 40 },
        Event::End { exit: Some(ExitStatus { code: Some(0), signal: None }) },
    ]
}
