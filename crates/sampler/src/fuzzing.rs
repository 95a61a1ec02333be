//! The parsers of outside bytes, as the fuzz targets call them: each takes
//! anything, and what it makes of it is dropped.

use procfs::net::{TcpNetEntries, UdpNetEntries, UnixNetEntries};
use procfs::process::{Schedstat, Stat};
use procfs::{FromBufRead, FromBufReadSI, FromRead, current_system_info};

use crate::inspect::fuzzing as inspect;
use crate::perf::kernel_types;
use crate::perf::record::{Kind, parse};
use crate::proc::cpu_list;
use crate::target::maps::executable;

/// A record of the ring, read as every kind of event may write it.
pub fn ring_record(bytes: &[u8]) {
    for kind in
        [Kind::Clock, Kind::Switch, Kind::Stack, Kind::Waking, Kind::Told, Kind::SideRecords]
    {
        let _ = parse(bytes, |_| Some(kind));
    }
}

/// A parser of something under `/proc`, and what it reads.
pub type Parser = (&'static str, fn(&[u8]));

/// Every parser of what we read under `/proc`.
pub const PROC: &[Parser] = &[
    ("stat", stat),
    ("schedstat", |bytes| drop(Schedstat::from_read(bytes))),
    ("syscall", |bytes| inspect::syscall(&String::from_utf8_lossy(bytes))),
    ("maps", |bytes| drop(executable(bytes))),
    ("net/tcp", |bytes| drop(TcpNetEntries::from_buf_read(bytes, current_system_info()))),
    ("net/udp", |bytes| drop(UdpNetEntries::from_buf_read(bytes, current_system_info()))),
    ("net/unix", |bytes| drop(UnixNetEntries::from_buf_read(bytes))),
    ("cpu list", |bytes| drop(cpu_list(&String::from_utf8_lossy(bytes)))),
    ("fd", |bytes| inspect::link(&String::from_utf8_lossy(bytes))),
    ("fdinfo", |bytes| inspect::fdinfo(&String::from_utf8_lossy(bytes))),
    ("pollfd", inspect::sets),
    ("btf", |bytes| {
        let _ = kernel_types(bytes);
    }),
];

/// The name in it is a program's choice, and the numbers anybody's; the frame
/// around them is the kernel's, and the parser relies on it.
fn stat(bytes: &[u8]) {
    let (name, rest) = bytes.split_at(bytes.iter().rposition(|b| *b == b')').unwrap_or(0));
    let line = [b"1 (", name, b") S ", rest.get(1..).unwrap_or_default()].concat();
    let _ = Stat::from_read(line.as_slice());
}
