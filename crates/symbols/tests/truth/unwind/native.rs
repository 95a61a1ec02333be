//! C, C++ and Rust.

use std::process::Command;

use whyslow_events::StackEnd;

use super::gdb::{self, Thread};
use crate::program::{Program, compile};

const OPTIMIZED: [&str; 3] = ["-g", "-O2", "-fomit-frame-pointer"];

/// Starts a program and asks gdb for its threads.
fn look(compiler: &str, source: &str, flags: &[&str]) -> Option<(Program, Vec<Thread>)> {
    let directory = tempfile::tempdir().unwrap();
    let path = compile(directory.path(), compiler, source, flags)?;
    let program = Program::start(&mut Command::new(path));
    let threads = gdb::threads(&program)?;
    Some((program, threads))
}

/// Every thread's chain is gdb's and complete, and goes through `through`.
fn check(compiler: &str, source: &str, flags: &[&str], through: &[&str]) {
    let Some((program, threads)) = look(compiler, source, flags) else { return };
    let mut unwinder = gdb::unwinder(&program);
    for thread in &threads {
        let unwound = gdb::unwind(&mut unwinder, thread);
        assert_eq!(unwound.addresses, thread.chain, "{:#?} {:?}", thread.names, unwound.end);
        assert_eq!(unwound.end, StackEnd::Complete, "{:#?}", thread.names);
    }
    let names: Vec<&String> = threads.iter().flat_map(|thread| &thread.names).collect();
    for name in through {
        assert!(names.iter().any(|have| have.starts_with(name)), "no {name} in {names:#?}");
    }
}

#[test]
fn unwind_deep_recursion() {
    const SOURCE: &str = r#"
        #include <stdio.h>
        __attribute__((noinline)) int down(int n) {
            volatile int pad[7] = {n};
            if (n == 0) { puts("ready"); fflush(stdout); return getchar(); }
            return down(n - 1) + pad[0];
        }
        int main(void) { return down(200); }
    "#;
    check("cc", SOURCE, &OPTIMIZED, &["down", "_start"]);
}
