//! Servers under load: PostgreSQL, nginx and redis, with data folders of their own.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::PathBuf,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;

use super::{Frames, record};
use crate::{
    case::{Case, NOBODY, needs_root, skip},
    process::{Process, until},
};

/// More requests than a test lasts for.
const REQUESTS: &str = "100000000";
/// What makes a server of databases sort, hash, match and format.
const QUERIES: &str = "\
select md5(a::text), count(*) from generate_series(1, 3000) a group by 1 order by 1;
select a, a::numeric / 7 from generate_series(1, 3000) a where a::text ~ '[1-3]7' order by 2;
";
/// Compresses what it sends over TLS, and is its own upstream.
const NGINX: &str = "
daemon off; worker_processes 1; user root; pid nginx.pid; error_log nginx.log;
events {}
http {
    access_log off; gzip on; gzip_types *; gzip_proxied any; keepalive_requests 1000000;
    client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
    server { listen unix:upstream; location / { root .; } }
    server {
        listen unix:socket ssl; ssl_certificate certificate; ssl_certificate_key key;
        location / { proxy_pass http://unix:upstream; }
    }
}
";

/// A server that ends as it should, with all its processes and what it shares.
struct Server(Process);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.signal(Signal::SIGINT);
        until("a server to end", || self.0.has_ended().then_some(()));
    }
}

impl Server {
    /// Starts `command` in the folder of the test, and waits until it is `ready`.
    fn start(case: &Case, mut command: Command, ready: impl Fn() -> bool) -> Server {
        command.current_dir(case.path(".")).stdin(Stdio::null());
        let mut server = Server(Process::start(command));
        until("a server", || {
            server.0.expect_running();
            ready().then_some(())
        });
        server
    }

    /// Its last child.
    fn child(&self) -> String {
        let pid = self.0.pid();
        let children = format!("/proc/{pid}/task/{pid}/children");
        let last =
            || fs::read_to_string(&children).ok()?.split_whitespace().last().map(str::to_owned);
        until("a child", last)
    }
}

/// What a program of PostgreSQL does as an ordinary user: it refuses to be root.
fn postgresql(folder: &std::path::Path, case: &Case, name: &str) -> Command {
    let mut command = Command::new(folder.join(name));
    command.uid(NOBODY).gid(NOBODY).current_dir(case.path(".")).stdin(Stdio::null());
    command
}

/// Where the newest PostgreSQL is.
fn postgresql_folder() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let folders = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    folders.filter(|folder| folder.join("postgres").exists()).max()
}

fn finish(command: Command) {
    Process::start(command).finish().ended_with(0);
}

/// Holds what was recorded to what gdb names in the process `pid`; these functions were seen.
fn check(pid: &str, folded: &str, functions: &[&str]) {
    let frames = Frames::read(pid, folded);
    if !frames.are_all_that_gdb_names(pid) {
        skip!("no gdb");
    }
    assert!(functions.iter().all(|name| frames.named.contains(*name)), "{frames:#x?}");
}

#[test]
fn postgresql_under_pgbench() {
    needs_root!();
    let Some(folder) = postgresql_folder() else { skip!("no postgres") };
    let case = Case::new();
    chown(case.path("."), Some(NOBODY), Some(NOBODY)).unwrap();
    case.write("queries.sql", QUERIES);
    fs::set_permissions(case.path("queries.sql"), Permissions::from_mode(0o644)).unwrap();
    let mut initdb = postgresql(&folder, &case, "initdb");
    initdb.args(["-D", "data", "-U", "bench", "-A", "trust", "-N", "--no-locale"]);
    finish(initdb);
    let sockets = case.path(".");
    let mut postgres = postgresql(&folder, &case, "postgres");
    postgres.args(["-D", "data", "-c", "listen_addresses=", "-c", "fsync=off", "-k"]).arg(&sockets);
    let state = case.path("data/postmaster.pid");
    let ready = || fs::read_to_string(&state).is_ok_and(|text| text.trim_end().ends_with("ready"));
    let server = Server::start(&case, postgres, ready);
    let pgbench = |arguments: &[&str]| {
        let mut pgbench = postgresql(&folder, &case, "pgbench");
        pgbench.args(["-U", "bench", "-h"]).arg(&sockets).args(arguments).arg("postgres");
        pgbench
    };
    finish(pgbench(&["-i", "-q"]));
    let load = ["-c", "1", "-T", "600", "-b", "tpcb-like@5", "-b", "select-only@5", "-f"];
    let mut load = Process::start(pgbench(&[&load[..], &["queries.sql@1"]].concat()));
    let folded = record(&case, &server.0.pid());
    load.expect_running();
    // A backend is a copy of the server, and has mapped what it needs besides.
    check(&server.child(), &folded, &["standard_ExecutorRun"]);
}

#[test]
fn nginx_with_tls_and_compression() {
    needs_root!();
    let case = Case::new();
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]);
    openssl.args(["-keyout", "key", "-out", "certificate"]).current_dir(case.path("."));
    finish(openssl);
    case.write("nginx.conf", NGINX);
    case.write("page.html", "<p>All work and no play makes for slow pages.</p>\n".repeat(400));
    let mut nginx = Command::new("nginx");
    nginx.arg("-p").arg(case.path(".")).args(["-c", "nginx.conf", "-e", "nginx.log"]);
    let server = Server::start(&case, nginx, || case.path("socket").exists());
    let mut curl = Command::new("curl");
    curl.args(["-s", "-S", "-f", "-k", "-o", "/dev/null", "-H", "Accept-Encoding: gzip"]);
    curl.arg("--unix-socket").arg(case.path("socket")).stdin(Stdio::null());
    curl.arg(format!("https://localhost/page.html?[1-{REQUESTS}]"));
    let mut load = Process::start(curl);
    let folded = record(&case, &server.0.pid());
    load.expect_running();
    check(&server.child(), &folded, &["SSL_write", "deflate"]);
}

#[test]
fn redis_under_its_benchmark() {
    needs_root!();
    let case = Case::new();
    let mut redis = Command::new("redis-server");
    redis.args(["--port", "0", "--unixsocket", "socket", "--save", ""]);
    let server = Server::start(&case, redis, || case.path("socket").exists());
    let mut benchmark = Command::new("redis-benchmark");
    benchmark.args(["-q", "-l", "-n", "2000", "-c", "4", "-s", "socket"]);
    benchmark.current_dir(case.path(".")).stdin(Stdio::null());
    let mut load = Process::start(benchmark);
    let pid = server.0.pid();
    let folded = record(&case, &pid);
    load.expect_running();
    check(&pid, &folded, &["epoll_wait"]);
}
