//! What the object of a wait tells, by what is done with it.

use whyslow_events::{Object, TcpRole};

use crate::State;

/// The family of a socket whose family is not known.
const UNRESOLVED: &str = "socket";

/// Whether it is a socket, or sockets are watched, that no table had: one that was new, or
/// closed.
pub(super) fn is_unresolved(object: &Object) -> bool {
    match object {
        Object::Socket(family) => family == UNRESOLVED,
        Object::Set { members, .. } => {
            let unseen = |member: &Object| matches!(member, Object::Unseen);
            members.iter().any(is_unresolved)
                && members.iter().all(|member| unseen(member) || is_unresolved(member))
        }
        _ => false,
    }
}

/// A read: the peer of a connection we accepted owes us nothing, so a server
/// that reads from it waits for the next request.
pub(super) fn read(object: &Object) -> Option<State> {
    match object {
        accepted if is_accepted(accepted) => Some(State::Idle),
        Object::Set { .. } => polled(object),
        other => written(other),
    }
}

/// A write, or any other call on the object.
pub(super) fn written(object: &Object) -> Option<State> {
    Some(match object {
        Object::File(_) | Object::BlockDevice(_) => State::IoDisk,
        Object::CharDevice(_) => State::IoDevice,
        Object::Terminal(_) => State::IoTerminal,
        Object::Tcp { role: TcpRole::Listening, .. } | Object::Unix { listening: true, .. } => {
            State::Idle
        }
        Object::Tcp { .. } | Object::Udp { .. } => State::IoNetwork,
        Object::Pipe(_)
        | Object::Fifo(_)
        | Object::Unix { .. }
        | Object::EventFd
        | Object::Queue
        | Object::SelfPipe => State::IoIpc,
        Object::TimerFd => State::Sleep,
        Object::SignalFd | Object::Inotify | Object::EmptyRing => State::Idle,
        Object::PidFd => State::Child,
        Object::IoUring | Object::Socket(_) | Object::Anonymous(_) => State::IoOther,
        Object::None
        | Object::Unseen
        | Object::Futex { .. }
        | Object::SharedFutex { .. }
        | Object::Semaphores(_)
        | Object::Set { .. } => return None,
    })
}

/// A `poll`, `select` or `epoll_wait`. Whoever watches a connection it opened
/// waits for an answer; whoever watches only doors and clients is idle.
pub(super) fn polled(object: &Object) -> Option<State> {
    let (members, complete) = match object {
        Object::Set { members, complete } => (members.as_slice(), *complete),
        Object::None => return Some(State::Sleep),
        single => (std::slice::from_ref(single), true),
    };
    if members.is_empty() {
        return complete.then_some(State::Sleep);
    }
    let members = flat(members);
    let any = |is: fn(&Object) -> bool| members.iter().any(|member| is(member));
    let all = |is: fn(&Object) -> bool| members.iter().all(|member| is(member));
    let told = [
        (any(owes_an_answer), State::IoNetwork),
        (any(brings_work), State::Idle),
        (all(|it| is_accepted(it) || is_helper(it)) && any(is_accepted), State::Idle),
        (any(|it| matches!(it, Object::Unseen)), State::Unknown),
        (any(|it| matches!(it, Object::Udp { .. })), State::IoNetwork),
        (any(|it| matches!(it, Object::Terminal(_))), State::IoTerminal),
        (any(|it| matches!(it, Object::PidFd)), State::Child),
        (all(|it| matches!(it, Object::TimerFd)), State::Sleep),
        (all(wakes_itself), State::Idle),
        (all(is_helper), State::IoIpc),
    ];
    match told.into_iter().find(|(holds, _)| *holds) {
        Some((_, State::Unknown)) => None,
        Some((_, state)) => Some(state),
        None => members.first().and_then(|first| read(first)),
    }
}

/// An `epoll` may watch another.
fn flat(members: &[Object]) -> Vec<&Object> {
    members
        .iter()
        .flat_map(|member| match member {
            Object::Set { members, .. } => flat(members),
            other => vec![other],
        })
        .collect()
}

fn owes_an_answer(object: &Object) -> bool {
    match object {
        Object::Tcp { role, .. } => *role == TcpRole::Opened,
        Object::Udp { remote, .. } => remote.port() != 0,
        _ => false,
    }
}

fn brings_work(object: &Object) -> bool {
    matches!(
        object,
        Object::Tcp { role: TcpRole::Listening, .. }
            | Object::Unix { listening: true, .. }
            | Object::SignalFd
            | Object::Inotify
    )
}

/// A Unix socket that was accepted has the path of the one that listened; who connects
/// has none.
fn is_accepted(object: &Object) -> bool {
    match object {
        Object::Unix { path, .. } => !path.is_empty(),
        other => matches!(other, Object::Tcp { role: TcpRole::Accepted, .. }),
    }
}

/// How the program's own threads, signals and timers wake an event loop: one that
/// watches nothing else waits for no answer.
fn wakes_itself(object: &Object) -> bool {
    matches!(object, Object::SelfPipe | Object::EventFd | Object::TimerFd)
}

/// What an event loop watches beside its connections.
fn is_helper(object: &Object) -> bool {
    wakes_itself(object)
        || matches!(object, Object::Pipe(_) | Object::Fifo(_) | Object::Unix { .. } | Object::Queue)
}
