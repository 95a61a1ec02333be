//! `/proc`: processes, threads, and the limits of their control groups.
//! The root can be another folder, for tests.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use procfs::FromRead;
use procfs::process::{Process, Schedstat, Stat, Task};
use whyslow_events::{Cpu, CpuSet, Event, Pid};

use crate::inspect::Call;

/// Bit of `/proc/PID/stat` flags that marks a kernel thread (linux/sched.h `PF_KTHREAD`).
const PF_KTHREAD: u32 = 0x0020_0000;

/// Where `/proc` and the control groups are.
#[derive(Clone, Debug)]
pub(crate) struct Proc {
    root: PathBuf,
    cgroups: PathBuf,
}

impl Default for Proc {
    fn default() -> Self {
        Proc { root: "/proc".into(), cgroups: "/sys/fs/cgroup".into() }
    }
}

impl Proc {
    /// Another folder in the place of `/proc`.
    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Proc { root: root.to_owned(), ..Proc::default() }
    }

    /// The process with this PID; `None` when there is none.
    pub(crate) fn process(&self, pid: u32) -> Option<Process> {
        Process::new_with_root(self.root.join(pid.to_string())).ok()
    }

    /// A thread of a process.
    pub(crate) fn task(&self, pid: u32, tid: u32) -> Option<Task> {
        self.process(pid)?.task_from_tid(i32::try_from(tid).ok()?).ok()
    }

    /// The process that traces a thread, if one does.
    pub(crate) fn tracer(&self, pid: u32, tid: u32) -> Option<u32> {
        let status = self.task(pid, tid)?.status().ok()?;
        u32::try_from(status.tracerpid).ok().filter(|tracer| *tracer != 0)
    }

    /// What a thread is doing.
    pub(crate) fn syscall(&self, pid: u32, tid: u32) -> Call {
        let text = fs::read_to_string(self.path(pid, &format!("task/{tid}/syscall")));
        text.map_or(Call::Hidden, |text| Call::parse(&text))
    }

    /// The CPU time of a thread; `None` when there is no such thread.
    pub(crate) fn cpu_count(&self, pid: u32, tid: u32) -> Option<CpuCount> {
        File::open(self.path(pid, &format!("task/{tid}/schedstat"))).ok().map(CpuCount)
    }

    /// The threads of a process; none when it is gone.
    pub(crate) fn tids(&self, pid: u32) -> Vec<u32> {
        let tasks = self.process(pid).and_then(|process| process.tasks().ok());
        tasks.into_iter().flatten().flatten().map(|task| task.tid.cast_unsigned()).collect()
    }

    /// The number of a thread in its innermost PID namespace.
    pub(crate) fn inner_tid(&self, pid: u32, tid: u32) -> Option<u64> {
        let status = fs::read_to_string(self.path(pid, &format!("task/{tid}/status"))).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        line.split_ascii_whitespace().last()?.parse().ok()
    }

    /// By how many ns the monotonic clock of a process is ahead of the host's: 0 but in
    /// a time namespace.
    pub(crate) fn clock_ahead(&self, pid: u32) -> i64 {
        let text = fs::read_to_string(self.path(pid, "timens_offsets")).unwrap_or_default();
        let offset = text.lines().find_map(|line| line.strip_prefix("monotonic"));
        let mut numbers =
            offset.unwrap_or_default().split_ascii_whitespace().map(str::parse::<i64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(seconds)), Some(Ok(ns))) => {
                seconds.saturating_mul(1_000_000_000).saturating_add(ns)
            }
            _ => 0,
        }
    }

    /// The process or thread that began last; 0 when that cannot be read.
    pub(crate) fn newest(&self) -> u32 {
        let load = fs::read_to_string(self.root.join("loadavg")).unwrap_or_default();
        load.split_ascii_whitespace().last().and_then(|pid| pid.parse().ok()).unwrap_or_default()
    }

    /// How many threads a process has; `None` when it is gone.
    pub(crate) fn thread_count(&self, pid: u32) -> Option<u64> {
        use std::os::unix::fs::MetadataExt;
        // A folder has two links of its own, and one for each folder in it.
        fs::metadata(self.path(pid, "task")).ok().map(|task| task.nlink().saturating_sub(2))
    }

    /// For each CPU, how long it had nothing to do since the start of the machine, ns.
    pub(crate) fn idle(&self, ticks: u64) -> Vec<(Cpu, u64)> {
        let text = fs::read_to_string(self.root.join("stat")).unwrap_or_default();
        let tick = 1_000_000_000 / ticks.max(1);
        let of_line = |line: &str| -> Option<(Cpu, u64)> {
            // The first line, of all CPUs together, has no number.
            let (cpu, counts) = line.strip_prefix("cpu")?.split_once(' ')?;
            let (cpu, mut fields) = (cpu.parse().ok()?, counts.split_ascii_whitespace());
            // user, nice, system, idle, iowait
            let idle: u64 = fields.clone().nth(3)?.parse().ok()?;
            let iowait: u64 = fields.nth(4)?.parse().ok()?;
            Some((Cpu(cpu), idle.saturating_add(iowait).saturating_mul(tick)))
        };
        text.lines().filter_map(of_line).collect()
    }

    /// The path of a file below `/proc/PID`.
    pub(crate) fn path(&self, pid: u32, file: &str) -> PathBuf {
        self.root.join(pid.to_string()).join(file)
    }

    /// All processes that descend from `roots`, the roots included and first.
    pub(crate) fn family(&self, roots: &[u32]) -> Vec<u32> {
        let mut parents: Vec<(u32, u32)> = vec![];
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(pid) = pid
                && let Some(stat) = self.process(pid).and_then(|process| process.stat().ok())
                && let Ok(parent) = u32::try_from(stat.ppid)
            {
                parents.push((pid, parent));
            }
        }
        let mut family = roots.to_vec();
        let mut next = 0;
        while let Some(&parent) = family.get(next) {
            next += 1;
            let children = parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid);
            let new: Vec<u32> = children.filter(|pid| !family.contains(pid)).collect();
            family.extend(new);
        }
        family
    }

    /// The memory of a process. The kernel goes over all of it to tell shares,
    /// and keeps the process from mapping more meanwhile: not for large ones.
    pub(crate) fn memory(&self, pid: u32) -> Option<Memory> {
        const LARGE: u64 = 256 << 20;
        let process = self.process(pid)?;
        let resident_bytes = process.status().ok()?.vmrss?.saturating_mul(1024);
        let rollup = || process.smaps_rollup().ok()?.memory_map_rollup.0.into_iter().next();
        let share = || rollup()?.extension.map.get("Pss").copied();
        Some(Memory {
            resident_bytes,
            share_bytes: if resident_bytes < LARGE { share() } else { None },
        })
    }

    /// What the CPU quotas above a process allow and did so far.
    pub(crate) fn quota(&self, pid: u32) -> Option<Quota> {
        let groups = fs::read_to_string(self.path(pid, "cgroup")).ok()?;
        quota(&groups, &self.cgroups)
    }
}

