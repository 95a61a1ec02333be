//! What an engine reports.

use serde::{Deserialize, Serialize};

use crate::{
    CodeId, Cpu, CpuSet, ExitStatus, Fallback, GilHolder, GilId, GilPlace, LoopTurn, Ns, Pid,
    Polled, ScriptFrame, ScriptReads, Site, SiteId, SpaceId, StackEnd, StackId, Thinned, Tid,
};

/// An event and when it happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// On `CLOCK_MONOTONIC`.
    pub time: Ns,
    /// What happened.
    pub event: Event,
}

/// How a thread left the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Off {
    /// It wanted to go on: preempted, or it yielded.
    Preempted,
    /// It waits for something. `None` when the engine knows nothing of where.
    Blocked {
        /// Where it waits.
        site: Option<SiteId>,
        /// Not even a signal ends the wait (state D).
        uninterruptible: bool,
    },
    /// Stopped by a signal or a debugger.
    Stopped,
    /// It has ended.
    Dead,
}

/// What a thread was doing when it was first seen, read from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen {
    /// Running or wanting to: which of the two the next event tells.
    Runnable,
    /// Off the CPU.
    Off(Off),
}

/// How a thread came into the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entrance {
    /// It was born now, and waits for a CPU.
    Born,
    /// It was there already, doing this.
    Found(Seen),
}

/// Who ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wakener {
    /// A thread of the target.
    Thread(Tid),
    /// A thread of another program.
    Foreign,
    /// An interrupt: a device, a timer, the network.
    Interrupt,
}

/// An address that wants a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SymbolKey {
    /// The address space of a user address; `None` for the kernel.
    pub space: Option<SpaceId>,
    /// The address as it stands in the stack.
    pub address: u64,
}

/// One function activation, outermost inlined caller last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Frame {
    /// Demangled function name, or `module+0x…` where no symbol is known.
    pub function: String,
    /// Source file, where debug information names it.
    pub file: Option<String>,
    /// Source line in it.
    pub line: Option<u32>,
    /// File name of the binary the code is in; `[kernel]` for the kernel.
    pub module: String,
    /// The compiler inlined this function into the next frame.
    pub inlined: bool,
}

