//! From the registers of a thread that goes to wait to the site it waits at.

use rustc_hash::FxHashMap;
use whyslow_events::{Entry, Event, Object, Pid, Site, SiteId, SpaceId, Tid};

use super::calls::{CallSites, KernelCalls};
use super::interner::{Sites, halves};
use crate::arch::{Registers, Subject, subject_of, syscall_name};
use crate::clock;
use crate::inspect::{self, InCall, Inspector};

/// How long we believe that a descriptor stands for the same object, ns.
const FD_BELIEVED: u64 = 50_000_000;
/// The same for what an epoll descriptor watches: longer to read, and it
/// changes in its members more than in their kind.
const EPOLL_BELIEVED: u64 = 1_000_000_000;
/// With many sites, each is looked at less often, ns for each site.
const PER_SITE: u64 = 100_000;
/// What takes long to tell holds for so many times as long: a set has many members.
const PER_TELLING: u32 = 100;

/// Beliefs are halved in number so often at most: a descriptor that is another by then
/// would be taken for what it was.
const MOST_SAVED: u32 = 2;

/// Calls that do not return to the program that makes them.
const ENDING: [&str; 4] = ["execve", "execveat", "exit", "exit_group"];

/// What tells one site from another without looking at the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    pid: u32,
    pc: u64,
    call: Call,
    subject: [u64; 3],
}

/// What a thread is in the kernel for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Number(u32),
    Unknown,
    Fault,
}