/// What a process has in memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) resident_bytes: u64,
    /// The same, what it shares counted in part.
    pub(crate) share_bytes: Option<u64>,
}

/// The command line of a process; empty when there is none to read.
#[must_use]
pub fn command_line(pid: u32) -> Vec<String> {
    Proc::default().process(pid).and_then(|process| process.cmdline().ok()).unwrap_or_default()
}

/// Whether `/proc/PID/stat` is a kernel thread's.
pub(crate) fn is_kernel_thread(stat: &Stat) -> bool {
    stat.flags & PF_KTHREAD != 0
}

/// The CPUs a thread may use; `None` when it is gone.
pub(crate) fn affinity(tid: u32) -> Option<CpuSet> {
    let tid = nix::unistd::Pid::from_raw(i32::try_from(tid).ok()?);
    let mask = nix::sched::sched_getaffinity(tid).ok()?;
    let cpus = 0..nix::sched::CpuSet::count();
    Some(cpus.filter(|&cpu| mask.is_set(cpu).unwrap_or(false)).map(|cpu| Cpu(cpu as u32)).collect())
}

/// The CPU time of all threads of a process, those that have ended among them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuClock(ClockId);

impl CpuClock {
    /// That of a process; `None` when there is no such process.
    pub(crate) fn of(pid: u32) -> Option<CpuClock> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).ok()?);
        clock_getcpuclockid(pid).ok().map(CpuClock)
    }

    /// What it tells, ns: another time when any thread had a CPU meanwhile. `None`
    /// when the process is gone.
    pub(crate) fn read(self) -> Option<u64> {
        u64::try_from(clock_gettime(self.0).ok()?.num_nanoseconds()).ok()
    }
}

/// The kernel's count of a thread's CPU time.
#[derive(Debug)]
pub(crate) struct CpuCount(File);

/// What the scheduler counted of a thread so far, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// CPU time. Exact while the thread is off the CPU; while it runs, as of a
    /// tick ago at most.
    pub(crate) cpu_ns: u64,
    /// Time in the run queue, as of the last time it left it.
    pub(crate) delay_ns: u64,
}

