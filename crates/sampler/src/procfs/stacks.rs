//! Where in the code: native stacks of blocked threads, read from outside, and
//! the calls of interpreted programs. A running thread shows no registers.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use whyslow_events::{
    Event, Fallback, LoopTurn, Pid, ReadScripts, ScriptFrame, ScriptRead, ScriptReads, SpaceId,
    StackEnd, StackId, StackMemory, Tid, Unwind, UserRegisters,
};

use super::poller::Poller;
use crate::inspect::{Channels, InCall, Inspector, Process};
use crate::perf::{Chain, Codes, Stacks as Numbers, UserHalf};
use crate::session::Readers;

/// Most of a stack that is read: first, and when that was too short.
const READS: [usize; 3] = [64 << 10, 1 << 20, 8 << 20];
/// Places remembered of all threads.
const PLACES: usize = 1 << 14;

/// Who reads stacks, and what was read.
#[derive(Default)]
pub(super) struct Stacks {
    readers: Option<Readers>,
    inspector: Inspector,
    numbers: Numbers,
    places: HashMap<(Pid, Tid, u64, u64), UserHalf>,
    codes: Codes,
    channels: Channels,
    reads: ScriptReads,
}

impl fmt::Debug for Stacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stacks").field("places", &self.places.len()).finish_non_exhaustive()
    }
}

impl Stacks {
    /// With nobody to read there are no stacks.
    pub(super) fn new(readers: Option<Readers>) -> Self {
        Stacks { readers, ..Stacks::default() }
    }

    pub(super) fn observe(&mut self, event: &Event) {
        if let Some(readers) = &mut self.readers {
            readers.unwinder.observe(event);
            readers.scripts.observe(event);
        }
    }

    /// Forgets the places of a process.
    pub(super) fn forget(&mut self, pid: Pid, space: SpaceId) {
        self.numbers.forget(space);
        self.places.retain(|(of, ..), _| *of != pid);
    }

    /// Why calls of interpreted programs could not be read.
    pub(super) fn refusals(&self) -> Vec<Fallback> {
        self.readers.as_ref().map(|readers| readers.scripts.refusals()).unwrap_or_default()
    }

    /// How reads of interpreted stacks went.
    pub(super) fn reads(&self) -> ScriptReads {
        self.reads
    }

    /// What was noted by the event loop of the thread whose calls were read last.
    fn loop_turn(&mut self) -> Option<LoopTurn> {
        self.readers.as_mut()?.scripts.loop_turn()
    }

    fn native(&mut self, pid: Pid, tid: Tid, space: SpaceId, call: InCall) -> Option<UserHalf> {
        let place = (pid, tid, call.pc, call.sp);
        if let Some(known) = self.places.get(&place) {
            return Some(known.lent());
        }
        let unwinder = &mut self.readers.as_mut()?.unwinder;
        let user = unwind(&mut **unwinder, &self.inspector, pid, space, call)?;
        if self.places.len() >= PLACES {
            self.places.clear();
        }
        self.places.insert(place, user.clone());
        Some(user)
    }

    fn script(
        &mut self,
        (pid, space): (Pid, SpaceId),
        tid: Tid,
        blocked: bool,
        mut define: impl FnMut(Event),
    ) -> Option<Rc<[ScriptFrame]>> {
        let scripts: &mut dyn ReadScripts = &mut *self.readers.as_mut()?.scripts;
        let (reads, calls) = match scripts.read(space, tid, &Process::new(pid.0), blocked) {
            ScriptRead::Nothing => return None,
            ScriptRead::Rejected => (&mut self.reads.rejected, None),
            ScriptRead::Outside(calls) => (&mut self.reads.rejected, Some(calls)),
            ScriptRead::Calls(calls) => (&mut self.reads.accepted, Some(calls)),
        };
        *reads += u64::from(!blocked);
        let frame = |call| self.codes.frame(call, &mut define);
        Some(calls?.into_iter().map(frame).collect())
    }
}

fn unwind(
    unwinder: &mut dyn Unwind,
    inspector: &Inspector,
    pid: Pid,
    space: SpaceId,
    call: InCall,
) -> Option<UserHalf> {
    let registers = UserRegisters::new(call.pc, call.sp);
    let (mut best, mut room) = (None, vec![]);
    for limit in READS {
        let Some((bytes, whole)) = inspector.stack(pid.0, call.sp, limit, &mut room) else { break };
        let memory = StackMemory { start: call.sp, bytes, whole, later: None };
        let unwound = unwinder.unwind(space, &registers, memory);
        let end = unwound.end;
        best = Some(UserHalf { addresses: unwound.addresses.into(), end, script: Rc::default() });
        if end != StackEnd::CopyTooShort {
            break;
        }
    }
    best
}

impl Poller {
    /// The stack of a thread that waits in `call`.
    pub(super) fn stack_of_wait(
        &mut self,
        time: u64,
        tid: Tid,
        space: SpaceId,
        call: InCall,
    ) -> Option<StackId> {
        let pid = self.threads.get(&tid)?.pid;
        let mut user = self.stacks.native(pid, tid, space, call)?;
        user.script = self.script(time, (pid, space), tid, true).unwrap_or_default();
        Some(self.number(time, space, Chain { kernel: Rc::default(), user }))
    }

    /// The calls of an interpreted program that runs.
    pub(super) fn stack_of_running(&mut self, time: u64, tid: Tid) -> Option<StackId> {
        let pid = self.threads.get(&tid)?.pid;
        let space = self.processes.get(&pid)?.space;
        self.report_space(time, space);
        let script = self.script(time, (pid, space), tid, false)?;
        let user = UserHalf { script, ..UserHalf::none() };
        Some(self.number(time, space, Chain { kernel: Rc::default(), user }))
    }

    /// The kernel function a thread sleeps in, where that is all we may see.
    pub(super) fn stack_of_channel(&mut self, time: u64, tid: Tid) -> Option<StackId> {
        let thread = self.threads.get(&tid)?;
        let function = self.stacks.inspector.channel(thread.pid.0, tid.0)?;
        let space = self.processes.get(&thread.pid)?.space;
        let (address, name) = self.stacks.channels.address(function);
        name.into_iter().for_each(|name| self.emit(time, name));
        let chain = Chain { kernel: Rc::from([address]), user: UserHalf::none() };
        Some(self.number(time, space, chain))
    }

    fn script(
        &mut self,
        time: u64,
        of: (Pid, SpaceId),
        tid: Tid,
        blocked: bool,
    ) -> Option<Rc<[ScriptFrame]>> {
        let mut new = vec![];
        let script = self.stacks.script(of, tid, blocked, |event| new.push(event));
        new.extend(self.stacks.loop_turn().map(|turn| Event::LoopTurn { tid, turn }));
        new.into_iter().for_each(|event| self.emit(time, event));
        script
    }

    fn number(&mut self, time: u64, space: SpaceId, chain: Chain) -> StackId {
        let (id, definition) = self.stacks.numbers.define(space, &chain);
        if let Some(definition) = definition {
            self.report_space(time, space);
            self.emit(time, definition);
        }
        id
    }
}
