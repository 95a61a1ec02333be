//! Looking at a thread from outside: the system call it is in, and what is
//! behind its file descriptors. Only reads `/proc`; the target notices nothing.

mod call;
mod channel;
mod ends;
mod fds;
pub(crate) mod fuzzing;
mod kept;
mod limits;
mod process;
mod rings;
mod sets;
mod shared;
mod sockets;

use whyslow_events::{Event, Object, Pid};

pub(crate) use call::{Call, InCall};
pub(crate) use channel::{Channels, channel};
pub(crate) use limits::Limit;
pub(crate) use process::{Process, can_read_memory};

use crate::arch::CODE_BEFORE;
use crate::proc::Proc;
use ends::Held;
use kept::Kept;
use shared::Shared;
use sockets::SocketTables;

/// An event loop wakes itself through one object or a few: more than these are connections.
const WAKERS: usize = 16;

/// Reads what threads wait on.
#[derive(Debug, Default)]
pub(crate) struct Inspector {
    proc: Proc,
    sockets: SocketTables,
    kept: Kept,
    shared: Shared,
}

impl Inspector {
    /// The call a blocked thread is in; `None` when it runs or cannot be read.
    pub(crate) fn call(&self, pid: u32, tid: u32) -> Option<InCall> {
        self.proc.syscall(pid, tid).waiting()
    }

    /// What a thread is doing that is asked again and again.
    pub(crate) fn call_again(&mut self, pid: u32, tid: u32) -> Call {
        self.kept.call(&self.proc, pid, tid)
    }

    /// The kernel function a thread sleeps in; `None` when it sleeps in none, or we may not
    /// know.
    pub(crate) fn channel(&self, pid: u32, tid: u32) -> Option<String> {
        channel(&self.proc, pid, tid)
    }

    /// Whether a signal or a debugger has stopped a thread.
    pub(crate) fn is_stopped(&self, pid: u32, tid: u32) -> bool {
        let stat = self.proc.task(pid, tid).and_then(|task| task.stat().ok());
        stat.is_some_and(|stat| matches!(stat.state, 'T' | 't'))
    }

    /// What there is to say of a site that is told of for the first time: that
    /// another of the target's `processes` holds the other end of the pipe that is
    /// waited on.
    pub(crate) fn inside(
        &self,
        told: &Event,
        processes: impl Iterator<Item = Pid>,
    ) -> Option<Event> {
        let Event::Site { id, site } = told else { return None };
        ends::inside(&self.proc, site, processes).then_some(Event::Inside { site: *id })
    }

    /// Whether that could be said of a site: it is of pipes alone.
    pub(crate) fn may_be_inside(&self, told: &Event) -> bool {
        matches!(told, Event::Site { site, .. } if ends::is_of_pipes(site))
    }

    /// The process that traces a thread, if one does.
    pub(crate) fn tracer(&self, pid: u32, tid: u32) -> Option<u32> {
        self.proc.tracer(pid, tid)
    }

    /// The threads of a process; none when it is gone.
    pub(crate) fn tids(&self, pid: u32) -> Vec<u32> {
        self.proc.tids(pid)
    }

    /// Whether a thread runs, or wants to.
    pub(crate) fn runs(&self, pid: u32, tid: u32) -> bool {
        self.proc.syscall(pid, tid) == Call::Running
    }

    /// The time limit of the wait of a thread that is in `call` now; `None` where it is
    /// not known.
    pub(crate) fn limit(&self, pid: u32, call: InCall) -> Option<Limit> {
        let (address, real_time) = match limits::told(call)? {
            limits::Told::Endless => return Some(Limit::Endless),
            limits::Told::At { address, real_time } => (address, real_time),
        };
        let mut bytes = [0; limits::TIMESPEC_BYTES];
        Self::memory(pid, address, &mut bytes)?;
        let ahead = match real_time {
            true => limits::real_time_ahead()?,
            false => self.proc.clock_ahead(pid),
        };
        limits::timespec(bytes)?.checked_add_signed(ahead.checked_neg()?).map(Limit::Until)
    }

    /// Inode and offset of memory that the process may share with others; `None` where it
    /// has it for itself.
    pub(crate) fn shared(&mut self, pid: u32, address: u64) -> Option<(u64, u64)> {
        self.shared.at(&self.proc, pid, address)
    }

    /// The bytes of code that end at `pc`.
    pub(crate) fn code_before(&self, pid: u32, pc: u64) -> Option<[u8; CODE_BEFORE]> {
        let mut code = [0; CODE_BEFORE];
        Self::memory(pid, pc.checked_sub(CODE_BEFORE as u64)?, &mut code)?;
        Some(code)
    }