impl CpuCount {
    /// What was counted so far.
    pub(crate) fn read(&self) -> Option<Counted> {
        // Three numbers of 20 digits and what separates them.
        let mut text = [0; 64];
        let size = self.0.read_at(&mut text, 0).ok()?;
        let counted = Schedstat::from_read(&text[..size]).ok()?;
        Some(Counted { cpu_ns: counted.sum_exec_runtime, delay_ns: counted.run_delay })
    }
}

/// `0-3,8` in numbers; what is not a list gives what could be read of it.
pub(crate) fn cpu_list(text: &str) -> Vec<Cpu> {
    /// More CPUs than any kernel is built for.
    const LIMIT: u32 = 65_536;
    text.split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (last < LIMIT).then_some(first..=last)
        })
        .flatten()
        .map(Cpu)
        .collect()
}

/// CPU quota of a control group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Where it is set.
    pub(crate) file: PathBuf,
    /// CPU time allowed in a second, ns.
    pub(crate) per_second_ns: u64,
    /// Periods in which the group was throttled.
    pub(crate) periods: u64,
    /// Total throttled time, ns.
    pub(crate) throttled_ns: u64,
    /// CPU time of all that is in the group, ns; `None` where it is not counted.
    pub(crate) ran_ns: Option<u64>,
}

impl Quota {
    /// What there is to tell of the group of `pid`, of which `known` is what was told before.
    pub(crate) fn news(self, pid: Pid, known: &mut HashMap<Pid, Quota>) -> Vec<Event> {
        let Quota { per_second_ns, periods, throttled_ns, ran_ns, .. } = self;
        let before = known.get(&pid);
        if before.is_some_and(|before| Quota { ran_ns, ..before.clone() } == self) {
            return vec![];
        }
        let quota = Event::Quota { pid, per_second_ns, periods, throttled_ns };
        let ran = ran_ns.map(|ran_ns| Event::GroupRan { pid, ran_ns });
        let file = before
            .is_none_or(|before| before.file != self.file)
            .then(|| Event::QuotaFile { pid, path: self.file.to_string_lossy().into_owned() });
        known.insert(pid, self);
        [Some(quota), ran, file].into_iter().flatten().collect()
    }
}

/// The tightest quota of the groups that `/proc/PID/cgroup` names, or of one
/// above them; `None` when nothing limits.
fn quota(groups: &str, root: &Path) -> Option<Quota> {
    let mut tightest: Option<Quota> = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let unified = controllers.is_empty();
        if !unified && !controllers.split(',').any(|name| name == "cpu") {
            continue;
        }
        let mounts: &[&str] = if unified { &["", "unified"] } else { &["cpu", "cpu,cpuacct"] };
        for mount in mounts {
            for group in Path::new(path.trim_start_matches('/')).ancestors() {
                let found = read_quota(&root.join(mount).join(group), unified);
                let tighter = |found: &Quota| {
                    tightest.as_ref().is_none_or(|it| found.per_second_ns < it.per_second_ns)
                };
                if let Some(found) = found.filter(tighter) {
                    tightest = Some(found);
                }
            }
        }
    }
    tightest
}