/// One thing an engine saw. Definitions (`Space`, `Stack`, `Site`, `Process`)
/// come before their first use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// `pid` has a new address space.
    Space {
        /// Its identifier.
        space: SpaceId,
        /// Whose it is.
        pid: Pid,
    },
    /// Executable memory was mapped.
    Mapping {
        /// Into which address space.
        space: SpaceId,
        /// First address.
        start: u64,
        /// One past the last address.
        end: u64,
        /// Offset in the file that `start` shows.
        file_offset: u64,
        /// The file as the target names it, or `[vdso]`, `//anon`, ….
        path: String,
        /// The file's GNU build id; empty when not known.
        build_id: Vec<u8>,
    },
    /// A call chain. Addresses are innermost first; all but the first of each
    /// half are return addresses.
    Stack {
        /// Its identifier.
        id: StackId,
        /// The address space of `user`.
        space: SpaceId,
        /// Kernel half, innermost.
        kernel: Vec<u64>,
        /// User half.
        user: Vec<u64>,
        /// How the user half ends.
        end: StackEnd,
        /// Calls of the interpreted program that the user half runs, innermost first.
        script: Vec<ScriptFrame>,
    },
    /// A function of an interpreted program.
    Code {
        /// Its identifier.
        id: CodeId,
        /// Its name.
        function: String,
        /// Its source file.
        file: String,
    },
    /// A place of waiting.
    Site {
        /// Its identifier.
        id: SiteId,
        /// The evidence.
        site: Site,
    },
    /// A process joins the target.
    Process {
        /// Its PID.
        pid: Pid,
        /// The process of the target it descends from.
        parent: Option<Pid>,
        /// Its address space.
        space: SpaceId,
        /// The kernel's name of it.
        name: String,
    },
    /// A thread joins the target.
    Thread {
        /// Its TID.
        tid: Tid,
        /// Its process, defined before.
        pid: Pid,
        /// The kernel's name of it.
        name: String,
        /// How it came in.
        entrance: Entrance,
    },
    /// A process replaced its program. Its other threads are gone, and their
    /// exits reported.
    Exec {
        /// The process.
        pid: Pid,
        /// The new address space.
        space: SpaceId,
        /// The kernel's name of the new program.
        name: String,
    },
    /// A thread was renamed.
    Name {
        /// The thread.
        tid: Tid,
        /// Its new name.
        name: String,
    },
    /// A thread began to end. It may run a little longer; a `SwitchOut` with
    /// [`Off::Dead`] is its last instant, and this one where that is missing.
    Exit {
        /// The thread.
        tid: Tid,
    },
    /// The CPUs a thread may use.
    Affinity {
        /// The thread.
        tid: Tid,
        /// Where it may run.
        cpus: CpuSet,
    },
    /// A thread got a CPU.
    SwitchIn {
        /// The thread.
        tid: Tid,
        /// The CPU.
        cpu: Cpu,
    },
    /// A thread left its CPU.
    SwitchOut {
        /// The thread.
        tid: Tid,
        /// The CPU.
        cpu: Cpu,
        /// Why.
        off: Off,
        /// Where in the code, when a call chain was taken for this switch.
        stack: Option<StackId>,
    },
    /// Who runs on `cpu` from now on, no thread of the target. Reported after
    /// a `SwitchOut` that no `SwitchIn` follows on that CPU, and whenever it
    /// changes while a thread of the target waits for a CPU.
    Occupant {
        /// The CPU.
        cpu: Cpu,
        /// A thread of another program; false when idle.
        busy: bool,
    },
    /// A blocked thread was made runnable.
    Wakeup {
        /// The thread.
        tid: Tid,
        /// Who did it.
        by: Wakener,
    },
    /// A closer look from outside at the wait a thread is in: `site` holds
    /// from the thread's last `SwitchOut` on. Kept only when the thread was
    /// still in that wait after the look.
    Look {
        /// The thread.
        tid: Tid,
        /// Where it waits.
        site: SiteId,
        /// Where in the code, when its stack was read, too.
        stack: Option<StackId>,
    },
    /// The thread was on the CPU when the sampling clock fired.
    Sample {
        /// The thread.
        tid: Tid,
        /// The CPU.
        cpu: Cpu,
        /// In the kernel; false in user code.
        kernel: bool,
        /// Where in the code.
        stack: Option<StackId>,
    },
    /// Records were lost on `cpu` between `since` and now.
    Lost {
        /// The CPU whose ring overflowed.
        cpu: Cpu,
        /// Time of the last record before the gap.
        since: Ns,
        /// How many were lost.
        records: u64,
    },
    /// Records came too late to be put in order, and were dropped.
    Late {
        /// How many since the last such event.
        records: u64,
    },
    /// The kernel held the sampling clock back on this CPU.
    Throttled {
        /// The CPU.
        cpu: Cpu,
    },
    /// What the CPU quota of a process's control group did to it so far.
    Quota {
        /// A process in the group.
        pid: Pid,
        /// CPU time the quota allows per second of time, in ns; 0 for no limit.
        per_second_ns: u64,
        /// Times the group was throttled.
        periods: u64,
        /// Total throttled time, in ns.
        throttled_ns: u64,
    },
    /// The kernel's own count of on-CPU time, from the start of the window or
    /// of the thread to now.
    KernelCpu {
        /// The thread it counts, or all of the launched tree when `None`.
        tid: Option<Tid>,
        /// On-CPU time, ns.
        cpu_ns: u64,
    },
    /// Names of addresses that stand in stacks: one list of frames for each,
    /// innermost inlined function first.
    Symbols(
        /// The addresses and what is there.
        Vec<(SymbolKey, Vec<Frame>)>,
    ),
    /// What language runtime an address space holds.
    Runtime {
        /// The address space.
        space: SpaceId,
        /// Such as `cpython 3.11.7`.
        name: String,
        /// First address and one past the last of `_PyRuntime`: a futex in it is the GIL.
        gil: Option<(u64, u64)>,
    },
    /// How the reads of interpreted stacks went.
    ScriptReads(ScriptReads),
    /// Something that the engine has to do without, noticed after the start.
    Fallback(Fallback),
    /// The last instant of the window.
    End {
        /// How a launched command ended.
        exit: Option<ExitStatus>,
    },
    /// What recording cost us.
    Overhead {
        /// CPU time of the recorder, ns.
        profiler_cpu_ns: u64,
        /// Records read from the kernel.
        events: u64,
    },
    /// The line on which the definition of a function of an interpreted program begins.
    Definition {
        /// The function, defined before.
        code: CodeId,
        /// The line.
        line: u32,
    },
    /// What the event loop of a thread was at, read from outside now.
    LoopTurn {
        /// The thread.
        tid: Tid,
        /// What was read.
        turn: LoopTurn,
    },
    /// The kernel's own count of time in the run queue, from the start of the
    /// window or of the thread to now. From engines that hear of no wakeups.
    RunDelay {
        /// The thread.
        tid: Tid,
        /// Time it wanted a CPU and had none, ns.
        delay_ns: u64,
    },
    /// A lock under which an interpreter runs code. A process has one, unless it
    /// has interpreters with their own.
    Gil {
        /// Its identifier.
        id: GilId,
        /// The address space it is in.
        space: SpaceId,
        /// Where.
        place: GilPlace,
    },
    /// A thread of an interpreter that ran lately was looked at from outside: who
    /// held the lock of the interpreter at this instant.
    GilSeen {
        /// The thread.
        tid: Tid,
        /// The lock, defined before.
        gil: GilId,
        /// Who had it.
        holder: GilHolder,
    },
    /// The memory of a process, read once.
    Memory {
        /// The process.
        pid: Pid,
        /// What of it is in memory.
        resident_bytes: u64,
        /// The same, what it shares counted in part (PSS); not read of large ones.
        share_bytes: Option<u64>,
    },
    /// What a thread did since an engine that polls looked at it before.
    Polled(Polled),
    /// The target itself holds the other end of what is waited on at this site.
    Inside {
        /// Where it is waited on.
        site: SiteId,
    },
    /// How much of the time since `since` a CPU had nothing to do.
    Spare {
        /// The CPU.
        cpu: Cpu,
        /// When the count began.
        since: Ns,
        /// Idle time, ns.
        idle_ns: u64,
    },
    /// Threads were stopped while they were read, one at a time, as the user asked.
    Stops {
        /// How often.
        stops: u64,
        /// From asking a thread to stop to letting it go on, in all, ns.
        stopped_ns: u64,
        /// The longest of these, ns.
        longest_ns: u64,
    },
    /// What was left out so far to keep to a limit of cost.
    Thinned(Thinned),
    /// There is other code at an address than there was: its name in stacks from
    /// some time on. Its name before is in `Symbols`.
    Renamed {
        /// The address.
        key: SymbolKey,
        /// When the other code was written there.
        since: Ns,
        /// The functions there, innermost inlined first.
        frames: Vec<Frame>,
    },
    /// What was read of the time limit of the wait that a thread was just seen in.
    Limit {
        /// The thread.
        tid: Tid,
        /// When the wait ends at the latest; `None` when its call has no time limit.
        until: Option<Ns>,
    },
    /// A thread that was preempted was looked at from outside before it had a CPU again.
    Stood {
        /// The thread.
        tid: Tid,
        /// Where it was interrupted.
        stack: StackId,
    },
    /// A look at a thread that has no CPU, and went to wait, found it ready to run: its wait
    /// is over by now.
    Awake {
        /// The thread.
        tid: Tid,
    },
    /// To keep to a limit of cost, neither switches, nor wakeups, nor what is seen at them
    /// is recorded from now on; births and ends of threads are.
    Paused,
    /// All of it is recorded again.
    Resumed,
    /// What the kernel's tally says a thread did in the pause that lasts: it was off its CPU
    /// so often, and for so long.
    Tally {
        /// The thread.
        tid: Tid,
        /// Why it was off; `None` when it was so as the pause began, whyever.
        off: Option<Off>,
        /// How often it got a CPU again; 0 when it has none yet.
        times: u64,
        /// From leaving a CPU, or from the pause's beginning, to having one again, ns.
        off_ns: u64,
        /// The part of that in the run queue, as the kernel counts it, ns.
        queued_ns: u64,
    },
    /// What the same tally says how long it had a CPU.
    TalliedCpu {
        /// The thread.
        tid: Tid,
        /// For how long, ns.
        cpu_ns: u64,
    },
    /// The tallies of the pause that lasts are told: who was there when it began and has none
    /// has gone on doing what it did then.
    Tallied,
    /// What all that is in the control group of `Quota` ran so far, others than the target
    /// included.
    GroupRan {
        /// A process in the group.
        pid: Pid,
        /// CPU time since the group was made, ns.
        ran_ns: u64,
    },
    /// Where `Quota` is set.
    QuotaFile {
        /// A process in the group.
        pid: Pid,
        /// The path, as the recorder sees it.
        path: String,
    },
    /// Where in the code the waits are that are tallied next of a thread.
    TalliedIn {
        /// The thread.
        tid: Tid,
        /// Where it waits.
        site: SiteId,
        /// The way there, of a wait before at the same place.
        stack: StackId,
    },
    /// What recording took of the CPU time of the target's own threads, by what each sort of
    /// record costs.
    TargetCost {
        /// CPU time, ns.
        cpu_ns: u64,
    },
}
