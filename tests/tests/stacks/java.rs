//! A JVM as it is by default: it compiles code without frame pointers.

use std::{fs, process::Command};

use super::folded::{self, Stack, share};
use crate::case::{Case, needs_root};

/// Of the time, so much must have its whole stack.
const WHOLE: f64 = 0.97;

const PROGRAM: &str = "
public class Work {
    static volatile long sink;
    static long fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
    static void round() throws Exception { sink += fib(24); Thread.sleep(3); }
    public static void main(String[] arguments) throws Exception {
        long end = System.nanoTime() + 2_000_000_000L;
        while (System.nanoTime() < end) round();
    }
}
";

#[test]
#[ignore = "needs the machine for itself: a JVM that hardly runs has compiled and told little"]
fn compiled_methods_have_their_callers() {
    needs_root!();
    let case = Case::new();
    fs::write(case.path("Work.java"), PROGRAM).unwrap();
    let compiled = Command::new("javac").arg("Work.java").current_dir(case.path(".")).status();
    if !compiled.is_ok_and(|status| status.success()) {
        println!("NOTE no javac: no JVM");
        return;
    }
    let record = ["record", "-q", "-o", "r.folded", "-o", "r.json", "--", "java"];
    let options = ["-XX:+UnlockDiagnosticVMOptions", "-XX:+DumpPerfMapAtExit", "-cp", ".", "Work"];
    case.run(&[&record[..], &options].concat()).ended_with(0);
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
