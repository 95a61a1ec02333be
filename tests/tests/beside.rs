//! Other profilers beside us: they find what they would find without us.

use std::process::Command;

use crate::case::{Case, needs_root};

/// A kernel asked for build ids once marks the mappings in every profiler's
/// records as having one, and `perf script` then reads them as what they are not.
#[test]
fn what_perf_records_meanwhile_can_be_read() {
    needs_root!();
    let case = Case::new();
    let data = case.path("perf.data").display().to_string();
    let perf = ["perf", "record", "-q", "-e", "cpu-clock", "-o", &data, "--", "sh", "-c", "ls /"];
    case.run(&[&["record", "-q", "-o", "r.json", "--"], &perf[..]].concat()).ended_with(0);
    let script = Command::new("perf").args(["script", "--show-mmap-events", "-i", &data]).output();
    let script = script.expect("perf runs");
    let said = String::from_utf8_lossy(&script.stdout);
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
    assert!(said.contains("PERF_RECORD_MMAP2") && said.contains("libc"), "{said}");
}
