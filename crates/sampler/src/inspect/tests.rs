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
    let (reader, _writer) = std::io::pipe().unwrap();
    let mut wanted = [0; 8];
    wanted[..4].copy_from_slice(&reader.as_raw_fd().to_ne_bytes());
    let inspect = |address, count| Inspector::default().poll(std::process::id(), address, count);
    let members = vec![look(&reader)];
    assert_eq!(inspect(wanted.as_ptr() as u64, 1), Object::Set { members, complete: true });
    assert_eq!(inspect(8, 1), Object::Unseen, "nothing is mapped there");
}
