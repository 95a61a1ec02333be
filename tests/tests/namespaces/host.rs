//! Programs in namespaces and roots of their own, seen from the host: their
//! files, their sockets and their numbers are not ours.

use std::{fs, process::Command};

use serde_json::Value;

use super::{PYTHON, child_of, compile, hot, record, start, unshare};
use crate::{
    case::{Case, needs_root, skip},
    process::until,
    report::{sound, time},
};

/// Options for everything that a container has of its own but its users.
const CONTAINER: &[&str] =
    &["--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "--net", "--uts", "--ipc"];

/// Copies the program to where no file is outside, gives it an empty `/tmp`, and
/// becomes it.
const MOVE_IN: &str = "\
mount -t tmpfs none /mnt && cp \"$0\" /mnt/rooms && mount -t tmpfs none /tmp && exec /mnt/rooms";

/// A server and its client: which numbers they have, and what they say to each
/// other, is known in there alone.
const TALKS: &str = "\
import fcntl, os, socket, struct, time
def ask(peer):
    peer.send(b'?')
    peer.recv(1)
with socket.socket() as s:
    # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING
    fcntl.ioctl(s, 0x8914, struct.pack('16sh14x', b'lo', 1 | 64))
server = socket.create_server(('127.0.0.1', 0))
print(server.getsockname()[1], flush=True)
if os.fork():
    peer, _ = server.accept()
    while peer.recv(1): time.sleep(0.02); peer.send(b'.')
else:
    peer = socket.create_connection(server.getsockname())
    server.close()
    while True: ask(peer)";

fn until_begun(root: &str) {
    until("the program to begin", || fs::metadata(format!("{root}/tmp/begun")).ok());
}

/// It waits for nothing but a CPU, whoever else wants one.
fn computes(report: &Value) -> bool {
    let ran = time(report, "cpu.user");
    ran > 0 && time(report, "cpu") + time(report, "runq") > time(report, "") * 9 / 10
}

/// Its functions are named by its own file and its own perf map.
fn is_named(report: &Value) {
    assert!(computes(report), "{}", report["ledger"]["process"]);
    assert_eq!(report["ledger"]["threads"][0]["name"], "rooms");
    let hot = hot(report);
    for function in ["compute_at_home", "compiled_at_home"] {
        assert!(hot.contains(&function), "{function}: {hot:?}");
    }
}

#[test]
fn a_program_in_a_container_has_the_names_of_its_own_files() {
    needs_root!();
    let case = Case::new();
    if !compile(&case, "rooms") {
        return;
    }
    let program = case.path("rooms");
    let command = ["sh", "-c", MOVE_IN, program.to_str().unwrap()];
    let container = start(unshare(&case, CONTAINER, &command));
    let pid = child_of(&container.pid());
    until_begun(&format!("/proc/{pid}/root"));
    is_named(&record(&case, "auto", &pid));
    let looked = record(&case, "procfs", &pid);
    assert!(computes(&looked), "{}", looked["ledger"]["process"]);
}

#[test]
fn a_program_in_another_root_has_the_names_of_its_own_files() {
    needs_root!();
    let case = Case::new();
    if !compile(&case, "rooms") {
        return;
    }
    let root = case.path("root");
    fs::create_dir_all(root.join("tmp")).unwrap();
    fs::rename(case.path("rooms"), root.join("rooms")).unwrap();
    let root = root.to_str().unwrap();
    let mut chroot = Command::new("chroot");
    chroot.args([root, "/rooms"]);
    let running = start(chroot);
    until_begun(root);
    is_named(&record(&case, "auto", &running.pid()));
    drop(running);
    let launch = ["record", "-q", "--force", "-o", "r.json", "--", "chroot", root, "/rooms", "500"];
    case.run(&launch).ended_with(0);
    is_named(&sound(case.json("r.json")));
}

#[test]
fn sockets_of_another_network_and_calls_of_its_python_are_named() {
    needs_root!();
    if !fs::exists(PYTHON).unwrap() {
        skip!("no {PYTHON}");
    }
    let case = Case::new();
    case.write("talks.py", TALKS);
    let script = "exec \"$0\" talks.py >port";
    let mut container = start(unshare(&case, CONTAINER, &["sh", "-c", script, PYTHON]));
    let port = case.until_line(&mut container, "port");
    let client = child_of(&child_of(&container.pid()));
    for engine in ["auto", "procfs"] {
        let report = record(&case, engine, &client);
        let waits = report["waits"].as_array().unwrap();
        let is_named = |wait: &&Value| {
            wait["state"] == "io.network"
                && wait["object"] == format!("tcp 127.0.0.1:{port}")
                && wait["where"].as_str().is_some_and(|place| place.starts_with("ask (talks.py:"))
        };
        assert!(waits.iter().find(is_named).is_some(), "{engine}: {waits:#?}");
    }
}
