//! The table of causes, case by case.

use whyslow_events::{Entry, Object, Pid, Site, TcpRole};

use super::{Cause, judge};
use crate::State;
use crate::script::{listening, tcp};

fn site(entry: Entry, object: Object) -> Site {
    Site { pid: Pid(1), entry, pc: 0, object }
}

fn call(name: &str, object: Object) -> Site {
    site(Entry::Syscall(name.to_owned()), object)
}

#[track_caller]
fn check(site: &Site, frames: &[&str], expect: impl Into<Option<State>>) {
    let expected = expect.into().map_or(Cause::Disagreement, Cause::State);
    assert_eq!(judge(Some(site), frames, false), expected, "{site:?} {frames:?}");
}

fn set(members: &[Object]) -> Object {
    Object::Set { members: members.to_vec(), complete: true }
}

/// Of a connection that came in by way of a path.
fn served() -> Object {
    Object::Unix { inode: 2, path: "/run/server.sock".to_owned(), listening: false }
}

fn unix(listening: bool) -> Object {
    Object::Unix { inode: 1, path: String::new(), listening }
}

fn udp(remote: &str) -> Object {
    Object::Udp { local: "0.0.0.0:53".parse().unwrap(), remote: remote.parse().unwrap() }
}

fn path() -> String {
    "/path".to_owned()
}

#[test]
fn reads_and_writes_by_object() {
    for (object, state) in [
        (Object::File(path()), State::IoDisk),
        (Object::BlockDevice(path()), State::IoDisk),
        (Object::CharDevice(path()), State::IoDevice),
        (Object::Terminal(path()), State::IoTerminal),
        (Object::Pipe(1), State::IoIpc),
        (Object::Fifo(path()), State::IoIpc),
        (unix(false), State::IoIpc),
        (Object::EventFd, State::IoIpc),
        (Object::Queue, State::IoIpc),
        (tcp(TcpRole::Opened), State::IoNetwork),
        (udp("10.0.0.2:53"), State::IoNetwork),
        (Object::TimerFd, State::Sleep),
        (Object::SignalFd, State::Idle),
        (Object::Inotify, State::Idle),
        (Object::PidFd, State::Child),
        (Object::IoUring, State::IoOther),
        (Object::Socket("netlink".to_owned()), State::IoOther),
        (Object::Anonymous("[userfaultfd]".to_owned()), State::IoOther),
        (listening(), State::Idle),
        (Object::Unseen, State::Unknown),
    ] {
        for name in ["read", "write", "recvmsg", "sendto", "preadv2"] {
            check(&call(name, object.clone()), &[], state);
        }
    }
}

#[test]
fn a_server_waits_for_requests_but_not_to_get_rid_of_answers() {
    let client = || tcp(TcpRole::Accepted);
    check(&call("read", client()), &[], State::Idle);
    check(&call("recvfrom", client()), &[], State::Idle);
    check(&call("poll", set(&[client()])), &[], State::Idle);
    check(&call("write", client()), &[], State::IoNetwork);
    check(&call("sendmsg", client()), &["sk_stream_wait_memory", "tcp_sendmsg"], State::IoNetwork);
    check(&call("accept4", listening()), &["inet_csk_accept"], State::Idle);
    check(&call("accept", unix(true)), &[], State::Idle);
    check(&call("recvmsg", served()), &["unix_stream_read_generic"], State::Idle);
    check(&call("write", served()), &["sock_alloc_send_pskb"], State::IoIpc);
}

#[test]
fn calls_that_tell_by_themselves() {
    for (name, state) in [
        ("openat", State::IoDisk),
        ("fsync", State::IoDisk),
        ("getdents64", State::IoDisk),
        ("execve", State::IoDisk),
        ("nanosleep", State::Sleep),
        ("clock_nanosleep", State::Sleep),
        ("wait4", State::Child),
        ("vfork", State::Child),
        ("pause", State::Idle),
        ("rt_sigtimedwait", State::Idle),
        ("flock", State::LockKernel),
        ("fcntl", State::LockKernel),
        ("mq_timedreceive", State::IoIpc),
        ("io_getevents", State::IoDisk),
        ("io_uring_enter", State::IoOther),
        ("exit_group", State::IoOther),
        ("munmap", State::Memory),
        ("connect", State::IoNetwork),
        ("bpf", State::Unknown),
    ] {
        check(&call(name, Object::None), &[], state);
    }
    check(&call("io_uring_enter", Object::IoUring), &["io_cqring_wait"], State::IoOther);
    check(&call("io_uring_enter", Object::EmptyRing), &["io_cqring_wait"], State::Idle);
    check(&call("connect", Object::Unseen), &[], State::IoNetwork);
    check(&call("connect", Object::Unseen), &["unix_wait_for_peer"], State::IoIpc);
    check(&call("connect", unix(false)), &[], State::IoIpc);
    check(&call("openat", Object::Fifo(path())), &["wait_for_partner"], State::IoIpc);
    check(&call("openat", Object::None), &["wait_for_partner"], State::IoIpc);
    check(&site(Entry::Fault, Object::None), &[], State::Memory);
}

