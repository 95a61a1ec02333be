//! What the numbers must reach.

use std::ops::RangeInclusive;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::{
    Results,
    pairs::Pairs,
    profilers::{PERF_RECORD, WHYSLOW},
    programs::Unit,
    python::{LIMITED, Slowdowns},
    table::surely_added,
};

const CPU_LOOP_PERCENT: f64 = 1.0;
const DEEP_PERCENT: f64 = 2.0;
/// 2 µs where `perf record -g` takes 3.7: what a switch costs depends on the
/// machine and its day, so ours is held against that of the same run.
const SWITCH_TO_PERF: f64 = 2.0 / 3.7;
const PYTHON_PERCENT: f64 = 1.0;
const RECORDER_PERCENT: f64 = 5.0;
/// What the report says that recording took, by what was lost.
const SAID: RangeInclusive<f64> = 0.5..=2.0;
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
    let Results { losses, overhead, python, idle, stacks, reporting } = results;
    let [shallow, deep] = &losses[..] else { bail!("not two CPU loops") };
    let switches = overhead.iter().find(|one| one.unit == Unit::Switch);
    let per_switch = |profiler| switches.and_then(|one| one.per_switch_ns(profiler));
    let (ours_ns, perf_ns) =
        per_switch(WHYSLOW).zip(per_switch(PERF_RECORD)).context("no ping-pong")?;
    let ours = stacks.recorders.first().context("no recorder of stacks")?;
    let lost = losses.iter().map(|loss| loss.lost_records).sum::<u64>()
        + overhead.iter().map(|one| one.lost).sum::<u64>()
        + python.iter().map(|one| one.lost).sum::<u64>()
        + stacks.lost_records();
    let many = &stacks.many;
    let mut goals = vec![
        at_most("CPU loop: ", CPU_LOOP_PERCENT, " % more lost", 2, shallow.added(WHYSLOW) * 100.0),
        at_most("30 frames deep: ", DEEP_PERCENT, " % more lost", 2, deep.added(WHYSLOW) * 100.0),
        Goal {
            goal: format!("blocking switch: at most {SWITCH_TO_PERF:.2} of `perf record -g`"),
            found: format!("{:.2}: {:.2} µs more", ours_ns / perf_ns, ours_ns / 1e3),
            met: ours_ns <= perf_ns * SWITCH_TO_PERF,
        },
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
    ];
    for (ours, with) in [(WHYSLOW, ""), (LIMITED, ", with --max-overhead 1%")] {
        let goal =
            |one: &Slowdowns| Some(surely(&format!("{}{with}", one.program), &one.of(ours)?.times));
        goals.extend(python.iter().filter(|one| one.is_goal).filter_map(goal));
    }
    goals.extend(losses.iter().map(|loss| {
        let times = loss.said() / loss.added(WHYSLOW);
        Goal {
            goal: format!("CPU loop, {} Hz: what it lost is said within a factor of 2", loss.hertz),
            found: format!("{times:.2} of it"),
            met: SAID.contains(&times),
        }
    }));
    goals.extend(idle.iter().map(|one| {
        let what = format!("100 idle threads in {}, {}: ", one.program, one.tier);
        at_most(&what, one.limit * 100.0, " % of a CPU", 2, one.cpu * 100.0)
    }));
    Ok(goals)
}

/// What `program` takes longer.
fn surely(program: &str, times: &Pairs) -> Goal {
    Goal {
        goal: format!("{program}: at most {PYTHON_PERCENT} % more time"),
        found: surely_added(times),
        met: (times.factor() - 1.0) * 100.0 <= PYTHON_PERCENT,
    }
}

fn at_most(what: &str, limit: f64, unit: &str, digits: usize, found: f64) -> Goal {
    Goal {
        goal: format!("{what}at most {limit}{unit}"),
        found: format!("{found:.digits$}{unit}"),
        met: found <= limit,
    }
}
