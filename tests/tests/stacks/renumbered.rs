//! A thread that begins after the numbers of threads have started anew.

use std::{fs, process::Command};

use super::folded::{self, Stack, share};
use crate::case::{Case, needs_root, skip};

/// Of the time its waits last, so much must have their calls.
const KNOWN: f64 = 0.9;

const NUMBERS: &str = "/proc/sys/kernel/ns_last_pid";

/// Starts a thread with a low number that waits often and never for long, and
/// lets the numbers go on where they were.
const PROGRAM: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void number(const char *format, int *value, const char *mode) {
    FILE *file = fopen("/proc/sys/kernel/ns_last_pid", mode);
    if (*mode == 'r') fscanf(file, format, value); else fprintf(file, format, *value);
    fclose(file);
}
__attribute__((noinline)) void nap(void) { usleep(100); __asm__(""); }
__attribute__((noinline)) void rest(void) { for (int i = 0; i < 6000; i++) nap(); }
void *work(void *unused) { rest(); __asm__(""); return unused; }
int main(void) {
    int last = 0, low = 300;
    pthread_t thread;
    number("%d", &last, "r");
    number("%d", &low, "w");
    pthread_create(&thread, 0, work, 0);
    number("%d", &last, "w");
    pthread_join(thread, 0);
}
"#;

#[test]
fn a_thread_with_a_low_number_has_its_stacks() {
    needs_root!();
    let case = Case::new();
    if fs::OpenOptions::new().write(true).open(NUMBERS).is_err() {
        skip!("{NUMBERS} cannot be written");
    }
    fs::write(case.path("program.c"), PROGRAM).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-pthread", "-o", "program", "program.c"]).current_dir(case.path("."));
    let Ok(status) = compiler.stderr(std::process::Stdio::null()).status() else { skip!("no cc") };
    assert!(status.success());
    let record = ["record", "-q", "-o", "r.folded", "-o", "r.json", "--", "./program"];
    case.run(&record).ended_with(0);
    let report = case.json("r.json");
    let threads = report["ledger"]["threads"].as_array().unwrap();
    let low = threads.iter().filter(|thread| thread["tid"].as_u64() < Some(1000)).count();
    assert!(threads.len() == 2 && low >= 1, "{threads:?}");
    let stacks = folded::read(&case, "r.folded");
    let naps = |stack: &Stack| stack.state.as_deref() == Some("sleep");
    let known = share(&stacks, naps, |stack| stack.goes_through(&["rest", "nap"]));
    assert!(known >= KNOWN, "{known} {stacks:#?}");
}