fn read_quota(group: &Path, unified: bool) -> Option<Quota> {
    let number = |file: &str| -> Option<u64> {
        fs::read_to_string(group.join(file)).ok()?.trim().parse().ok()
    };
    let file = group.join(if unified { "cpu.max" } else { "cpu.cfs_quota_us" });
    let (quota_us, period_us) = if unified {
        let text = fs::read_to_string(&file).ok()?;
        let (quota, period) = text.trim().split_once(' ')?;
        (quota.parse().ok()?, period.parse().ok()?)
    } else {
        // −1 stands for no limit, and is no u64.
        (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
    };
    let stat = fs::read_to_string(group.join("cpu.stat")).ok()?;
    let field = |name: &str| -> Option<u64> {
        stat.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    };
    Some(Quota {
        file,
        per_second_ns: quota_us.checked_mul(1_000_000_000)?.checked_div(period_us)?,
        periods: field("nr_throttled").unwrap_or(0),
        throttled_ns: field("throttled_time")
            .or_else(|| field("throttled_usec").map(|us| us.saturating_mul(1000)))
            .unwrap_or(0),
        ran_ns: field("usage_usec")
            .map(|us| us.saturating_mul(1000))
            .or_else(|| number("cpuacct.usage")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_anew_each_time() {
        let root = tempfile::tempdir().unwrap();
        let task = root.path().join("7/task/8");
        fs::create_dir_all(&task).unwrap();
        let write = |text: &str| fs::write(task.join("schedstat"), text).unwrap();
        write("18446744073709551615 18446744073709551615 3\n");
        let proc = Proc { root: root.path().to_owned(), ..Proc::default() };
        let count = proc.cpu_count(7, 8).unwrap();
        let counted = |cpu_ns, delay_ns| Some(Counted { cpu_ns, delay_ns });
        assert_eq!(count.read(), counted(u64::MAX, u64::MAX));
        write("5 2 1\n");
        assert_eq!(count.read(), counted(5, 2));
        write("-5 0 1\n");
        assert_eq!(count.read(), None);
        assert!(proc.cpu_count(7, 9).is_none());
    }

    #[test]
    fn the_clock_of_a_time_namespace_is_ahead_or_behind() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("7")).unwrap();
        let ahead = |text: &str| {
            fs::write(root.path().join("7/timens_offsets"), text).unwrap();
            Proc::at(root.path()).clock_ahead(7)
        };
        assert_eq!(
            ahead("monotonic        100         5\nboottime           7         0\n"),
            100_000_000_005
        );
        assert_eq!(
            ahead("monotonic         -2 500000000\nboottime           0         0\n"),
            -1_500_000_000
        );
        assert_eq!(ahead("monotonic 9223372036854775807 0\n"), i64::MAX);
        assert_eq!(ahead("monotonic\n"), 0);
        assert_eq!(Proc::at(root.path()).clock_ahead(8), 0, "an older kernel");
    }

    #[test]
    fn a_cpu_list_is_read_and_nonsense_is_not() {
        assert_eq!(cpu_list("0-2,8"), [Cpu(0), Cpu(1), Cpu(2), Cpu(8)]);
        assert_eq!(cpu_list("0"), [Cpu(0)]);
        assert_eq!(cpu_list("x,3-1,0-4294967295"), []);
    }

    fn group(root: &Path, path: &str, files: &[(&str, &str)]) {
        let dir = root.join(path);
        fs::create_dir_all(&dir).unwrap();
        for (name, text) in files {
            fs::write(dir.join(name), text).unwrap();
        }
    }

    #[test]
    fn the_tightest_quota_above_a_process_counts() {
        let root = tempfile::tempdir().unwrap();
        let stat = "usage_usec 30\nnr_periods 9\nnr_throttled 4\nthrottled_usec 7\n";
        group(root.path(), "a", &[("cpu.max", "50000 100000\n"), ("cpu.stat", stat)]);
        group(root.path(), "a/b", &[("cpu.max", "max 100000\n"), ("cpu.stat", stat)]);
        let found = quota("0::/a/b\n", root.path()).unwrap();
        let ran_ns = Some(30_000);
        let file = root.path().join("a/cpu.max");
        let per_second_ns = 500_000_000;
        let expect = Quota { file, per_second_ns, periods: 4, throttled_ns: 7000, ran_ns };
        assert_eq!(found, expect);
        assert_eq!(quota("0::/elsewhere\n", root.path()), None);
    }

    #[test]
    fn version_one_groups_have_their_own_files() {
        let root = tempfile::tempdir().unwrap();
        let stat = "nr_periods 9\nnr_throttled 4\nthrottled_time 7\n";
        group(
            root.path(),
            "cpu/box",
            &[
                ("cpu.cfs_quota_us", "20000\n"),
                ("cpu.cfs_period_us", "100000\n"),
                ("cpu.stat", stat),
                ("cpuacct.usage", "30\n"),
            ],
        );
        let found = quota("5:memory:/x\n4:cpu:/box\n", root.path()).unwrap();
        let ran_ns = Some(30);
        let file = root.path().join("cpu/box/cpu.cfs_quota_us");
        let per_second_ns = 200_000_000;
        let expect = Quota { file, per_second_ns, periods: 4, throttled_ns: 7, ran_ns };
        assert_eq!(found, expect);
    }

    #[test]
    fn what_a_group_ran_is_told_when_it_was_throttled_again() {
        let quota = |throttled_ns, ran_ns| Quota {
            file: PathBuf::from("cpu.max"),
            per_second_ns: 1,
            periods: throttled_ns,
            throttled_ns,
            ran_ns: Some(ran_ns),
        };
        let pid = Pid(7);
        let mut known = HashMap::new();
        let news = quota(0, 5).news(pid, &mut known);
        assert_eq!(news.last(), Some(&Event::QuotaFile { pid, path: "cpu.max".to_owned() }));
        assert_eq!(quota(0, 9).news(pid, &mut known), []);
        let news = quota(1, 12).news(pid, &mut known);
        assert_eq!(news.last(), Some(&Event::GroupRan { pid, ran_ns: 12 }));
    }
}
