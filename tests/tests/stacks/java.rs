//! A JVM as it is by default: it compiles code without frame pointers.

use std::{fs, io::ErrorKind, process::Command};

use super::folded::{self, Stack, share};
use crate::case::{Case, needs_root, skip};

/// Of the time, so much must have its whole stack.
const WHOLE: f64 = 0.97;

const PROGRAM: &str = "
public class Work {
    static volatile long sink;
    static long fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
    static void round() throws Exception { sink += fib(24); Thread.sleep(3); }
    public static void main(String[] arguments) throws Exception {
        for (int rounds = 0; rounds < 500; rounds++) round();
    }
}
";

#[test]
fn compiled_methods_have_their_callers() {
    needs_root!();
    let case = Case::new();
    fs::write(case.path("Work.java"), PROGRAM).unwrap();
    match Command::new("javac").arg("Work.java").current_dir(case.path(".")).status() {
        Ok(status) => assert!(status.success(), "javac: {status}"),
        Err(error) if error.kind() == ErrorKind::NotFound => skip!("no javac"),
        Err(error) => panic!("javac: {error}"),
    }
    let record = ["record", "-q", "-o", "r.folded", "-o", "r.json", "--", "java"];
    // Compiles at once what is due, however little the machine leaves it.
    let options = ["-Xbatch", "-XX:+UnlockDiagnosticVMOptions", "-XX:+DumpPerfMapAtExit"];
    let options = [&options[..], &["-cp", ".", "Work"]].concat();
    case.run(&[&record[..], &options[..]].concat()).ended_with(0);
    let report = case.json("r.json");
    let _ = fs::remove_file(format!("/tmp/perf-{}.map", report["target"]["pid"]));
    let ours = |stack: &Stack| stack.user.iter().any(|frame| frame.contains("Work."));
    let stacks = folded::read(&case, "r.folded");
    for these in [Stack::computes, Stack::waits] {
        let ours = |stack: &Stack| these(stack) && ours(stack);
        let whole = share(&stacks, ours, |stack| stack.whole);
        assert!(whole >= WHOLE, "{whole} {stacks:#?}");
    }
    // The compiler's own threads have other reasons.
    let cut = &report["quality"]["stacks"]["cpu"]["truncated"];
    let lost = cut["no-unwind-info"].as_f64().unwrap_or(0.0);
    assert!(lost <= 1.0 - WHOLE, "{cut}");
    let recursion = ["long Work.fib"; 4];
    let deep = stacks.iter().any(|stack| stack.computes() && stack.goes_through(&recursion));
    assert!(deep, "{stacks:#?}");
}
