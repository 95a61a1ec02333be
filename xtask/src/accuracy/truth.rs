//! The workloads' own account: cumulative snapshots, one file per process.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::report::is_io;

/// One line of a process's account.
#[derive(Clone, Debug, Deserialize)]
struct Snapshot {
    t_mono: u64,
    cpu_ns: u64,
    runq_ns: u64,
    lifetime_ns: u64,
    /// Threads alive.
    threads: u64,
    /// Time by kind, waits in progress included.
    waits: BTreeMap<String, u64>,
    /// Threads in a wait of this kind now.
    waiting: BTreeMap<String, u64>,
}

/// The account of one process, oldest snapshot first.
#[derive(Debug)]
struct Account(Vec<Snapshot>);

/// The accounts of a whole program.
#[derive(Debug)]
pub(crate) struct Truth(Vec<Account>);

/// Thread time, in ns, by what it was spent on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) lifetime: f64,
    pub(crate) cpu: f64,
    pub(crate) runq: f64,
    pub(crate) waits: BTreeMap<String, f64>,
}

impl Truth {
    /// Reads the accounts that a program left in `folder`.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let mut accounts = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let bytes = fs::read(&path)?;
            accounts.push(Account::parse(&bytes).with_context(|| path.display().to_string())?);
        }
        ensure!(!accounts.is_empty(), "the workload left no account of itself");
        Ok(Self(accounts))
    }

    /// The whole life of the program.
    pub(crate) fn whole(&self) -> Totals {
        self.sum(|account| account.last().totals())
    }

    /// What happened between two instants of the monotonic clock.
    pub(crate) fn between(&self, from: u64, to: u64) -> Totals {
        self.sum(|account| account.at(to).minus(&account.at(from)))
    }

    fn sum(&self, of: impl Fn(&Account) -> Totals) -> Totals {
        self.0.iter().fold(Totals::default(), |sum, account| sum.plus(&of(account)))
    }
}

impl Account {
    /// Lines, then zeros. The last line may be torn when the process was killed.
    fn parse(bytes: &[u8]) -> Result<Self> {
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        let lines: Vec<_> = bytes[..end].split_inclusive(|&byte| byte == b'\n').collect();
        let mut snapshots: Vec<Snapshot> = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            match serde_json::from_slice(line) {
                Ok(snapshot) => snapshots.push(snapshot),
                Err(_) if number + 1 == lines.len() => break,
                Err(error) => return Err(error).with_context(|| format!("line {}", number + 1)),
            }
        }
        ensure!(!snapshots.is_empty(), "empty");
        Ok(Self(snapshots))
    }

    fn last(&self) -> &Snapshot {
        self.0.last().expect("an account is not empty: `parse` checks")
    }

    /// The account at an instant: between two snapshots time passes evenly;
    /// after the last, threads that waited still do.
    fn at(&self, instant: u64) -> Totals {
        let next = self.0.partition_point(|snapshot| snapshot.t_mono <= instant);
        let Some(before) = next.checked_sub(1).map(|index| &self.0[index]) else {
            return self.0[0].before(instant);
        };
        match self.0.get(next) {
            Some(after) => {
                let part = (instant - before.t_mono) as f64 / (after.t_mono - before.t_mono) as f64;
                let [before, after] = [before.totals(), after.totals()];
                before.plus(&after.minus(&before).times(part))
            }
            None => before.after(instant),
        }
    }
}

impl Snapshot {
    fn totals(&self) -> Totals {
        Totals {
            lifetime: self.lifetime_ns as f64,
            cpu: self.cpu_ns as f64,
            runq: self.runq_ns as f64,
            waits: self.waits.iter().map(|(kind, &ns)| (kind.clone(), ns as f64)).collect(),
        }
    }

    fn after(&self, instant: u64) -> Totals {
        let passed = instant.saturating_sub(self.t_mono) as f64;
        let still = Totals {
            lifetime: self.threads as f64 * passed,
            waits: self
                .waiting
                .iter()
                .map(|(kind, &n)| (kind.clone(), n as f64 * passed))
                .collect(),
            ..Totals::default()
        };
        self.totals().plus(&still)
    }

