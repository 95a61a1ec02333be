//! The state of a wait, from its evidence: the system call and the object it
//! waits on first, the kernel's own frames second. Where both are sure and
//! differ, the answer is "unknown".

mod frames;
mod handover;
mod objects;
mod parked;
mod programs;
mod syscalls;
mod turns;

#[cfg(test)]
mod tests;

use whyslow_events::{Entry, Object, Site, StackId};

use crate::State;
use crate::tables::Tables;

pub(crate) use handover::Handovers;

/// What the evidence of a wait says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    State(State),
    /// A futex whose use only all the waits on it can tell.
    Handover,
    /// Call and object say one thing, the kernel's frames another.
    Disagreement,
}

/// Judges a wait at `site` with `frames` of the kernel, innermost first.
/// `gil`: the futex it waits on is an interpreter lock.
pub(crate) fn judge(site: Option<&Site>, frames: &[&str], gil: bool) -> Cause {
    let framed = frames::state(frames);
    if let Some(forced @ (State::Stopped | State::LockKernel)) = framed {
        return Cause::State(forced);
    }
    match site.map_or(Told::Nothing, |site| told(site, gil)) {
        Told::Sure(state) if framed.is_none_or(|framed| compatible(state, framed)) => {
            Cause::State(state)
        }
        Told::Sure(_) => Cause::Disagreement,
        Told::Likely(state) => Cause::State(framed.unwrap_or(state)),
        Told::Handover => Cause::Handover,
        Told::Nothing => match framed {
            Some(state) => Cause::State(state),
            None if frames::in_futex(frames) => Cause::Handover,
            None => Cause::State(frames::vague_state(frames).unwrap_or(State::Unknown)),
        },
    }
}

/// What the program's own functions tell of a wait for whatever comes first, or for a timer.
pub(crate) fn by_program(tables: &Tables, site: &Site, stack: StackId) -> Option<State> {
    use syscalls::Rule;
    let Entry::Syscall(name) = &site.entry else { return None };
    match syscalls::rule(name)? {
        Rule::Polls | Rule::Is(State::Sleep) => programs::told(tables, stack),
        _ => None,
    }
}

/// Whether a thread with this stack is parked for a lock of its runtime's.
pub(crate) fn is_parked(tables: &Tables, stack: StackId) -> bool {
    parked::parked(tables, stack) == Some(parked::Parked::Own)
}

/// What call and object tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Sure(State),
    /// Frames know better.
    Likely(State),
    Handover,
    Nothing,
}

impl From<Option<State>> for Told {
    fn from(state: Option<State>) -> Self {
        state.map_or(Told::Nothing, Told::Sure)
    }
}

fn told(site: &Site, gil: bool) -> Told {
    use syscalls::Rule;
    let rule = match &site.entry {
        Entry::Fault => Rule::Is(State::Memory),
        Entry::Stopped => Rule::Is(State::Stopped),
        Entry::Syscall(name) => match syscalls::rule(name) {
            Some(rule) => rule,
            None => return Told::Nothing,
        },
        Entry::UnknownSyscall | Entry::Unseen => return Told::Nothing,
    };
    match rule {
        Rule::Is(state) => Told::Sure(state),
        Rule::Reads => objects::read(&site.object).into(),
        Rule::Writes => objects::written(&site.object).into(),
        Rule::Likely(likely) => {
            objects::written(&site.object).map_or(Told::Likely(likely), Told::Sure)
        }
        Rule::Polls => objects::polled(&site.object).into(),
        Rule::Futex => futex(&site.object, gil),
    }
}

/// What the object of a wait tells, if anything does; `None` where the call leaves nothing
/// to it.
pub(crate) fn by_object(site: &Site) -> Option<Option<State>> {
    use syscalls::Rule;
    let Entry::Syscall(name) = &site.entry else { return None };
    let rule = syscalls::rule(name)?;
    match rule {
        Rule::Reads | Rule::Writes | Rule::Polls if objects::is_unresolved(&site.object) => {
            Some(None)
        }
        Rule::Reads => Some(objects::read(&site.object)),
        Rule::Writes => Some(objects::written(&site.object)),
        Rule::Polls => Some(objects::polled(&site.object)),
        Rule::Is(_) | Rule::Likely(_) | Rule::Futex => None,
    }
}

/// Whether a call waits for a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    Always,
    /// It may have a time limit.
    Perhaps,
    No,
}

pub(crate) fn timer(site: &Site) -> Timer {
    use syscalls::Rule;
    let Entry::Syscall(name) = &site.entry else { return Timer::No };
    match syscalls::rule(name) {
        Some(Rule::Is(State::Sleep)) => Timer::Always,
        Some(Rule::Polls) if objects::polled(&site.object) == Some(State::Sleep) => Timer::Always,
        Some(Rule::Futex) => Timer::Perhaps,
        _ => Timer::No,
    }
}

/// `FUTEX_LOCK_PI` and `FUTEX_LOCK_PI2`.
const FUTEX_LOCKS: [u32; 2] = [6, 13];

fn futex(object: &Object, gil: bool) -> Told {
    match object {
        _ if gil => Told::Sure(State::LockGil),
        Object::Futex { operation, .. } | Object::SharedFutex { operation, .. }
            if FUTEX_LOCKS.contains(operation) =>
        {
            Told::Sure(State::LockUser)
        }
        _ => Told::Handover,
    }
}

/// Whether frames that say `framed` may stand under a call that says `told`.
fn compatible(told: State, framed: State) -> bool {
    use State::{
        Idle, IoDevice, IoDisk, IoIpc, IoNetwork, IoOther, IoTerminal, LockGil, LockKernel,
        LockUser, Memory,
    };
    match told {
        // These name no device, so no frame speaks against them.
        Memory | IoOther | LockKernel | LockUser | LockGil => true,
        _ if told == framed || framed == Memory => true,
        Idle => matches!(framed, IoNetwork | IoIpc),
        IoDevice => matches!(framed, IoDisk | IoTerminal),
        _ => false,
    }
}
