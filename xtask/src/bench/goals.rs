//! What the numbers must reach.

use anyhow::{Context, Result};
use serde::Serialize;

use super::{overhead::Overhead, profilers::WHYSLOW, programs::Unit, reporting::Reporting};

const CPU_LOOP_PERCENT: f64 = 1.0;
const SWITCH_US: f64 = 2.0;
const REPORT_SPEEDUP: f64 = 5.0;
const REPORT_MB: f64 = 300.0;

/// A goal, and whether it was reached.
#[derive(Serialize)]
pub(super) struct Goal {
    pub(super) goal: String,
    pub(super) found: String,
    pub(super) met: bool,
}

/// Compares with every goal.
pub(super) fn judge(overhead: &[Overhead], reporting: &Reporting) -> Result<Vec<Goal>> {
    let cpu_loop = overhead.first().context("no CPU loop")?;
    let percent = (cpu_loop.factor(WHYSLOW) - 1.0) * 100.0;
    let switches = overhead.iter().find(|one| one.unit == Unit::Switch);
    let switch_us =
        switches.and_then(|one| one.per_switch_ns(WHYSLOW)).context("no ping-pong")? / 1_000.0;
    let lost: u64 = overhead.iter().map(|one| one.lost).sum();
    let megabytes = reporting.whyslow.peak_bytes as f64 / 1e6;
    let speedup = reporting.speedup();
    Ok(vec![
        Goal {
            goal: format!("CPU loop: at most {CPU_LOOP_PERCENT} % more time"),
            found: format!("{percent:.1} %"),
            met: percent <= CPU_LOOP_PERCENT,
        },
        Goal {
            goal: format!("blocking switch: at most {SWITCH_US} µs more"),
            found: format!("{switch_us:.2} µs"),
            met: switch_us <= SWITCH_US,
        },
        Goal { goal: "no lost records".into(), found: lost.to_string(), met: lost == 0 },
        Goal {
            goal: format!("report: at least {REPORT_SPEEDUP} times as fast as perf and inferno"),
            found: format!("{speedup:.1} times"),
            met: speedup >= REPORT_SPEEDUP,
        },
        Goal {
            goal: format!("report: at most {REPORT_MB} MB"),
            found: format!("{megabytes:.0} MB"),
            met: megabytes <= REPORT_MB,
        },
    ])
}
