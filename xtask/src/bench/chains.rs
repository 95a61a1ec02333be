//! How many call chains reach the function that a thread begins in, as each
//! profiler tells it of its own recording.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::overhead::quality;

/// Where threads begin, and `main`, behind which nothing of the program stands.
const OUTERMOST: [&str; 4] = ["_start", "main", "clone3", "start_thread"];

/// The share of complete chains of a recording of ours, by time on the CPU.
pub(super) fn of_whyslow(whyslow: &Path, recording: &Path) -> Result<f64> {
    let stacks = &quality(whyslow, recording)?["stacks"]["cpu"];
    let share = |name: &str| stacks[name].as_f64().context("no quality.stacks in the report");
    Ok(share("complete")? + share("extended")?)
}

/// The same of a recording of `perf record`, by samples.
pub(super) fn of_perf(recording: &Path) -> Result<f64> {
    let mut script = Command::new("perf");
    script.args(["script", "-F", "comm,tid,time,ip,sym", "-i"]).arg(recording);
    let mut child = script.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let output = child.stdout.take().expect("standard output is piped");
    let share = complete(BufReader::new(output).lines().map_while(Result::ok));
    let status = child.wait()?;
    if !status.success() {
        bail!("perf script: {status}");
    }
    Ok(share)
}

/// Samples stand apart by empty lines; a frame is an address and a name.
fn complete(lines: impl Iterator<Item = String>) -> f64 {
    let (mut all, mut complete, mut reached) = (0_u32, 0_u32, false);
    for line in lines {
        if line.is_empty() {
            all += 1;
            complete += u32::from(std::mem::take(&mut reached));
        }
        let name = line.split_whitespace().nth(1);
        reached |= line.starts_with([' ', '\t']) && name.is_some_and(|n| OUTERMOST.contains(&n));
    }
    f64::from(complete) / f64::from(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_complete_that_reaches_where_threads_begin() {
        let text = "main 7 1.0: \n\t 12 f\n\t 13 main\n\nmain 7 1.1: \n\t 12 f\n\n";
        assert!((complete(text.lines().map(str::to_owned)) - 0.5).abs() < 1e-9);
    }
}
