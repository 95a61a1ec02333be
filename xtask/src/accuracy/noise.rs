//! How much the rest of the machine was at work during a run.

use std::{fs, time::Instant};

use anyhow::{Context, Result};
use nix::{
    sys::resource::{UsageWho, getrusage},
    sys::time::TimeVal,
    unistd::{SysconfVar, sysconf},
};

/// The start of a measurement.
pub(super) struct Noise {
    began: Instant,
    machine: f64,
    ours: f64,
}

impl Noise {
    pub(super) fn begin() -> Result<Self> {
        Ok(Self { began: Instant::now(), machine: machine()?, ours: ours()? })
    }

    /// The CPUs that programs other than our children used since.
    pub(super) fn end(self) -> Result<f64> {
        let others = (machine()? - self.machine) - (ours()? - self.ours);
        Ok((others / self.began.elapsed().as_secs_f64()).max(0.0))
    }
}

/// CPU seconds of the whole machine since it started.
fn machine() -> Result<f64> {
    let ticks = sysconf(SysconfVar::CLK_TCK)?.context("no clock tick")?;
    Ok(busy(&fs::read_to_string("/proc/stat")?)? as f64 / ticks as f64)
}

/// Ticks not spent idle (fourth number) or waiting for a disk (fifth).
fn busy(stat: &str) -> Result<u64> {
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
    let numbers = line.context("/proc/stat begins otherwise")?.split_whitespace();
    // The last two, guests, are part of the first two.
    let numbers = numbers.take(8).map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    Ok(numbers.iter().sum::<u64>() - numbers.iter().skip(3).take(2).sum::<u64>())
}

/// CPU seconds of our children that have ended, and of ourselves.
fn ours() -> Result<f64> {
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let mut sum = 0.0;
    for who in [UsageWho::RUSAGE_CHILDREN, UsageWho::RUSAGE_SELF] {
        let usage = getrusage(who)?;
        sum += seconds(usage.user_time()) + seconds(usage.system_time());
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_waiting_and_guests_do_not_count() {
        assert_eq!(busy("cpu  1 2 4 1000 1000 8 16 32 1000 1000\ncpu0 …").unwrap(), 63);
        assert!(busy("intr 1").is_err());
    }
}
