//! What the numbers must reach.

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::{Results, profilers::WHYSLOW, programs::Unit};

const CPU_LOOP_PERCENT: f64 = 1.0;
const DEEP_PERCENT: f64 = 2.0;
const SWITCH_US: f64 = 2.0;
const RECORDER_PERCENT: f64 = 5.0;
const AFTER_SECONDS: f64 = 2.0;
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
pub(super) fn judge(results: &Results) -> Result<Vec<Goal>> {
    let Results { losses, overhead, stacks, reporting } = results;
    let [shallow, deep] = &losses[..] else { bail!("not two CPU loops") };
    let switches = overhead.iter().find(|one| one.unit == Unit::Switch);
    let switch_ns = switches.and_then(|one| one.per_switch_ns(WHYSLOW)).context("no ping-pong")?;
    let ours = stacks.recorders.first().context("no recorder of stacks")?;
    let lost = losses.iter().map(|loss| loss.lost_records).sum::<u64>()
        + overhead.iter().map(|one| one.lost).sum::<u64>()
        + stacks.lost_records();
    let many = &stacks.many;
    Ok(vec![
        at_most("CPU loop: ", CPU_LOOP_PERCENT, " % more lost", 2, shallow.added(WHYSLOW) * 100.0),
        at_most("30 frames deep: ", DEEP_PERCENT, " % more lost", 2, deep.added(WHYSLOW) * 100.0),
        at_most("blocking switch: ", SWITCH_US, " µs more", 2, switch_ns / 1e3),
        at_most("recorder of stacks: ", RECORDER_PERCENT, " % of a CPU", 1, ours.cpu() * 100.0),
        at_most(
            &format!("{} samples, from the program's end to the flamegraph: ", many.samples),
            AFTER_SECONDS,
            " s",
            2,
            many.after_ns as f64 / 1e9,
        ),
        Goal { goal: "no lost records".into(), found: lost.to_string(), met: lost == 0 },
        Goal {
            goal: format!("report: at least {REPORT_SPEEDUP} times as fast as perf and inferno"),
            found: format!("{:.1} times", reporting.speedup()),
            met: reporting.speedup() >= REPORT_SPEEDUP,
        },
        at_most("report: ", REPORT_MB, " MB", 0, reporting.whyslow.peak_bytes as f64 / 1e6),
    ])
}

fn at_most(what: &str, limit: f64, unit: &str, digits: usize, found: f64) -> Goal {
    Goal {
        goal: format!("{what}at most {limit}{unit}"),
        found: format!("{found:.digits$}{unit}"),
        met: found <= limit,
    }
}
