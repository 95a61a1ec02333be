//! `cargo xtask test`: every check and test, in the order that fails fastest.

use std::{
    env, mem,
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Result, bail};

use crate::{
    cross, fuzz,
    run::{cargo, check, check_lines, release_binary},
    tidy, tools,
};

/// What the tests said so far.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    skips: Vec<String>,
    /// What is no failure, and worth a look.
    notes: Vec<String>,
}

/// What one run of `cargo test` said.
#[derive(Default)]
struct Said {
    passed: u64,
    failed: Vec<String>,
    skips: Vec<String>,
    left_out: Vec<String>,
}

type Step = (&'static str, fn(&mut Tally) -> Result<()>);

const STEPS: &[Step] = &[
    ("format", |_| check(cargo("fmt --all --check"))),
    ("tidy", |_| tidy::run()),
    ("clippy", |_| check(cargo("clippy --workspace --all-targets --locked -- -D warnings"))),
    ("docs", docs),
    ("aarch64", aarch64),
    ("unit tests", unit_tests),
    ("integration tests", integration_tests),
    ("accuracy", accuracy),
    ("fuzz", |_| fuzz::smoke()),
];

/// The workloads of the suite that the test command runs: those whose id
/// contains this. All of them take longer than a test may.
const ACCURACY_FILTER: &str = "example";

/// Tests measure, and others beside them take their time. So many that fail get
/// another try, one at a time; where more fail, it is not for want of time.
const ALONE: usize = 8;

/// Runs all steps up to the first that fails.
pub(crate) fn run() -> ExitCode {
    let missing = tools::ensure(tools::FOR_TESTS);
    tools::mount_tracefs();
    let mut tally = Tally::default();
    tally.skips.extend(missing.iter().map(|tool| format!("{tool}: not installed")));
    let failure = STEPS.iter().find_map(|step| run_step(step, &mut tally).err());
    if let Some(error) = &failure {
        eprintln!("error: {error:#}");
    }
    conclude(&mut tally, failure.is_some())
}

fn run_step((name, step): &Step, tally: &mut Tally) -> Result<()> {
    println!("== {name}");
    let start = Instant::now();
    let failed_before = tally.failed;
    let result = step(tally);
    match &result {
        Ok(()) => tally.passed += 1,
        // A step whose tests failed has counted them.
        Err(_) if tally.failed == failed_before => tally.failed += 1,
        Err(_) => {}
    }
    println!("== {name}: {:.0} s", start.elapsed().as_secs_f64());
    result
}

/// Prints the skips and, last, the counts. In CI a skip is a failure.
fn conclude(tally: &mut Tally, failed: bool) -> ExitCode {
    let in_ci = env::var_os("CI").is_some_and(|value| value == "true");
    for skip in &tally.skips {
        println!("SKIP {skip}");
    }
    for note in &tally.notes {
        println!("NOTE {note}");
    }
    let failed = failed || (in_ci && !tally.skips.is_empty());
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skips.len());
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn docs(_: &mut Tally) -> Result<()> {
    let mut doc = cargo("doc --workspace --no-deps --document-private-items --locked");
    doc.env("RUSTDOCFLAGS", "-D warnings");
    check(doc)
}

fn aarch64(tally: &mut Tally) -> Result<()> {
    tally.notes.extend(cross::check_aarch64()?);
    Ok(())
}

fn unit_tests(tally: &mut Tally) -> Result<()> {
    cargo_test("test --workspace --exclude whyslow-tests --locked", |_| {}, tally)
}

fn integration_tests(tally: &mut Tally) -> Result<()> {
    let binary = release_binary()?;
    let set_binary = |command: &mut Command| {
        command.env("WHYSLOW_BIN", &binary);
    };
    // All packages, for the features of the unit tests' libraries.
    cargo_test("test --workspace --test integration --locked", set_binary, tally)
}

/// What measures gets a second try here, too.
fn accuracy(tally: &mut Tally) -> Result<()> {
    let binary = release_binary()?;
    let attempt = || {
        let mut accuracy = cargo("xtask accuracy --filter");
        accuracy.arg(ACCURACY_FILTER).env("WHYSLOW_BIN", &binary);
        check(accuracy)
    };
    attempt().or_else(|error| {
        tally.notes.push(format!("accuracy: not at the first try: {error:#}"));
        attempt()
    })
}

/// Runs `cargo test` and adds what its tests say. A few that failed run again alone,
/// and that counts.
fn cargo_test(arguments: &str, prepare: impl Fn(&mut Command), tally: &mut Tally) -> Result<()> {
    let mut said = Said::default();
    let run = |extra: &[&str], said: &mut Said| {
        let mut command = cargo(arguments);
        // Without this a test that passes cannot say what it skipped.
        command.args(["--no-fail-fast", "--", "--show-output"]).args(extra);
        prepare(&mut command);
        check_lines(command, |line| said.read(line))
    };
    let mut result = run(&[], &mut said);
    if (1..=ALONE).contains(&said.failed.len()) {
        println!("== again, one at a time: {}", said.failed.join(" "));
        let names = mem::take(&mut said.failed);
        let mut extra = vec!["--test-threads", "1", "--exact"];
        extra.extend(names.iter().map(String::as_str));
        result = run(&extra, &mut said);
        let passed = names.iter().filter(|name| !said.failed.contains(name));
        let note = |name| format!("{name}: failed beside other tests, passed alone");
        tally.notes.extend(passed.map(note));
    }
    if said.passed == 0 {
        result = result.and_then(|()| bail!("no test ran"));
    }
    tally.passed += said.passed;
    tally.failed += said.failed.len() as u64;
    tally.skips.extend(said.skips);
    tally.notes.extend(said.left_out);
    result
}

impl Said {
    /// Takes what one line of `cargo test` says.
    fn read(&mut self, line: &str) {
        if let Some(skip) = line.strip_prefix("SKIP ") {
            self.skips.push(skip.to_owned());
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += count(counts, " passed");
        } else if let Some((name, outcome)) =
            line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        {
            match outcome {
                "FAILED" => self.failed.push(name.to_owned()),
                "ignored" => self.skips.push(format!("{name}: ignored")),
                // Told why, it is left out on purpose.
                _ => {
                    let reason = outcome.strip_prefix("ignored, ");
                    self.left_out
                        .extend(reason.map(|reason| format!("{name}: left out: {reason}")));
                }
            }
        }
    }
}

/// The number before `word`.
fn count(counts: &str, word: &str) -> u64 {
    counts
        .split(word)
        .next()
        .and_then(|before| before.rsplit(' ').next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_test_prints_is_counted() {
        let mut said = Said::default();
        said.read("test result: FAILED. 12 passed; 1 failed; 1 ignored; 0 measured; 0 filtered");
        said.read("test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        said.read("SKIP attach: not root");
        said.read("test slow ... ignored");
        said.read("test alone ... ignored, needs a machine");
        said.read("test quick ... ok");
        said.read("test wrong ... FAILED");
        assert_eq!((said.passed, said.failed), (16, vec!["wrong".to_owned()]));
        assert_eq!(said.skips, ["attach: not root", "slow: ignored"]);
        assert_eq!(said.left_out, ["alone: left out: needs a machine"]);
    }
}
