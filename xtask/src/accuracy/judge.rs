//! Compares a report with what is known about the workload. Pure.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    report::{Report, is_cpu, is_io},
    truth::Totals,
};
use crate::workloads::{Mode, Workload};

/// How far a share may be from the truth.
const SHARE: f64 = 0.01;
/// How far the on-CPU sum may be from the kernel's.
const ONCPU: f64 = 0.005;
/// How much of its time a workload's own account may leave open.
const OPEN: f64 = 0.02;

/// What came out of one run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Judgement {
    pub(crate) id: String,
    pub(crate) about: String,
    pub(crate) mode: &'static str,
    /// What it is: class and cause.
    pub(crate) expected: (String, String),
    /// What the report says.
    pub(crate) found: Option<(String, String)>,
    /// Share of the verdict.
    pub(crate) share: f64,
    pub(crate) io: Option<Share>,
    pub(crate) cpu: Option<Share>,
    /// CPUs that others used meanwhile.
    pub(crate) others: f64,
    /// What is wrong; empty when all is well.
    pub(crate) wrong: Vec<String>,
    /// Why it could not be run.
    pub(crate) skipped: Option<String>,
}

/// A share of thread time, as the workload measured it and as the report has it.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Share {
    pub(crate) truth: f64,
    pub(crate) report: f64,
    /// How much smaller than it measured the share may be. A program cannot tell
    /// the end of its wait from the way to the CPU, and the kernel's run delay
    /// begins where a woken CPU takes the thread in, which on a virtual machine
    /// is some 50 µs after the wakeup. Nor can it tell a wait from a CPU that is
    /// taken away in the middle of the call: neither clock runs.
    pub(crate) slack: f64,
}

impl Share {
    /// The slack of shares of waits.
    pub(crate) fn slack_of(report: &Report) -> f64 {
        let waking = report.share(|state| state == "runq.waking");
        waking + report.quality.stolen_ns as f64 / report.lifetime().max(1.0)
    }

    /// The difference, in percentage points.
    pub(crate) fn error(self) -> f64 {
        (self.report - self.report.clamp(self.truth - self.slack, self.truth)) * 100.0
    }
}

impl Judgement {
    /// Nothing known yet.
    pub(crate) fn new(workload: &Workload, mode: Mode) -> Self {
        Self {
            id: workload.id.clone(),
            about: workload.about.clone(),
            mode: mode.as_str(),
            expected: (workload.class.clone(), workload.cause.clone()),
            found: None,
            share: 0.0,
            io: None,
            cpu: None,
            others: 0.0,
            wrong: Vec::new(),
            skipped: None,
        }
    }

    /// Compares with a report, and with the workload's account of the same time.
    pub(crate) fn compare(&mut self, workload: &Workload, report: &Report, truth: Option<&Totals>) {
        let verdict = &report.verdict;
        let found = (verdict.class.clone(), verdict.cause.clone());
        self.found = Some(found);
        if !self.verdict_is_right() {
            self.wrong.push(format!("verdict {} ({})", verdict.class, verdict.cause));
        }
        self.share = verdict.share;
        self.ledger(report);
        self.kernel(report);
        if let Some(truth) = truth {
            self.shares(workload, report, truth);
        }
    }

    /// Is it the verdict that was expected? `io+cpu` is as good as `cpu+io`.
    pub(crate) fn verdict_is_right(&self) -> bool {
        let parts = |cause: &str| cause.split('+').map(str::to_owned).collect::<BTreeSet<_>>();
        self.found.as_ref().is_some_and(|(class, cause)| {
            *class == self.expected.0 && parts(cause) == parts(&self.expected.1)
        })
    }

