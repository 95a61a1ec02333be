//! A CPU that goes off and comes back.

use std::{fs, path::Path, thread, time::Duration};

use super::cell::{Cell, Mode, Tier};
use crate::{
    case::{needs_root, skip},
    report::time,
};

/// The one that goes. The first cannot, on most machines.
const CPU: &str = "/sys/devices/system/cpu/cpu1/online";
/// For so long it is off, and on again.
const WHILE: Duration = Duration::from_millis(400);

/// A CPU that is off until this value is dropped.
struct Off;

impl Off {
    fn new() -> std::io::Result<Off> {
        fs::write(CPU, "0").map(|()| Off)
    }
}

impl Drop for Off {
    fn drop(&mut self) {
        // Nobody is to be left without it.
        while fs::write(CPU, "1").is_err() {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
#[ignore = "takes a CPU from everybody on the machine: --ignored --test-threads 1"]
fn a_cpu_goes_and_comes_back() {
    needs_root!();
    if !Path::new(CPU).exists() {
        skip!("no CPU can be shut off");
    }
    for tier in [Tier::Privileged, Tier::Ordinary, Tier::Procfs] {
        for mode in [Mode::Launch, Mode::Attach] {
            let Some(cell) = Cell::new(mode, tier) else { continue };
            let mut running = cell.start(["work", "3"], &["-q", "-o", "r.whyslow", "-o", "r.json"]);
            cell.until_recorded(&mut running);
            let Ok(off) = Off::new() else { skip!("the CPU cannot be shut off") };
            thread::sleep(WHILE);
            drop(off);
            thread::sleep(WHILE);
            cell.untouched(&running.pid);
            cell.ends_right(&running.pid);
            running.finish(0);
            let report = cell.report();
            let quality = &report["quality"];
            // What was not seen is told and unknown, no CPU time is made up, and it is seen
            // again in the end.
            let lost = quality["lost"].as_u64().unwrap();
            assert_eq!(lost > 0, tier == Tier::Privileged, "{mode:?} {tier:?}: {quality}");
            let unknown = time(&report, "unknown");
            assert!(unknown * 2 < time(&report, ""), "{}", report["ledger"]["process"]);
            let off = quality["oncpu_vs_kernel"].as_f64().unwrap();
            assert!(off.abs() < 0.02, "{mode:?} {tier:?}: {quality}");
            let window = report["window"]["duration_ns"].as_u64().unwrap();
            assert!(window > 2 * WHILE.as_nanos() as u64, "{}", report["window"]);
        }
    }
}
