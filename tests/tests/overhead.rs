//! `--max-overhead`: detail is left out, and time is not.

use std::{fs::File, io::BufReader, thread, time::Duration};

use serde_json::Value;
use whyslow_events::{Event, EventSource, recording::Reader};

use crate::faults::cell::{Cell, ENDS, Mode, Tier};

/// Nothing that switches a hundred thousand times a second can be had for this.
const LOW: [&str; 2] = ["--max-overhead", "0.5%"];
/// So long that the limit has its effect.
const WHILE: Duration = Duration::from_millis(1500);

/// Records threads that hand a byte to and fro.
fn record(tier: Tier, options: &[&str]) -> Option<(Cell, Value)> {
    let cell = Cell::new(Mode::Launch, tier)?;
    let options = [&["-q", "-o", "r.whyslow", "-o", "r.json"], options].concat();
    let running = cell.start(["switch", "2"], &options);
    thread::sleep(WHILE);
    cell.ends_right(&running.pid);
    running.recorder.finish().ended_with(ENDS);
    let report = cell.report();
    Some((cell, report))
}

/// Samples for each switch in the recording.
fn samples(cell: &Cell) -> f64 {
    let file = BufReader::new(File::open(cell.case.path("r.whyslow")).unwrap());
    let mut reader = Reader::new(file).unwrap();
    let (mut samples, mut switches) = (0, 0);
    while let Some(timed) = reader.next_event().unwrap() {
        samples += u32::from(matches!(timed.event, Event::Sample { .. }));
        switches += u32::from(matches!(timed.event, Event::SwitchOut { .. }));
    }
    f64::from(samples) / f64::from(switches)
}

fn thinned(report: &Value, key: &str) -> f64 {
    report["quality"]["thinned"][key].as_f64().unwrap_or_else(|| panic!("{}", report["quality"]))
}

fn agrees_with_the_kernel(report: &Value) {
    let quality = &report["quality"];
    if quality["lost"] != 0 {
        println!("NOTE records were lost: this machine is too busy to tell");
        return;
    }
    let off = quality["oncpu_vs_kernel"].as_f64().unwrap();
    assert!(off.abs() < 0.02, "{quality}");
}

#[test]
fn many_switches_under_a_low_limit_have_fewer_samples_and_all_their_time() {
    let Some((whole, report)) = record(Tier::Privileged, &[]) else { return };
    assert!(report["quality"]["thinned"].is_null(), "{}", report["quality"]);
    let samples_whole = samples(&whole);
    let Some((thin, report)) = record(Tier::Privileged, &LOW) else { return };
    let samples_thin = samples(&thin);
    assert!(samples_thin < 0.7 * samples_whole, "{samples_thin} {samples_whole}");
    for key in ["stacks", "samples", "looks"] {
        let part = thinned(&report, key);
        assert!(part > 0.0 && part < 0.7, "{key} {part}");
    }
    assert!(thinned(&report, "cost") > thinned(&report, "limit"));
    let said = thin.case.run(&["report", "r.whyslow"]).ended_with(0);
    assert!(said.stdout().contains("limit 0.5 %"), "{}", said.stdout());
    assert!(said.stdout().contains("of stacks of waits"), "{}", said.stdout());
    agrees_with_the_kernel(&report);
}

#[test]
fn looks_at_proc_keep_to_a_limit() {
    let Some((cell, report)) = record(Tier::Procfs, &LOW) else { return };
    let looks = thinned(&report, "looks");
    assert!(looks > 0.0 && looks < 0.9, "{}", report["quality"]["thinned"]);
    let off = report["quality"]["oncpu_vs_kernel"].as_f64().unwrap();
    assert!(off.abs() < 0.01, "{}", report["quality"]);
    assert!(cell.reported()["quality"]["damage"].is_null());
}

#[test]
fn what_costs_little_is_recorded_in_full() {
    let Some(cell) = Cell::new(Mode::Launch, Tier::Privileged) else { return };
    let options = ["-q", "-o", "r.json", "--max-overhead", "100%"];
    let running = cell.start(["work", "3"], &options);
    thread::sleep(WHILE / 5);
    cell.ends_right(&running.pid);
    running.recorder.finish().ended_with(ENDS);
    let report = cell.report();
    for key in ["stacks", "samples", "looks"] {
        assert!((thinned(&report, key) - 1.0).abs() < 1e-3, "{}", report["quality"]["thinned"]);
    }
}