    fn ledger(&mut self, report: &Report) {
        let ledger = &report.ledger;
        if ledger.threads.is_empty() {
            self.wrong.push("no threads".into());
        }
        for thread in &ledger.threads {
            let sum: u64 = thread.states.values().sum();
            if sum != thread.lifetime_ns {
                let open = thread.lifetime_ns as i128 - i128::from(sum);
                self.wrong.push(format!("thread {} leaves {open} ns open", thread.tid));
            }
        }
        let lifetimes: u64 = ledger.threads.iter().map(|thread| thread.lifetime_ns).sum();
        let total: u64 = ledger.process.values().sum();
        if lifetimes != total {
            self.wrong.push(format!("the process has {total} ns, its threads {lifetimes}"));
        }
    }

    fn kernel(&mut self, report: &Report) {
        let quality = &report.quality;
        match quality.oncpu_vs_kernel {
            Some(difference) if difference.abs() <= ONCPU => {}
            Some(difference) => {
                self.wrong
                    .push(format!("{:+.2} % CPU time against the kernel", difference * 100.0));
            }
            // Who never ran gives nothing to compare.
            None if report.share(is_cpu) == 0.0 => {}
            None => self.wrong.push("CPU time was not compared with the kernel's".into()),
        }
        if quality.lost > 0 {
            self.wrong.push(format!("{} records lost", quality.lost));
        }
    }

