//! Servers that wait for work in ways that look like work.

use std::{fs, os::unix::net::UnixStream, process::Command};

use crate::{
    case::{Case, needs_root},
    process::{Process, until},
    report::{share, sound, time, verdict},
};

/// Answers one connection, of which it waits for the first request, while another thread
/// looks after things now and then.
const SERVER: &str = "\
import socket, threading, time
def look_after():
    while True:
        time.sleep(0.25)
threading.Thread(target=look_after, daemon=True).start()
with socket.socket(socket.AF_UNIX) as door:
    door.bind('door')
    door.listen()
    client = door.accept()[0]
client.recv(1)
";

/// Waits for an answer of a ring, of which it asks one byte of a pipe, or nothing.
const RING: &str = "\
import ctypes, mmap, os, struct, sys
call = ctypes.CDLL(None, use_errno=True).syscall
params = ctypes.create_string_buffer(120)
ring = call(425, 1, params)
if ring < 0:
    sys.exit(os.strerror(ctypes.get_errno()))
asked = int(sys.argv[1])
if asked:
    reader, writer = os.pipe()
    room = ctypes.create_string_buffer(1)
    tail, array = struct.unpack_from('I', params, 44)[0], struct.unpack_from('I', params, 64)[0]
    requests = mmap.mmap(ring, 64, offset=0x10000000)
    queue = mmap.mmap(ring, array + 4)
    struct.pack_into('BBHiQQI', requests, 0, 22, 0, 0, reader, 0, ctypes.addressof(room), 1)
    struct.pack_into('I', queue, array, 0)
    struct.pack_into('I', queue, tail, 1)
open('ready', 'w').close()
call(426, ring, asked, 1, 1, None, 0)
";

/// A worker waits for its master's word to end, and the master for a client.
const WORKER: &str = "\
import os, socket
reader, writer = os.pipe()
if os.fork() == 0:
    os.close(writer)
    os.read(reader, 1)
    os._exit(0)
with socket.socket(socket.AF_UNIX) as door:
    door.bind('door')
    door.listen()
    door.accept()
";

/// Runs in the folder.
fn python(case: &Case, arguments: &[&str]) -> Process {
    let mut command = Command::new("python3");
    command.arg("-c").args(arguments).current_dir(case.path("."));
    Process::start(command)
}

/// Waits until `pid`, which is `target` or its child, is in the system call with this number.
fn until_in(target: &mut Process, pid: &str, number: &str) {
    until("the call", || {
        target.expect_running();
        let call = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
        (call.split(' ').next() == Some(number)).then_some(())
    });
}

#[test]
fn a_server_that_is_asked_by_way_of_a_path_waits_for_work_whoever_beats_time_in_it() {
    needs_root!();
    let case = Case::new();
    let mut server = python(&case, &[SERVER]);
    let _client = until("the server's door", || {
        server.expect_running();
        UnixStream::connect(case.path("door")).ok()
    });
    let recvfrom = "45";
    let pid = server.pid();
    until_in(&mut server, &pid, recvfrom);
    case.run(&["record", "-q", "-p", &pid, "-d", "1s", "-o", "r.json"]).ended_with(0);
    let report = sound(case.json("r.json"));
    assert_eq!(verdict(&report), ("idle", "work"), "{}", report["bottleneck"]);
    assert!(share(&report, "sleep") < 0.01, "{}", report["bottleneck"]);
}

#[test]
fn a_worker_that_waits_for_its_masters_word_does_not_wait_for_other_programs() {
    needs_root!();
    let case = Case::new();
    let mut master = python(&case, &[WORKER]);
    let (read, accept4) = ("0", "288");
    let pid = master.pid();
    until_in(&mut master, &pid, accept4);
    let worker = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    until_in(&mut master, worker.trim(), read);
    case.run(&["record", "-q", "-p", &pid, "-d", "500ms", "-o", "r.json"]).ended_with(0);
    let report = sound(case.json("r.json"));
    assert_eq!(verdict(&report), ("idle", "work"), "{}", report["bottleneck"]);
    assert!(time(&report, "io.ipc") > 0, "{}", report["ledger"]["process"]);
}

#[test]
fn a_ring_that_owes_no_answer_is_waited_on_for_work() {
    needs_root!();
    for (asked, told) in [("0", "idle"), ("1", "io.other")] {
        let case = Case::new();
        let mut target = python(&case, &[RING, asked]);
        let ready = until("the ring", || match target.has_ended() {
            true => Some(false),
            false => fs::exists(case.path("ready")).ok().filter(|it| *it),
        });
        if !ready {
            println!("NOTE no io_uring here");
            return;
        }
        let io_uring_enter = "426";
        let pid = target.pid();
        until_in(&mut target, &pid, io_uring_enter);
        case.run(&["record", "-q", "-p", &pid, "-d", "500ms", "-o", "r.json"]).ended_with(0);
        let report = sound(case.json("r.json"));
        assert!(share(&report, told) > 0.9, "{asked} asked: {}", report["bottleneck"]);
    }
}
