//! How long unwinding takes. Asserts no time: run it with `--release` and
//! `--ignored --show-output`, and read.

use std::process::Command;
use std::time::Instant;

use whyslow_events::Unwind;

use super::check::OPTIMIZED;
use super::gdb;
use crate::program::{Program, SPACE, compile};

/// Thirty frames deep, in functions that differ.
const SOURCE: &str = r#"
    #include <stdio.h>
    #define LEVEL(name, next) \
        __attribute__((noinline)) int name(int n) { volatile int pad[7] = {n}; return next + pad[0]; }
    LEVEL(e, (puts("ready"), fflush(stdout), getchar()))
    LEVEL(d, e(n)) LEVEL(c, d(n)) LEVEL(b, c(n))
    int a(int n);
    LEVEL(aa, (n ? a(n - 1) : b(n)))
    LEVEL(a, aa(n))
    int main(int argc, char **argv) { return a(8 + argc) + 1; }
"#;

#[test]
#[ignore = "measures"]
fn unwind_speed() {
    const TIMES: u32 = 100_000;
    let directory = tempfile::tempdir().unwrap();
    let Some(path) = compile(directory.path(), "cc", SOURCE, &OPTIMIZED) else { return };
    let program = Program::start(&mut Command::new(path));
    let Some(threads) = gdb::threads(&program) else { return };
    let mut unwinder = gdb::unwinder(&program);
    let mut unwind = || unwinder.unwind(SPACE, &threads[0].registers, threads[0].memory());
    let begin = Instant::now();
    let frames = unwind().addresses.len();
    println!("first: {frames} frames in {:?}", begin.elapsed());
    let begin = Instant::now();
    for _ in 0..TIMES {
        assert_eq!(unwind().addresses.len(), frames);
    }
    println!("{TIMES} times: {:?}", begin.elapsed());
}
