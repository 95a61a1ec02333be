//! Looking at ourselves: descriptors we made and know.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use whyslow_events::TcpRole;

use super::*;

fn look(fd: &impl AsRawFd) -> Object {
    Inspector::default().fd(std::process::id(), u64::from(fd.as_raw_fd().cast_unsigned()))
}

#[test]
fn sockets_are_told_apart_by_who_opened_them() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    let (server, _) = listener.accept().unwrap();
    let role = |object| match object {
        Object::Tcp { role, .. } => role,
        other => panic!("{other:?}"),
    };
    assert_eq!(role(look(&listener)), TcpRole::Listening);
    assert_eq!(role(look(&client)), TcpRole::Opened);
    assert_eq!(role(look(&server)), TcpRole::Accepted);
    assert_eq!(look(&client).to_string(), format!("tcp {address}"));
}

#[test]
fn other_descriptors_are_named_for_what_they_are() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert!(matches!(look(&udp), Object::Udp { local, .. } if local == udp.local_addr().unwrap()));
    let (unix, _other) = UnixStream::pair().unwrap();
    assert!(matches!(look(&unix), Object::Unix { listening: false, .. }));
    let (reader, _writer) = std::io::pipe().unwrap();
    assert!(matches!(look(&reader), Object::Pipe(_)));
    let file = tempfile::tempfile().unwrap();
    assert!(matches!(look(&file), Object::File(_)));
    let null = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(look(&null), Object::CharDevice("/dev/null".into()));
    assert_eq!(Inspector::default().fd(std::process::id(), 1 << 40), Object::Unseen);
}

#[test]
fn a_poll_without_descriptors_watches_nothing() {
    let set = Inspector::default().poll(std::process::id(), 0, 0);
    assert_eq!(set, Object::Set { members: vec![], complete: true });
}

#[test]
fn our_own_memory_is_read_as_it_is() {
    let bytes = *b"0123456789";
    let end = bytes.as_ptr() as u64 + bytes.len() as u64;
    let code = Inspector::default().code_before(std::process::id(), end);
    assert_eq!(code.as_ref(), Some(b"3456789"));
    let null = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(watched(&[&null]), [look(&null)]);
    let unmapped = Inspector::default().poll(std::process::id(), 8, 1);
    assert_eq!(unmapped, Object::Unseen, "nothing is mapped there");
}

/// What a `poll` for reading from these watches.
fn watched(of: &[&dyn AsRawFd]) -> Vec<Object> {
    let entry = |fd: &&dyn AsRawFd| [fd.as_raw_fd().to_ne_bytes(), [1, 0, 0, 0]].concat();
    let array: Vec<u8> = of.iter().flat_map(entry).collect();
    let count = of.len() as u64;
    match Inspector::default().poll(std::process::id(), array.as_ptr() as u64, count) {
        Object::Set { members, complete: true } => members,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pipe_we_hold_both_ends_of_wakes_ourselves() {
    let (reader, writer) = std::io::pipe().unwrap();
    assert_eq!(watched(&[&reader]), [Object::SelfPipe]);
    let connection = TcpListener::bind("127.0.0.1:0").unwrap();
    // In the order of their numbers, of which others may have freed some.
    let both = watched(&[&reader, &connection]);
    assert!(both.len() == 2 && both.contains(&look(&reader)) && both.contains(&look(&connection)));
    drop(writer);
    assert_eq!(watched(&[&reader]), [look(&reader)]);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_limit_is_read_by_the_clock_of_events() {
    let call = |operation, address| InCall {
        number: Some(202),
        arguments: [0x1000, operation, 0],
        fourth: address,
        pc: 1,
        sp: 2,
    };
    let limit = |call| Inspector::default().limit(std::process::id(), call);
    let now = crate::clock::now().unwrap();
    let in_a_second = |clock| {
        let time = nix::time::clock_gettime(clock).unwrap();
        [time.tv_sec() + 1, time.tv_nsec()]
    };
    for (clock, flag) in
        [(nix::time::ClockId::CLOCK_MONOTONIC, 0), (nix::time::ClockId::CLOCK_REALTIME, 256)]
    {
        let timespec = in_a_second(clock);
        let read = limit(call(9 | 128 | flag, timespec.as_ptr() as u64));
        let Some(Limit::Until(until)) = read else { panic!("{read:?}") };
        // The clocks were read one after the other; wrong by a clock is wrong by years.
        let ahead = until - now;
        assert!((900_000_000..60_000_000_000).contains(&ahead), "{clock:?} {ahead}");
    }
    assert_eq!(limit(call(9, 0)), Some(Limit::Endless));
    assert_eq!(limit(call(9, 8)), None, "nothing is there");
}