    /// Fills `room` with memory from `sp` up: what there is, up to `limit` bytes, and whether
    /// the stack ends there.
    pub(crate) fn stack<'a>(
        &self,
        pid: u32,
        sp: u64,
        limit: usize,
        room: &'a mut Vec<u8>,
    ) -> Option<(&'a [u8], bool)> {
        if room.len() < limit {
            room.resize(limit, 0);
        }
        let filled = process::read(pid, &mut [(sp, &mut room[..limit])]);
        (filled > 0).then_some((&room[..filled], filled < limit))
    }

    /// Fills `proof` from the memory at its place, and `beyond` from `start` up, at one
    /// moment: how many bytes of `beyond` there are.
    pub(crate) fn stack_beyond(
        &self,
        pid: u32,
        (place, proof): (u64, &mut [u8]),
        (start, beyond): (u64, &mut [u8]),
    ) -> Option<usize> {
        let wanted = proof.len();
        process::read(pid, &mut [(place, proof), (start, beyond)]).checked_sub(wanted)
    }

    /// Fills `into` from the target's memory at `address`.
    fn memory(pid: u32, address: u64, into: &mut [u8]) -> Option<()> {
        let wanted = into.len();
        (process::read(pid, &mut [(address, into)]) == wanted).then_some(())
    }

    /// Reads tables of sockets half as often, so many times over.
    pub(crate) fn save(&mut self, step: u32) {
        self.sockets.saved = step;
    }

    /// What is behind a file descriptor.
    pub(crate) fn fd(&mut self, pid: u32, fd: u64) -> Object {
        match u32::try_from(fd) {
            Ok(fd) => fds::object(&self.proc, &mut self.sockets, pid, fd),
            Err(_) => Object::Unseen,
        }
    }

    /// What an epoll descriptor watches.
    pub(crate) fn epoll(&mut self, pid: u32, fd: u64) -> Object {
        let Ok(fd) = u32::try_from(fd) else { return Object::Unseen };
        match sets::epoll_members(&self.proc, pid, fd) {
            Some((fds, complete)) => self.set(pid, fds, complete),
            None => Object::Unseen,
        }
    }

    /// A ring, and whether anything is outstanding in it. Only true while the thread is in
    /// the call.
    pub(crate) fn ring(&self, pid: u32, fd: u64) -> Object {
        let is_empty = u32::try_from(fd).ok().and_then(|fd| rings::is_empty(&self.proc, pid, fd));
        if is_empty == Some(true) { Object::EmptyRing } else { Object::IoUring }
    }

    /// What a `poll` call watches. Only true while the thread is in the call.
    pub(crate) fn poll(&mut self, pid: u32, address: u64, count: u64) -> Object {
        let (count, complete) = sets::bounded(count);
        let mut bytes = vec![0; count * sets::POLLFD_BYTES];
        match Self::memory(pid, address, &mut bytes) {
            Some(()) => self.set(pid, sets::poll_members(&bytes), complete),
            None if count == 0 => self.set(pid, vec![], complete),
            None => Object::Unseen,
        }
    }

    /// What a `select` call watches for reading and writing. Only true while
    /// the thread is in the call.
    pub(crate) fn select(&mut self, pid: u32, count: u64, sets: [u64; 2]) -> Object {
        let (count, complete) = sets::bounded(count);
        let mut fds = vec![];
        for address in sets.into_iter().filter(|address| *address != 0) {
            let mut bits = vec![0; count.div_ceil(64) * 8];
            if Self::memory(pid, address, &mut bits).is_none() {
                return Object::Unseen;
            }
            fds.extend(sets::select_members(&bits, count));
        }
        self.set(pid, fds, complete)
    }

    fn set(&mut self, pid: u32, mut fds: Vec<u32>, complete: bool) -> Object {
        fds.sort_unstable();
        fds.dedup();
        let mut members: Vec<Object> = vec![];
        for fd in fds {
            let member = fds::object(&self.proc, &mut self.sockets, pid, fd);
            if !members.contains(&member) {
                members.push(member);
            }
        }
        // Beside a connection it would tell nothing.
        if members.len() <= WAKERS && members.iter().all(wakes_a_loop) {
            let held = Held::by(&self.proc, pid);
            for member in &mut members {
                if self.is_own(pid, &held, member) {
                    *member = Object::SelfPipe;
                }
            }
            members.dedup();
        }
        Object::Set { members, complete }
    }

    /// Whether the process, which has these open, holds both ends.
    fn is_own(&mut self, pid: u32, held: &Held, object: &Object) -> bool {
        match object {
            Object::Pipe(inode) => held.both_of_pipe(&self.proc, pid, *inode),
            Object::Unix { inode, .. } => held
                .other_of_pair(*inode)
                .is_some_and(|inode| is_unnamed(&self.sockets.object(&self.proc, pid, inode))),
            _ => false,
        }
    }
}

/// Whether an event loop may use it to wake itself.
fn wakes_a_loop(object: &Object) -> bool {
    matches!(object, Object::Pipe(_) | Object::EventFd | Object::TimerFd) || is_unnamed(object)
}

fn is_unnamed(object: &Object) -> bool {
    matches!(object, Object::Unix { path, listening: false, .. } if path.is_empty())
}

#[cfg(test)]
mod tests;