    fn shares(&mut self, workload: &Workload, report: &Report, truth: &Totals) {
        let open = truth.open();
        // The workload believes it was running while the hypervisor ran something
        // else. How much that was is checked below: it is missing from the CPU time.
        let stolen = report.quality.stolen_ns as f64 / report.lifetime().max(1.0);
        if workload.remainder.is_none() && open.abs() > OPEN + stolen {
            let percent = open * 100.0;
            self.wrong.push(format!("the workload's own account leaves {percent:.1} % open"));
        }
        let slack = Share::slack_of(report);
        let io = Share { truth: truth.io(), report: report.share(is_io), slack };
        let cpu = Share { truth: truth.cpu(), report: report.share(is_cpu), slack: 0.0 };
        // Where all is sampled, the report says how far off the shares of waits may be.
        let sampling = report.quality.sampling.as_ref().filter(|sampling| sampling.looks > 0);
        let sampled = sampling.map_or(0.0, |sampling| sampling.margin);
        for (name, share, margin) in [("I/O", io, SHARE.max(sampled)), ("CPU", cpu, SHARE)] {
            if share.error().abs() > margin * 100.0 {
                self.wrong.push(format!("{name} share off by {:+.2} points", share.error()));
            }
        }
        (self.io, self.cpu) = (Some(io), Some(cpu));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload() -> Workload {
        let text = r#"id = "w"
            about = "sleeps"
            file = "w.c"
            class = "io-bound"
            cause = "sleep""#;
        toml::from_str(text).unwrap()
    }

    fn report(sleep: u64, cpu: u64) -> serde_json::Value {
        let states = json!({ "sleep": sleep, "cpu.user": cpu });
        json!({
            "target": { "exit": { "code": 0, "signal": null } },
            "window": { "start": "2024-01-01T00:00:00Z", "duration_ns": sleep + cpu },
            "verdict": {
                "class": "io-bound", "cause": "sleep", "share": 0.9, "interval": [0.9, 0.9]
            },
            "ledger": {
                "process": states,
                "threads": [{ "tid": 7, "lifetime_ns": sleep + cpu, "states": states }],
            },
            "quality": { "lost": 0, "oncpu_vs_kernel": -0.001, "stolen_ns": 0 },
        })
    }

    fn truth(sleep: f64, cpu: f64) -> Totals {
        let waits = [("sleep".to_owned(), sleep)].into();
        Totals { lifetime: sleep + cpu, cpu, runq: 0.0, waits }
    }

    fn wrong(report: serde_json::Value, truth: &Totals) -> Vec<String> {
        let mut judgement = Judgement::new(&workload(), Mode::Launch);
        let report = serde_json::from_value(report).unwrap();
        judgement.compare(&workload(), &report, Some(truth));
        judgement.wrong
    }

    #[test]
    fn a_right_report_has_nothing_wrong() {
        assert_eq!(wrong(report(900, 100), &truth(905.0, 95.0)), [""; 0]);
    }

    #[test]
    fn a_share_further_off_than_a_point_is_wrong() {
        let wrong = wrong(report(900, 100), &truth(911.0, 89.0));
        assert_eq!(wrong, ["I/O share off by -1.10 points", "CPU share off by +1.10 points"]);
    }

    #[test]
    fn class_and_cause_both_count() {
        let mut other = report(900, 100);
        other["verdict"]["cause"] = "disk".into();
        assert_eq!(wrong(other, &truth(900.0, 100.0)), ["verdict io-bound (disk)"]);
    }

    #[test]
    fn a_nanosecond_missing_from_the_ledger_is_wrong() {
        let mut other = report(900, 100);
        other["ledger"]["threads"][0]["states"]["sleep"] = 899.into();
        assert_eq!(wrong(other, &truth(900.0, 100.0)), ["thread 7 leaves 1 ns open"]);
        let mut other = report(900, 100);
        other["ledger"]["process"]["sleep"] = 901.into();
        assert_eq!(
            wrong(other, &truth(900.0, 100.0)),
            ["the process has 1001 ns, its threads 1000"]
        );
    }

    #[test]
    fn cpu_time_must_agree_with_the_kernel() {
        let mut other = report(900, 100);
        other["quality"]["oncpu_vs_kernel"] = (-0.006).into();
        assert_eq!(
            wrong(other.clone(), &truth(900.0, 100.0)),
            ["-0.60 % CPU time against the kernel"]
        );
        other["quality"]["oncpu_vs_kernel"] = serde_json::Value::Null;
        assert_eq!(wrong(other, &truth(900.0, 100.0)).len(), 1);
    }

    #[test]
    fn a_truth_that_does_not_add_up_proves_nothing() {
        let mut half_told = truth(900.0, 100.0);
        half_told.lifetime += 30.0;
        assert!(wrong(report(900, 100), &half_told)[0].contains("own account leaves 2.9 % open"));
    }

    #[test]
    fn the_order_of_a_mixed_cause_does_not_matter() {
        let mut judgement = Judgement::new(&workload(), Mode::Launch);
        judgement.expected = ("mixed".into(), "cpu+io".into());
        judgement.found = Some(("mixed".into(), "io+cpu".into()));
        assert!(judgement.verdict_is_right());
        judgement.found = Some(("mixed".into(), "io+lock".into()));
        assert!(!judgement.verdict_is_right());
    }

    /// A report with so much time stolen from `sleep` and `cpu`.
    fn stolen(sleep: u64, cpu: u64, stolen_ns: u64) -> serde_json::Value {
        let mut report = report(sleep + stolen_ns, cpu);
        for pointer in ["/ledger/process", "/ledger/threads/0/states"] {
            let states = report.pointer_mut(pointer).unwrap();
            states["sleep"] = sleep.into();
            states["runq.preempted"] = stolen_ns.into();
        }
        report["quality"]["stolen_ns"] = stolen_ns.into();
        report
    }

    #[test]
    fn a_program_takes_stolen_time_for_a_wait() {
        assert_eq!(wrong(stolen(880, 100, 20), &truth(900.0, 100.0)), [""; 0]);
        let mut untold = stolen(880, 100, 20);
        untold["quality"]["stolen_ns"] = 0.into();
        assert_eq!(wrong(untold, &truth(900.0, 100.0)), ["I/O share off by -2.00 points"]);
    }

    #[test]
    fn stolen_time_is_not_computing() {
        let mut truth = truth(880.0, 100.0);
        truth.lifetime = 1000.0;
        assert_eq!(wrong(stolen(880, 100, 20), &truth), [""; 0]);
        assert_eq!(wrong(stolen(880, 120, 0), &truth), ["CPU share off by +2.00 points"]);
        assert_eq!(wrong(stolen(880, 80, 40), &truth), ["CPU share off by -2.00 points"]);
    }
}
