//! Stacks of a Python program with a trampoline for each function (`-X perf`):
//! code without frame pointers and without unwind information.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::folded::{self, Stack, share};
use crate::case::{Case, needs_root};

/// Of the time, so much must have its whole stack.
const WHOLE: f64 = 0.99;

const PROGRAM: &str = "
import os, time
def deep(n):
    return deep(n - 1) if n else mix()
def mix():
    s = 0
    for i in range(20000):
        s = (s * 31 + i) % 1000003
    return s
def nap():
    time.sleep(0.003)
def main():
    for _ in range(200):
        deep(10)
        nap()
main()
os.remove(f'/tmp/perf-{os.getpid()}.map')
";

/// A Python that knows `-X perf`.
fn python() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from)?;
    let versions = fs::read_dir(home.join(".pyenv/versions")).into_iter().flatten().flatten();
    let installed = versions.map(|version| version.path().join("bin/python3"));
    let mut candidates: Vec<PathBuf> = installed.chain(["/usr/bin/python3".into()]).collect();
    candidates.sort();
    candidates.into_iter().find(|path| knows_trampolines(path))
}

fn knows_trampolines(python: &Path) -> bool {
    let ask =
        "import sys, sysconfig as s; sys.exit(not s.get_config_var('PY_HAVE_PERF_TRAMPOLINE'))";
    let mut command = Command::new(python);
    command.args(["-c", ask]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn trampolines_are_passed() {
    needs_root!();
    let Some(python) = python() else {
        println!("NOTE no Python with -X perf under pyenv: no trampolines");
        return;
    };
    let case = Case::new();
    fs::write(case.path("program.py"), PROGRAM).unwrap();
    let python = python.to_str().expect("a path in UTF-8");
    let record = ["record", "-q", "-o", "r.folded", "--", python, "-X", "perf", "program.py"];
    case.run(&record).ended_with(0);
    let stacks = folded::read(&case, "r.folded");
    let ours = |stack: &Stack| {
        ["mix", "nap"].iter().any(|name| stack.user.iter().any(|frame| frame.starts_with(name)))
    };
    let begins = |stack: &Stack| {
        // Where calls and native frames are of two moments, the native ones come second.
        stack.whole || stack.user.iter().any(|frame| frame.ends_with("start_main"))
    };
    for these in [Stack::computes, Stack::waits] {
        let whole = share(&stacks, |stack| these(stack) && ours(stack), begins);
        assert!(whole >= WHOLE, "{whole} {stacks:#?}");
    }
    let called = |stack: &Stack| {
        let mut path = stack.user.iter();
        ["main", "deep", "mix"].iter().all(|name| path.any(|frame| frame == name))
    };
    assert!(stacks.iter().any(|stack| stack.computes() && called(stack)), "{stacks:#?}");
}