#[test]
fn polls_by_what_they_watch() {
    let opened = || tcp(TcpRole::Opened);
    let accepted = || tcp(TcpRole::Accepted);
    for (members, state) in [
        (vec![], State::Sleep),
        (vec![opened()], State::IoNetwork),
        (vec![listening(), accepted(), opened()], State::IoNetwork),
        (vec![udp("10.0.0.2:53"), Object::EventFd], State::IoNetwork),
        (vec![udp("0.0.0.0:0")], State::IoNetwork),
        (vec![udp("0.0.0.0:0"), listening()], State::Idle),
        (vec![listening(), Object::EventFd], State::Idle),
        (vec![accepted(), Object::EventFd, Object::TimerFd], State::Idle),
        (vec![unix(true), Object::Pipe(1)], State::Idle),
        (vec![served(), Object::EventFd], State::Idle),
        (vec![served(), opened()], State::IoNetwork),
        (vec![Object::SignalFd, Object::Pipe(1)], State::Idle),
        (vec![Object::EventFd], State::Idle),
        (vec![Object::SelfPipe, Object::EventFd], State::Idle),
        (vec![Object::SelfPipe, Object::Pipe(1)], State::IoIpc),
        (vec![Object::SelfPipe, opened()], State::IoNetwork),
        (vec![Object::Pipe(1), unix(false)], State::IoIpc),
        (vec![Object::TimerFd], State::Sleep),
        (vec![Object::TimerFd, Object::EventFd], State::Idle),
        (vec![Object::Terminal(path()), Object::TimerFd], State::IoTerminal),
        (vec![Object::PidFd, Object::Pipe(1)], State::Child),
        (vec![set(&[listening()]), Object::EventFd], State::Idle),
        (vec![Object::CharDevice(path())], State::IoDevice),
        (vec![Object::Unseen, Object::EventFd], State::Unknown),
    ] {
        for name in ["epoll_wait", "ppoll", "pselect6"] {
            check(&call(name, set(&members)), &["schedule_hrtimeout_range"], state);
        }
    }
    let cut_off = Object::Set { members: vec![], complete: false };
    check(&call("poll", cut_off), &[], State::Unknown);
    check(&call("poll", Object::None), &[], State::Sleep);
    check(&call("poll", Object::Unseen), &[], State::Unknown);
}

#[test]
fn futexes() {
    let futex =
        |operation| call("futex", Object::Futex { address: 0x1000, operation, expected: 2 });
    check(&futex(6), &[], State::LockUser);
    check(&futex(13), &[], State::LockUser);
    assert_eq!(judge(Some(&futex(9)), &[], false), Cause::Handover);
    assert_eq!(judge(Some(&futex(11)), &[], false), Cause::Handover);
    let shared = |operation| Object::SharedFutex { inode: 7, offset: 8, operation, expected: 2 };
    check(&call("futex", shared(6)), &[], State::LockUser);
    assert_eq!(judge(Some(&call("futex", shared(9))), &[], false), Cause::Handover);
    let semaphores = call("semtimedop", Object::Semaphores(3));
    assert_eq!(judge(Some(&semaphores), &[], false), Cause::Handover);
    assert_eq!(judge(Some(&futex(9)), &[], true), Cause::State(State::LockGil));
    assert_eq!(judge(Some(&call("futex", Object::Unseen)), &[], false), Cause::Handover);
}

#[test]
fn locks_inside_the_kernel_override() {
    let write = call("write", Object::File(path()));
    check(&write, &["schedule", "rwsem_down_write_slowpath", "down_write"], State::LockKernel);
    check(&call("unlink", Object::None), &["__mutex_lock.constprop.0"], State::LockKernel);
    check(&call("mmap", Object::None), &["rwsem_down_write_slowpath"], State::LockKernel);
    check(&site(Entry::Fault, Object::None), &["rwsem_down_read_slowpath"], State::LockKernel);
    // Farther out than what it really waits for.
    check(&write, &["io_schedule", "folio_wait_bit", "down_write"], State::IoDisk);
}

#[test]
fn frames_tell_where_call_and_object_do_not() {
    let read = call("read", Object::Unseen);
    check(&read, &["schedule", "io_schedule", "folio_wait_bit_common"], State::IoDisk);
    check(&read, &["schedule", "sk_wait_data", "tcp_recvmsg"], State::IoNetwork);
    for pipe in ["pipe_read", "anon_pipe_read", "fifo_pipe_read"] {
        check(&read, &["schedule", pipe], State::IoIpc);
    }
    check(&read, &["unix_stream_read_generic"], State::IoIpc);
    check(&read, &["wait_woken", "n_tty_read"], State::IoTerminal);
    for entry in [Entry::UnknownSyscall, Entry::Unseen] {
        let site = site(entry, Object::None);
        check(&site, &["schedule", "do_nanosleep", "hrtimer_nanosleep"], State::Sleep);
        check(&site, &["schedule", "do_wait"], State::Child);
        check(&site, &["schedule", "do_wait_intr_irq"], State::Unknown);
        let in_futex = judge(Some(&site), &["futex_wait_queue", "futex_wait"], false);
        assert_eq!(in_futex, Cause::Handover);
        check(&site, &["ptrace_stop", "get_signal"], State::Stopped);
        check(&site, &["wait_woken"], State::IoOther);
        check(&site, &["wait_woken", "sk_wait_data", "tcp_recvmsg"], State::IoNetwork);
        check(&site, &["io_schedule", "filemap_fault", "asm_exc_page_fault"], State::Memory);
        check(&site, &[], State::Unknown);
    }
    assert_eq!(judge(None, &["io_schedule"], false), Cause::State(State::IoDisk));
    assert_eq!(judge(None, &[], false), Cause::State(State::Unknown));
}

#[test]
fn evidence_that_disagrees_is_not_guessed() {
    check(&call("read", Object::File(path())), &["pipe_read"], None);
    check(&call("read", tcp(TcpRole::Opened)), &["io_schedule"], None);
    check(&call("nanosleep", Object::None), &["tcp_recvmsg"], None);
    // A page fault in the midst of a call is no disagreement.
    check(&call("read", Object::Pipe(1)), &["io_schedule", "asm_exc_page_fault"], State::IoIpc);
    check(&site(Entry::Fault, Object::None), &["io_schedule"], State::Memory);
}
