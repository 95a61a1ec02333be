//! A control group that may use a part of a CPU, of either version.

use std::{fs, path::PathBuf, process, thread, time::Duration};

use super::record;
use crate::{
    case::{Case, needs_root, skip},
    process::Process,
    report::verdict,
};

/// A fifth of a CPU.
const QUOTA: &str = "20000";
const PERIOD: &str = "100000";

/// A group, removed when it is dropped.
struct Group(PathBuf);

impl Group {
    /// `None` where there is no control group for the CPU.
    fn new() -> Option<Group> {
        let name = format!("whyslow-test-{}", process::id());
        let unified = PathBuf::from("/sys/fs/cgroup");
        let (parent, settings) = if unified.join("cgroup.controllers").exists() {
            fs::write(unified.join("cgroup.subtree_control"), "+cpu").ok()?;
            (unified, vec![("cpu.max", format!("{QUOTA} {PERIOD}"))])
        } else {
            let places = ["cpu", "cpu,cpuacct"].map(|name| unified.join(name));
            let found = places.into_iter().find(|it| it.join("cpu.cfs_quota_us").exists())?;
            let quota = ("cpu.cfs_quota_us", QUOTA.to_owned());
            (found, vec![("cpu.cfs_period_us", PERIOD.to_owned()), quota])
        };
        let group = Group(parent.join(name));
        fs::create_dir(&group.0).ok()?;
        for (name, value) in settings {
            fs::write(group.0.join(name), value).ok()?;
        }
        Some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The last process of it may still be on its way out.
        for _ in 0..200 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn who_used_up_a_quota_is_starved_by_it() {
    needs_root!();
    let Some(group) = Group::new() else { skip!("no control group for the CPU can be made") };
    let case = Case::new();
    let procs = group.0.join("cgroup.procs");
    let script = format!("echo $$ >{} && while :; do :; done", procs.display());
    let spinner = Process::shell(&script);
    crate::process::until("the spinner to move in", || {
        fs::read_to_string(&procs).ok().filter(|pids| pids.contains(&spinner.pid()))
    });
    for engine in ["auto", "procfs"] {
        let report = record(&case, engine, &spinner.pid());
        assert_eq!(verdict(&report), ("cpu-starved", "quota"), "{engine} {}", report["bottleneck"]);
        let because = report["prescription"]["because"][0].as_str().unwrap();
        assert!(because.contains(&group.0.display().to_string()), "{engine} {because}");
    }
}
