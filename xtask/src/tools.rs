//! Programs that tests and benchmarks call, and the Debian packages they come in.

use std::{env, fs, process::Command};

use nix::{
    mount::{MsFlags, mount},
    unistd::geteuid,
};

/// A program, or a file by its whole path, and the Debian packages that bring it.
#[derive(Clone, Copy)]
pub(crate) struct Tool {
    command: &'static str,
    packages: &'static [&'static str],
}

const fn tool(command: &'static str, packages: &'static [&'static str]) -> Tool {
    Tool { command, packages }
}

/// What `cargo xtask test` needs.
pub(crate) const FOR_TESTS: &[Tool] = &[
    tool("cc", &["gcc", "libc6-dev"]),
    tool("objcopy", &["binutils"]),
    tool("python3", &["python3"]),
    tool("/usr/lib/python3/dist-packages/uvloop", &["python3-uvloop"]),
    tool("node", &["nodejs"]),
    tool("xz", &["xz-utils"]),
    tool("curl", &["curl"]),
    tool("taskset", &["util-linux"]),
    tool("setpriv", &["util-linux"]),
    tool("c++", &["g++"]),
    tool("go", &["golang-go"]),
    // The C library's own functions have names in its debug files only.
    tool("gdb", &["gdb", "libc6-dbg"]),
    tool("strace", &["strace"]),
    tool("unshare", &["util-linux"]),
    tool("perf", &["linux-perf"]),
    tool("javac", &["default-jdk-headless"]),
    // Tests start servers of their own, with the programs that these bring.
    tool("pg_createcluster", &["postgresql"]),
    tool("nginx", &["nginx"]),
    tool("openssl", &["openssl"]),
    tool("redis-server", &["redis-server"]),
    tool("redis-benchmark", &["redis-tools"]),
];

/// What a check for aarch64 needs: some crates compile C.
pub(crate) const FOR_AARCH64: &[Tool] =
    &[tool("aarch64-linux-gnu-gcc", &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"])];

/// What `cargo xtask bench` needs.
pub(crate) const FOR_BENCH: &[Tool] = &[
    tool("cc", &["gcc", "libc6-dev"]),
    tool("c++", &["g++", "libc6-dev"]),
    tool("perf", &["linux-perf"]),
    tool("strace", &["strace"]),
    // The profilers of Python come from its package index.
    tool("python3", &["python3", "python3-venv"]),
];

impl Tool {
    fn present(&self) -> bool {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).any(|folder| folder.join(self.command).exists())
    }
}

/// Installs those of `tools` that are missing, and names those still missing after that.
pub(crate) fn ensure(tools: &[Tool]) -> Vec<&'static str> {
    let missing = absent(tools);
    if missing.is_empty() {
        return Vec::new();
    }
    if geteuid().is_root() && fs::exists("/usr/bin/apt-get").unwrap_or(false) {
        install(&missing);
    }
    let left = absent(&missing);
    for tool in &left {
        eprintln!("missing: {} (package {})", tool.command, tool.packages.join(", "));
    }
    left.iter().map(|tool| tool.command).collect()
}

fn absent(tools: &[Tool]) -> Vec<Tool> {
    tools.iter().filter(|tool| !tool.present()).copied().collect()
}

fn install(tools: &[Tool]) {
    let mut packages: Vec<_> = tools.iter().flat_map(|tool| tool.packages).collect();
    packages.dedup();
    println!("installing {packages:?}");
    let install = || {
        apt_get(&["install", "--yes", "--no-install-recommends"])
            .args(&packages)
            .status()
            .is_ok_and(|status| status.success())
    };
    // The package lists of a fresh machine are often missing or old.
    if !install() && apt_get(&["update"]).status().is_ok_and(|status| status.success()) {
        install();
    }
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    // Run level 1: packages do not start the services they bring.
    command.args(arguments).envs([("DEBIAN_FRONTEND", "noninteractive"), ("RUNLEVEL", "1")]);
    command
}

/// Mounts tracefs, where tracepoints have their numbers, when root finds it missing.
pub(crate) fn mount_tracefs() {
    const TRACEFS: &str = "/sys/kernel/tracing";
    let mounted = fs::exists(format!("{TRACEFS}/events")).unwrap_or(false);
    if geteuid().is_root() && !mounted {
        let flags = MsFlags::empty();
        if let Err(error) = mount(Some("nodev"), TRACEFS, Some("tracefs"), flags, None::<&str>) {
            eprintln!("cannot mount tracefs at {TRACEFS}: {error}");
        }
    }
}
