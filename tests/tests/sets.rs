//! What is waited on through sets that do not live as long as it takes to look at them.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    case::{Case, needs_root},
    report::{sound, time, verdict},
};

/// How long an answer takes: it is there before a look, ...
const SHORT: Duration = Duration::from_micros(500);
/// ... and one in so many is not, even where a table of sockets is long.
const LONG: Duration = Duration::from_millis(40);
const TURNS: usize = 10;

/// Asks over and over for a second, with a connection and a set for each answer, and prints
/// how long it waited for them by its own clock. Every set has another number, as where many
/// threads have one each.
const CLIENT: &str = "\
import selectors, socket, sys, time
others, waited, end = [], 0, time.monotonic() + 1
while time.monotonic() < end:
    with socket.create_connection(('127.0.0.1', int(sys.argv[1]))) as asked:
        asked.sendall(b'?')
        with selectors.EpollSelector() as answers:
            answers.register(asked, selectors.EVENT_READ)
            began = time.monotonic_ns()
            answers.select()
            waited += time.monotonic_ns() - began
        assert asked.recv(1) == b'!'
        others.append(open('/dev/null'))
print(waited)
";

/// A server of another program that answers one after the other; its port.
fn server() -> u16 {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    thread::spawn(move || {
        for (turn, client) in server.incoming().enumerate() {
            let mut client = client.unwrap();
            let after = if turn % TURNS == TURNS / 2 { LONG } else { SHORT };
            if client.read_exact(&mut [0]).is_ok() {
                thread::sleep(after);
                // A client that is gone wants no answer.
                let _ = client.write_all(b"!");
            }
        }
    });
    port
}

#[test]
fn a_set_for_each_request_waits_for_what_the_others_wait_for() {
    needs_root!();
    let case = Case::new();
    let port = server().to_string();
    let command = ["record", "-q", "-o", "r.json", "--", "python3", "-c", CLIENT, &port];
    let finished = case.run(&command).ended_with(0);
    let waited: u64 = finished.stdout().trim().parse().unwrap();
    let report = sound(case.json("r.json"));
    assert_eq!(verdict(&report), ("io-bound", "network"));
    let in_sets: Vec<&Value> = report["waits"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|wait| wait["syscall"] == "epoll_wait")
        .collect();
    let told = in_sets.iter().filter(|wait| wait["state"] == "io.network");
    let sum = |of: &[&Value], key: &str| -> u64 {
        of.iter().map(|wait| wait[key].as_u64().unwrap()).sum()
    };
    let told: Vec<&Value> = told.copied().collect();
    let [all, told] = [&in_sets, &told].map(|of| [sum(of, "total_ns"), sum(of, "count")]);
    // Its clock counts the way to the CPU, too.
    let ours = told[0] + time(&report, "runq");
    assert!(ours * 10 > waited * 9 && told[0] * 10 < waited * 11, "{waited} ns: {in_sets:#?}");
    for (all, told) in all.into_iter().zip(told) {
        assert!((all - told) * 50 <= all, "{told} of {all}: {in_sets:#?}");
    }
    let fallbacks = report["engine"]["fallbacks"].as_array().unwrap();
    let said = |it: &&Value| it["wanted"] == "what is behind each descriptor that is waited on";
    let said = fallbacks.iter().find(said).expect("it says how much is lent");
    assert!(said["got"].as_str().unwrap().contains("taken to be on the like"), "{said}");
}
