//! What a run had to put up with: other programs, and a hypervisor that takes
//! CPUs away.

use std::{fs, time::Instant};

use anyhow::{Context, Result, bail};
use nix::{
    sys::resource::{UsageWho, getrusage},
    sys::time::TimeVal,
    unistd::{SysconfVar, sysconf},
};

/// The start of a measurement.
pub(super) struct Watch {
    began: Instant,
    /// CPU seconds of the whole machine since it started.
    machine: f64,
    ours: f64,
}

impl Watch {
    pub(super) fn begin() -> Result<Self> {
        Ok(Self { began: Instant::now(), machine: machine()?, ours: ours()? })
    }

    /// CPUs that programs other than our children used, or a hypervisor took.
    pub(super) fn end(self) -> Result<f64> {
        let others = (machine()? - self.machine) - (ours()? - self.ours);
        Ok((others / self.began.elapsed().as_secs_f64()).max(0.0))
    }
}

/// CPU seconds of the whole machine since it started, stolen time included.
fn machine() -> Result<f64> {
    let ticks = sysconf(SysconfVar::CLK_TCK)?.context("no clock tick")? as f64;
    Ok(parse(&fs::read_to_string("/proc/stat")?)? as f64 / ticks)
}

/// Ticks spent otherwise than idle or waiting for a disk.
fn parse(stat: &str) -> Result<u64> {
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
    let numbers = line.context("/proc/stat begins otherwise")?.split_whitespace();
    let numbers = numbers.map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    // Guests, which follow, are part of user and nice.
    let &[user, nice, system, _idle, _iowait, irq, softirq, stolen, ..] = &numbers[..] else {
        bail!("/proc/stat has {} numbers", numbers.len());
    };
    Ok(user + nice + system + irq + softirq + stolen)
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
        let stat = "cpu  1 2 4 1000 1000 8 16 32 1000 1000\ncpu0 …";
        assert_eq!(parse(stat).unwrap(), 63);
        assert!(parse("intr 1").is_err());
        assert!(parse("cpu  1 2 3").is_err());
    }
}
