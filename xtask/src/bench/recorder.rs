//! A profiler at work, seen from outside: the CPU time and memory it takes
//! while the program runs, and how long it goes on after that.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
    time::Instant,
};

use anyhow::{Context, Result, bail};

use super::programs::{self, Own};
use crate::run;

/// What the program prints when it begins to compute, and first when it ends.
const BEGINS: &str = "begins";
const ENDS: &str = "elapsed_ns";

/// One recording.
pub(super) struct Recorded {
    /// What the program said of itself.
    pub(super) own: Own,
    /// CPU time of the profiler while the program ran, as a share of one CPU.
    pub(super) cpu: f64,
    /// Its peak memory until the program ended.
    pub(super) peak_bytes: u64,
    /// From the end of the program to the end of the profiler.
    pub(super) after_ns: u64,
}

/// Runs `words`, a profiler with a program that prints when it begins and ends.
pub(super) fn record(words: &[String]) -> Result<Recorded> {
    let mut command = run::command(&words[0]);
    command.args(&words[1..]).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", words[0]))?;
    let pid = child.id();
    let output = child.stdout.take().expect("standard output is piped");
    let (mut text, mut begin, mut end) = (String::new(), None, None);
    for line in BufReader::new(output).lines() {
        let line = line?;
        if line == BEGINS {
            begin = Some((Instant::now(), cpu_ns(pid)?));
        } else if line.starts_with(ENDS) {
            end = Some((Instant::now(), cpu_ns(pid)?, peak_bytes(pid)?));
        }
        text.push_str(&line);
        text.push('\n');
    }
    let status = child.wait()?;
    let exited = Instant::now();
    if !status.success() {
        bail!("{}: {status}", words.join(" "));
    }
    let missing = || format!("{} does not say when it begins and ends", words.join(" "));
    let ((begin, cpu_before), (end, cpu_after, peak_bytes)) =
        begin.zip(end).with_context(missing)?;
    Ok(Recorded {
        own: programs::read(&text).with_context(missing)?,
        cpu: (cpu_after - cpu_before) as f64 / (end - begin).as_nanos() as f64,
        peak_bytes,
        after_ns: u64::try_from((exited - end).as_nanos())?,
    })
}

/// The time all threads of a process were on a CPU.
pub(super) fn cpu_ns(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let ns: u64 = text.split(' ').next().context("an empty schedstat")?.parse()?;
        sum += ns;
    }
    Ok(sum)
}

fn peak_bytes(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .context("no peak memory in the status of a process")?
        .parse()?;
    Ok(kib * 1024)
}
