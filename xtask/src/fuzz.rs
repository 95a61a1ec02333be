//! Fuzzing: the plain fuzzer, a quarter of a minute a target, in the test command; and
//! `cargo xtask fuzz`, which is led by coverage and adds to the corpora.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Child,
    thread,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::run::{cargo, check, command, host, root, target_directory};

const SECONDS_IN_TESTS: &str = "15";

/// The longest input that is worth a place in the corpus.
const LONGEST: u32 = 4 << 10;

/// What cargo-fuzz passes too. None of it needs a nightly toolchain.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Ccodegen-units=1";

/// What to fuzz, and how long.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only this target
    target: Option<String>,
    /// For each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Runs every target with the plain fuzzer, as many at a time as there are
/// CPUs. A panic is an error, and its input is kept.
pub(crate) fn smoke() -> Result<()> {
    let plain = Plain::build()?;
    let mut failed = Vec::new();
    for several in plain.targets()?.chunks(thread::available_parallelism()?.get()) {
        let start = |target: &String| Ok((target.clone(), plain.start(target)?));
        let running = several.iter().map(start).collect::<Result<Vec<(String, Child)>>>()?;
        for (target, mut child) in running {
            if !child.wait()?.success() {
                failed.push(target);
            }
        }
    }
    if !failed.is_empty() {
        bail!("fuzz targets failed: {}", failed.join(", "));
    }
    Ok(())
}

/// Runs libFuzzer on each target, and keeps the inputs that reach more code.
/// Needs a C++ compiler.
pub(crate) fn guided(arguments: &Arguments) -> Result<()> {
    let plain = Plain::build()?;
    let program = build_guided()?;
    for target in plain.targets()? {
        if arguments.target.as_ref().is_some_and(|only| *only != target) {
            continue;
        }
        let corpus = root().join("fuzz/corpus").join(&target);
        let found = target_directory()?.join("fuzz").join(&target);
        fs::create_dir_all(&corpus)?;
        let mut seeds = command(&plain.program);
        seeds.args([&target, "--write-seeds"]).arg(&found);
        check(seeds)?;
        let run = |words: &[&str]| {
            let mut run = command(&program);
            run.env("WHYSLOW_FUZZ_TARGET", &target).args(words);
            check(run)
        };
        let time = format!("-max_total_time={}", arguments.seconds);
        let longest = format!("-max_len={LONGEST}");
        let artifacts = format!("-artifact_prefix={}/", text(&corpus)?);
        run(&[text(&found)?, text(&corpus)?, &time, &longest, &artifacts])?;
        // Without counters an input is kept for the code it reaches, not for how often.
        run(&["-merge=1", "-use_counters=0", text(&corpus)?, text(&found)?, &longest])?;
    }
    Ok(())
}

/// Builds for the host by name: flags then reach neither build scripts nor macros.
fn build_guided() -> Result<PathBuf> {
    let host = host()?;
    let mut build = cargo("build --locked --package whyslow-fuzz --features guided");
    build.args(["--bin", "whyslow-fuzz-guided", "--target", &host]).env("RUSTFLAGS", COVERAGE);
    check(build)?;
    Ok(target_directory()?.join(host).join("debug/whyslow-fuzz-guided"))
}

/// The plain fuzzer.
struct Plain {
    program: PathBuf,
}

impl Plain {
    fn build() -> Result<Plain> {
        // Beside the tests, which were built before, it has its libraries in common with them.
        let beside =
            "build --workspace --exclude whyslow-tests --tests --bin whyslow-fuzz --locked";
        check(cargo(beside))?;
        Ok(Plain { program: target_directory()?.join("debug/whyslow-fuzz") })
    }

    fn targets(&self) -> Result<Vec<String>> {
        let names = String::from_utf8(command(&self.program).output()?.stdout)?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    fn start(&self, target: &str) -> Result<Child> {
        let mut fuzz = command(&self.program);
        Ok(fuzz.args([target, "--seconds", SECONDS_IN_TESTS]).spawn()?)
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