impl Call {
    fn entry(self) -> Entry {
        match self {
            Call::Number(number) => syscall_name(number)
                .map_or(Entry::UnknownSyscall, |name| Entry::Syscall(name.to_owned())),
            Call::Unknown => Entry::UnknownSyscall,
            Call::Fault => Entry::Fault,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Cached {
    id: SiteId,
    seen: bool,
    checked: u64,
    /// How long it took to tell, times [`PER_TELLING`], ns.
    dear: u64,
}

/// A wait, as far as it could be told when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Its site.
    pub(crate) site: SiteId,
    /// A look at the blocked thread would tell more.
    pub(crate) wants_look: bool,
}

/// Tells sites, and keeps what it told.
#[derive(Debug)]
pub(crate) struct Waits {
    kernel: KernelCalls,
    calls: CallSites,
    inspector: Inspector,
    sites: Sites,
    cache: FxHashMap<Key, Cached>,
    /// How often what is asked of the host is to be halved.
    saved: u32,
}

impl Waits {
    pub(crate) fn new(kernel: KernelCalls) -> Self {
        Waits {
            kernel,
            calls: CallSites::default(),
            inspector: Inspector::default(),
            sites: Sites::default(),
            cache: FxHashMap::default(),
            saved: 0,
        }
    }

    /// Asks the host half as often, so many times over, what a descriptor stands for.
    pub(crate) fn save(&mut self, step: u32) {
        self.saved = step;
        self.inspector.save(step);
    }

    /// The site of a wait that begins at `now` with these registers and, if a
    /// chain was taken, this kernel stack. New sites are defined through `define`.
    pub(crate) fn begin(
        &mut self,
        now: u64,
        (pid, space): (Pid, SpaceId),
        registers: &Registers,
        kernel_stack: Option<&[u64]>,
        define: impl FnMut(Event),
    ) -> Wait {
        let call = if registers.in_syscall() {
            let in_stack = kernel_stack.and_then(|stack| self.kernel.of_stack(stack));
            let inspector = &self.inspector;
            let code = || inspector.code_before(pid.0, registers.pc);
            self.calls
                .number(space, registers.pc, in_stack, code)
                .map_or(Call::Unknown, Call::Number)
        } else {
            Call::Fault
        };
        self.site(now, pid, call, registers.pc, registers.arguments, false, define)
    }

    /// The kernel and user halves of a call chain that was taken at a switch, without what
    /// records that.
    pub(crate) fn halves_at_switch(&self, chain: &[u64]) -> (Vec<u64>, Vec<u64>) {
        let (mut kernel, user) = halves(chain);
        self.kernel.end_at_switch(&mut kernel);
        (kernel, user)
    }

    /// Whether the kernel half of a stack is in a call that does not return to the program.
    pub(crate) fn ends_program(&self, kernel: &[u64]) -> bool {
        let name = self.kernel.of_stack(kernel).and_then(syscall_name);
        name.is_some_and(|name| ENDING.contains(&name))
    }

    /// Looks at a thread that is blocked now: its site, if it could be read, and whether
    /// another look would tell more.
    pub(crate) fn look(
        &mut self,
        now: u64,
        (pid, space): (Pid, SpaceId),
        tid: u32,
        define: impl FnMut(Event),
    ) -> Option<Wait> {
        let call = self.inspector.call(pid.0, tid)?;
        Some(self.looked(now, (pid, space), call, define))
    }

    /// The same of a thread that was looked at and is in `call`.
    pub(crate) fn looked(
        &mut self,
        now: u64,
        (pid, space): (Pid, SpaceId),
        InCall { number, arguments, pc, .. }: InCall,
        define: impl FnMut(Event),
    ) -> Wait {
        let call = match number {
            Some(number) => {
                self.calls.number(space, pc, Some(number), || None);
                Call::Number(number)
            }
            None => Call::Fault,
        };
        self.site(now, pid, call, pc, arguments, true, define)
    }

    /// The same of one that was in `call` and may be so no more.
    pub(crate) fn told(
        &mut self,
        now: u64,
        (pid, space): (Pid, SpaceId),
        (call, pc, arguments): (Call, u64, [u64; 3]),
        define: impl FnMut(Event),
    ) -> Wait {
        if let Call::Number(number) = call {
            self.calls.number(space, pc, Some(number), || None);
        }
        self.site(now, pid, call, pc, arguments, false, define)
    }

    /// The site of threads of `pid` that a signal has stopped.
    pub(crate) fn stopped(&mut self, pid: Pid, define: impl FnMut(Event)) -> SiteId {
        self.place(Site { pid, entry: Entry::Stopped, pc: 0, object: Object::None }, define)
    }

    /// The site of threads of `pid` that sleep in the kernel function for which `pc` stands.
    pub(crate) fn in_channel(&mut self, pid: Pid, pc: u64, define: impl FnMut(Event)) -> SiteId {
        self.place(Site { pid, entry: Entry::Unseen, pc, object: Object::None }, define)
    }

    fn place(&mut self, site: Site, mut define: impl FnMut(Event)) -> SiteId {
        let (id, new) = self.sites.intern(&site);
        if new {
            define(Event::Site { id, site });
        }
        id
    }

    /// What a thread is doing that is asked again and again.
    pub(crate) fn call_again(&mut self, pid: Pid, tid: Tid) -> inspect::Call {
        self.inspector.call_again(pid.0, tid.0)
    }

    /// Reads from outside.
    pub(crate) fn inspector(&self) -> &Inspector {
        &self.inspector
    }

    /// Forgets a space that is gone.
    pub(crate) fn remove(&mut self, pid: Pid, space: SpaceId) {
        self.calls.remove(space);
        self.sites.forget(pid);
        self.cache.retain(|key, _| key.pid != pid.0);
    }

    #[expect(clippy::too_many_arguments, reason = "each is a part of the one question")]
    fn site(
        &mut self,
        now: u64,
        pid: Pid,
        call: Call,
        pc: u64,
        arguments: [u64; 3],
        blocked_now: bool,
        mut define: impl FnMut(Event),
    ) -> Wait {
        let (subject, waits_on) = match call {
            Call::Number(number) => (subject_of(number), identify(subject_of(number), arguments)),
            Call::Unknown | Call::Fault => (Subject::None, [0; 3]),
        };
        // Only a look tells whether a ring owes an answer, and each look anew.
        let by_look = subject == Subject::IoUring;
        // A fault can be anywhere: its address makes no site of its own.
        let pc = if call == Call::Fault { 0 } else { pc };
        let key = Key { pid: pid.0, pc, call, subject: waits_on };
        let by_pointer = matches!(subject, Subject::Poll | Subject::Select);
        let cached = self.cache.get(&key).copied().filter(|_| !(by_look && blocked_now));
        if let Some(cached) = cached {
            let fresh = now.saturating_sub(cached.checked) < self.believed(subject, cached.dear);
            // What was out of reach before is worth another look at a blocked thread.
            let settled = fresh && (cached.seen || !blocked_now);
            if settled || (by_pointer && !blocked_now) {
                let wants_look = !cached.seen || by_look || (by_pointer && !fresh);
                return Wait { site: cached.id, wants_look };
            }
        }
        let before = clock::own_cpu();
        let object = match self.object(pid, subject, arguments, blocked_now) {
            object if blocked_now || !may_be_over(&object) => object,
            _ => Object::Unseen,
        };
        let dear =
            u64::try_from((clock::own_cpu().saturating_sub(before) * PER_TELLING).as_nanos())
                .unwrap_or(u64::MAX);
        let seen = is_told(&object) && call != Call::Unknown;
        if let Some(cached) = cached
            && !seen
        {
            self.leave_for_now(&key, now);
            // Where it was seen before, it is gone too fast to look again.
            return Wait { site: cached.id, wants_look: !cached.seen };
        }
        let site = Site { pid, entry: call.entry(), pc, object };
        let (id, new) = self.sites.intern(&site);
        if new {
            define(Event::Site { id, site });
        }
        if !(by_look && blocked_now) {
            self.cache.insert(key, Cached { id, seen, checked: now, dear });
        }
        Wait { site: id, wants_look: !seen || (by_look && !blocked_now) }
    }

    fn object(
        &mut self,
        pid: Pid,
        subject: Subject,
        [a, b, c]: [u64; 3],
        blocked_now: bool,
    ) -> Object {
        match subject {
            Subject::None => Object::None,
            Subject::Fd => self.inspector.fd(pid.0, a),
            Subject::Epoll => self.inspector.epoll(pid.0, a),
            // Only the kernel knows at once what is behind a pointer.
            Subject::Poll if blocked_now || b == 0 => self.inspector.poll(pid.0, a, b),
            Subject::Select if blocked_now || a == 0 => self.inspector.select(pid.0, a, [b, c]),
            Subject::Poll | Subject::Select => Object::Unseen,
            Subject::Futex => {
                let (operation, expected) = (futex_operation(b), futex_expected(c));
                let shared = if b & PRIVATE == 0 { self.inspector.shared(pid.0, a) } else { None };
                match shared {
                    Some((inode, offset)) => {
                        Object::SharedFutex { inode, offset, operation, expected }
                    }
                    None => Object::Futex { address: a, operation, expected },
                }
            }
            Subject::Queue => Object::Queue,
            Subject::Semaphores => Object::Semaphores(a),
            Subject::IoUring if blocked_now => self.inspector.ring(pid.0, a),
            Subject::IoUring => Object::IoUring,
        }
    }

    /// Where it is to be saved, what could not be told is not asked again at once.
    fn leave_for_now(&mut self, key: &Key, now: u64) {
        if self.saved > 0
            && let Some(cached) = self.cache.get_mut(key)
        {
            cached.checked = now;
        }
    }

    /// How long an answer about such a subject holds, ns; one about a set that was `dear`,
    /// so long at least.
    fn believed(&self, subject: Subject, dear: u64) -> u64 {
        let many = self.cache.len() as u64 * PER_SITE;
        let believed = match subject {
            Subject::Fd => FD_BELIEVED.max(many),
            Subject::Poll | Subject::Select => FD_BELIEVED.max(many).max(dear),
            Subject::Epoll => EPOLL_BELIEVED.max(many).max(dear),
            Subject::None
            | Subject::Futex
            | Subject::Queue
            | Subject::Semaphores
            | Subject::IoUring => u64::MAX,
        };
        believed.saturating_mul(1 << self.saved.min(MOST_SAVED))
    }
}

/// Whether what was looked at when the wait had begun may have been taken apart since: a set
/// that watches nothing, or only sockets that are closed, or not open yet.
fn may_be_over(object: &Object) -> bool {
    let is_closed = |member: &Object| matches!(member, Object::Unseen | Object::Socket(_));
    matches!(object, Object::Set { members, .. } if members.iter().all(is_closed))
}

/// Whether anything of it is known.
fn is_told(object: &Object) -> bool {
    match object {
        Object::Unseen => false,
        Object::Set { members, .. } => members[..] != [Object::Unseen],
        _ => true,
    }
}

/// The arguments that tell what is waited on from what is merely passed.
fn identify(subject: Subject, [a, b, c]: [u64; 3]) -> [u64; 3] {
    match subject {
        Subject::None => [0; 3],
        Subject::Fd | Subject::Epoll | Subject::Queue | Subject::Semaphores | Subject::IoUring => {
            [a, 0, 0]
        }
        Subject::Poll => [a, b, 0],
        Subject::Select => [a, b, c],
        Subject::Futex => {
            [a, b & PRIVATE | u64::from(futex_operation(b)), futex_expected(c).into()]
        }
    }
}

/// `FUTEX_PRIVATE_FLAG`: no other process waits there (linux/futex.h).
const PRIVATE: u64 = 0x80;

/// The operation without `FUTEX_PRIVATE_FLAG` and `FUTEX_CLOCK_REALTIME` (linux/futex.h).
fn futex_operation(argument: u64) -> u32 {
    (argument & 0x7f) as u32
}

/// The expected value as far as it tells locks from counters: 0, 1, 2, or more.
fn futex_expected(argument: u64) -> u32 {
    (argument as u32).min(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(members: &[Object]) -> Object {
        Object::Set { members: members.to_vec(), complete: true }
    }

    #[test]
    fn a_set_that_was_read_late_and_watches_nothing_tells_nothing() {
        let closed = Object::Socket("socket".to_owned());
        assert!(may_be_over(&set(&[])) && may_be_over(&set(&[closed.clone(), Object::Unseen])));
        assert!(!may_be_over(&set(&[closed, Object::EventFd])) && !may_be_over(&Object::None));
    }

    #[test]
    fn a_set_of_which_no_member_was_read_is_worth_another_look() {
        assert!(!is_told(&Object::Unseen) && !is_told(&set(&[Object::Unseen])));
        assert!(is_told(&set(&[])) && is_told(&set(&[Object::Unseen, Object::EventFd])));
    }
}