    /// Before the first snapshot there was one thread, starting up.
    fn before(&self, instant: u64) -> Totals {
        let missing = self.t_mono.saturating_sub(instant) as f64;
        let part = 1.0 - (missing / self.lifetime_ns.max(1) as f64).min(1.0);
        self.totals().times(part)
    }
}

impl Totals {
    /// I/O as a share of thread time.
    pub(crate) fn io(&self) -> f64 {
        let waits = self.waits.iter().filter(|(kind, _)| is_io(kind));
        waits.fold(0.0, |sum, (_, ns)| sum + ns) / self.lifetime.max(1.0)
    }

    /// CPU as a share of thread time.
    pub(crate) fn cpu(&self) -> f64 {
        self.cpu / self.lifetime.max(1.0)
    }

    /// The share of thread time that the account does not explain.
    pub(crate) fn open(&self) -> f64 {
        let told = self.cpu + self.runq + self.waits.values().sum::<f64>();
        (self.lifetime - told) / self.lifetime.max(1.0)
    }

    fn plus(&self, other: &Self) -> Self {
        let mut waits = self.waits.clone();
        for (kind, ns) in &other.waits {
            *waits.entry(kind.clone()).or_default() += ns;
        }
        Self {
            lifetime: self.lifetime + other.lifetime,
            cpu: self.cpu + other.cpu,
            runq: self.runq + other.runq,
            waits,
        }
    }

    fn minus(&self, other: &Self) -> Self {
        self.plus(&other.times(-1.0))
    }

    fn times(&self, factor: f64) -> Self {
        Self {
            lifetime: self.lifetime * factor,
            cpu: self.cpu * factor,
            runq: self.runq * factor,
            waits: self.waits.iter().map(|(kind, ns)| (kind.clone(), ns * factor)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(t: u64, cpu: u64, lifetime: u64, sleep: u64, asleep: u64) -> String {
        format!(
            "{{\"t_mono\":{t},\"pid\":1,\"cpu_ns\":{cpu},\"runq_ns\":0,\"lifetime_ns\":{lifetime},\
             \"threads\":1,\"waits\":{{\"sleep\":{sleep}}},\"waiting\":{{\"sleep\":{asleep}}}}}\n"
        )
    }

    fn truth(lines: &[String]) -> Truth {
        Truth(vec![Account::parse(lines.concat().as_bytes()).unwrap()])
    }

    #[test]
    fn between_snapshots_time_passes_evenly() {
        let truth = truth(&[line(100, 10, 10, 0, 0), line(200, 60, 110, 50, 0)]);
        let totals = truth.between(120, 180);
        assert_eq!((totals.lifetime, totals.cpu, totals.waits["sleep"]), (60.0, 30.0, 30.0));
    }

    #[test]
    fn after_the_last_snapshot_who_slept_still_sleeps() {
        let totals = truth(&[line(100, 10, 10, 0, 1)]).between(100, 300);
        assert_eq!((totals.lifetime, totals.cpu, totals.waits["sleep"]), (200.0, 0.0, 200.0));
        assert_eq!(totals.io(), 1.0);
    }

    #[test]
    fn a_process_born_inside_the_window_counts_from_its_birth() {
        let totals = truth(&[line(100, 20, 20, 0, 0), line(200, 120, 120, 0, 0)]).between(50, 200);
        assert_eq!((totals.lifetime, totals.cpu), (120.0, 120.0));
    }

    #[test]
    fn processes_add_up() {
        let account = || Account::parse(line(100, 10, 40, 30, 0).as_bytes()).unwrap();
        let totals = Truth(vec![account(), account()]).whole();
        assert_eq!((totals.lifetime, totals.cpu, totals.io()), (80.0, 20.0, 0.75));
        assert_eq!(totals.open(), 0.0);
    }

    #[test]
    fn only_the_last_line_may_be_torn() {
        let good = line(100, 10, 10, 0, 0);
        let torn = &good[..good.len() / 2];
        assert_eq!(Account::parse(format!("{good}{torn}\0\0").as_bytes()).unwrap().0.len(), 1);
        assert!(Account::parse(format!("{torn}\n{good}").as_bytes()).is_err());
        assert!(Account::parse(b"\0\0").is_err());
    }
}
