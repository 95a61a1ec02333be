//! Sockets by inode, from the tables of a process's network namespace.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::{Duration, Instant};

use procfs::net::{TcpState, UnixState};
use procfs::process::Process;
use whyslow_events::{Object, TcpRole};

use crate::clock;
use crate::proc::Proc;

/// Reading the tables may take this much of our time at most: one part in so many of a
/// long time. A program that opens its connections makes one soon as old as the other.
const READING_SHARE: u32 = 20;
const LONG: Duration = Duration::from_secs(2);
/// Processes whose namespace is remembered at most.
const PROCESSES: usize = 1024;

/// The sockets of each network namespace.
#[derive(Debug, Default)]
pub(super) struct SocketTables {
    namespaces: HashMap<String, Table>,
    /// In which a process was when it was last asked for: the inode of a socket is another
    /// in each.
    of_process: HashMap<u32, String>,
    /// How often their reading is to be halved.
    pub(super) saved: u32,
}

#[derive(Debug)]
struct Table {
    objects: HashMap<u64, Object>,
    /// Not read again before: a table of many connections takes long to read.
    next_reading: Instant,
}

impl SocketTables {
    /// The socket with `inode` in the namespace of `pid`. Reads the tables
    /// again when it is not in them.
    pub(super) fn object(&mut self, proc: &Proc, pid: u32, inode: u64) -> Object {
        let known = self.of_process.get(&pid).and_then(|of| self.namespaces.get(of));
        if let Some(object) = known.and_then(|table| table.objects.get(&inode)) {
            return object.clone();
        }
        let namespace = self.namespace(proc, pid);
        let now = Instant::now();
        let mut due = now.checked_sub(LONG).unwrap_or(now);
        if let Some(table) = self.namespaces.get(&namespace) {
            if let Some(object) = table.objects.get(&inode) {
                return object.clone();
            }
            if now < table.next_reading {
                return Object::Unseen;
            }
            due = due.max(table.next_reading);
        }
        let Some(process) = proc.process(pid) else { return Object::Unseen };
        let before = clock::own_cpu();
        let objects = read_tables(&process);
        let took = clock::own_cpu().saturating_sub(before).max(Duration::from_micros(50));
        let next_reading = due + took * (READING_SHARE << self.saved);
        let object = objects.get(&inode).cloned();
        self.namespaces.insert(namespace, Table { objects, next_reading });
        // A socket in no table is of another family, or neither bound nor connected.
        object.unwrap_or_else(|| Object::Socket("socket".to_owned()))
    }

    /// The namespace that `pid` is in now.
    fn namespace(&mut self, proc: &Proc, pid: u32) -> String {
        let link = fs::read_link(proc.path(pid, "ns/net"));
        let namespace = link.map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
        if self.of_process.len() == PROCESSES {
            self.of_process.clear();
        }
        self.of_process.insert(pid, namespace.clone());
        namespace
    }
}

fn read_tables(process: &Process) -> HashMap<u64, Object> {
    let mut objects = HashMap::new();
    let tcp: Vec<_> = [process.tcp(), process.tcp6()].into_iter().flatten().flatten().collect();
    let listening: HashSet<u16> = tcp
        .iter()
        .filter(|entry| entry.state == TcpState::Listen)
        .map(|entry| entry.local_address.port())
        .collect();
    for entry in &tcp {
        let role = match entry.state {
            TcpState::Listen => TcpRole::Listening,
            _ if listening.contains(&entry.local_address.port()) => TcpRole::Accepted,
            _ => TcpRole::Opened,
        };
        let (local, remote) = (entry.local_address, entry.remote_address);
        objects.insert(entry.inode, Object::Tcp { local, remote, role });
    }
    for entry in [process.udp(), process.udp6()].into_iter().flatten().flatten() {
        let (local, remote) = (entry.local_address, entry.remote_address);
        objects.insert(entry.inode, Object::Udp { local, remote });
    }
    for entry in process.unix().unwrap_or_default() {
        let path = entry.path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        // The kernel shows a listening socket as unconnected, with a name.
        let listening = entry.state == UnixState::UNCONNECTED
            && !path.is_empty()
            && i32::from(entry.socket_type) != libc::SOCK_DGRAM;
        objects.insert(entry.inode, Object::Unix { inode: entry.inode, path, listening });
    }
    objects.remove(&0);
    objects
}
