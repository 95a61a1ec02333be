//! Debug files from a server: one on this host, for the test.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use object::Object;
use whyslow_events::{Event, Fallback, Frame};
use whyslow_symbols::{Debuginfod, Symbolizer};

use crate::program::{SPACE, compile, facts, frames_at, stack};

const START: u64 = 0x10_0000;

/// What the server says for a path: these bytes, or nothing at all.
type Answers = HashMap<String, Option<Vec<u8>>>;

/// A server that answers until the test ends.
struct Server {
    url: String,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start(answers: Answers) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        thread::spawn(move || {
            // Connections without an answer stay open.
            let silent = Mutex::new(Vec::new());
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::Relaxed);
                if let Some(stream) = answer(stream, &answers) {
                    silent.lock().unwrap().push(stream);
                }
            }
        });
        Server { url, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Gives the connection back when there is nothing to say.
fn answer(mut stream: TcpStream, answers: &Answers) -> Option<TcpStream> {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let request = lines.next()?.ok()?;
    lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).for_each(drop);
    let (status, body) = match answers.get(request.split(' ').nth(1)?) {
        Some(None) => return Some(stream),
        Some(Some(body)) => ("200 OK", body.as_slice()),
        None => ("404 Not Found", &b"not here"[..]),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    None
}

/// A stripped program, its build id in digits, its debug file, and the address
/// of its function `work`.
struct Stripped {
    path: PathBuf,
    id: String,
    debug: Vec<u8>,
    address: u64,
}

fn stripped(directory: &Path, body: &str) -> Option<Stripped> {
    let source = format!("int work(int n) {{ {body} }} int main(void) {{ return work(1); }}");
    let flags = ["-g", "-O0", "-Wl,--build-id"];
    let path = compile(directory, "cc", &source, &flags)?;
    let whole = fs::read(&path).unwrap();
    let file = object::File::parse(&*whole).unwrap();
    let id: Vec<u8> = file.build_id().unwrap().unwrap().to_vec();
    let address = object::ObjectSymbol::address(&file.symbol_by_name("work").unwrap());
    let debug = directory.join("debug");
    let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
    run(Command::new("objcopy").arg("--only-keep-debug").args([&path, &debug]));
    run(Command::new("strip").arg("--strip-all").arg(&path));
    let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Stripped { path, id, debug: fs::read(debug).unwrap(), address })
}

impl Stripped {
    fn url_path(&self) -> String {
        format!("/buildid/{}/debuginfo", self.id)
    }

    /// What stands at `work`, and what had to be done without.
    fn name(&self, servers: Option<Debuginfod>) -> (Frame, Option<Fallback>) {
        let mut symbolizer = Symbolizer::new(facts()).with_servers(servers);
        let address = START + self.address;
        symbolizer.observe(&Event::Mapping {
            space: SPACE,
            start: START,
            end: START + 0x10_0000,
            file_offset: 0,
            path: self.path.to_str().unwrap().to_owned(),
            build_id: vec![],
        });
        symbolizer.observe(&stack(&[], &[address]));
        let resolved = symbolizer.resolve();
        let mut fallbacks = resolved.iter().filter_map(|event| match event {
            Event::Fallback(fallback) => Some(fallback.clone()),
            _ => None,
        });
        (frames_at(&resolved, address)[0].clone(), fallbacks.next())
    }
}

fn servers(server: &Server, cache: &Path, patience: Duration) -> Option<Debuginfod> {
    let urls = vec![server.url.clone()];
    Some(Debuginfod { urls, cache: cache.to_owned(), patience })
}

const ENOUGH: Duration = Duration::from_secs(60);

#[test]
fn a_debug_file_is_fetched_once_and_kept_where_other_clients_look() {
    let directory = tempfile::tempdir().unwrap();
    let Some(program) = stripped(directory.path(), "return n;") else { return };
    let answers = HashMap::from([(program.url_path(), Some(program.debug.clone()))]);
    let server = Server::start(answers);
    let cache = directory.path().join("cache");
    assert!(program.name(None).0.function.starts_with("program+0x"));
    for _ in 0..2 {
        let (frame, fallback) = program.name(servers(&server, &cache, ENOUGH));
        assert_eq!((frame.function.as_str(), frame.line), ("work", Some(1)));
        assert_eq!(fallback, None);
    }
    assert_eq!(server.asked(), 1);
    let kept = cache.join(&program.id).join("debuginfo");
    assert_eq!(fs::read(kept).unwrap(), program.debug);
}

#[test]
fn what_no_server_has_is_not_asked_for_again_and_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let Some(program) = stripped(directory.path(), "return n;") else { return };
    let server = Server::start(HashMap::new());
    for _ in 0..2 {
        let (frame, fallback) = program.name(servers(&server, directory.path(), ENOUGH));
        assert!(frame.function.starts_with("program+0x"));
        assert_eq!(fallback, None);
    }
    assert_eq!(server.asked(), 1);
}

#[test]
fn a_server_that_is_silent_costs_the_time_that_was_given_and_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let Some(program) = stripped(directory.path(), "return n;") else { return };
    let server = Server::start(HashMap::from([(program.url_path(), None)]));
    let patience = Duration::from_millis(300);
    let begin = Instant::now();
    let (frame, fallback) = program.name(servers(&server, directory.path(), patience));
    assert!((patience..ENOUGH).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    assert!(frame.function.starts_with("program+0x"));
    let error = fallback.expect("a reason").errno;
    assert!(error.contains(&server.url) && error.contains("timeout"), "{error}");
    assert!(!directory.path().join(&program.id).join("debuginfo").exists());
}

#[test]
fn a_debug_file_of_another_program_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (directory.path().join("1"), directory.path().join("2"));
    [&one, &two].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
    let Some(program) = stripped(&one, "return n;") else { return };
    let other = stripped(&two, "return n + 1;").unwrap();
    let server = Server::start(HashMap::from([(program.url_path(), Some(other.debug))]));
    let (frame, _) = program.name(servers(&server, directory.path(), ENOUGH));
    assert!(frame.function.starts_with("program+0x"), "{frame:?}");
}
