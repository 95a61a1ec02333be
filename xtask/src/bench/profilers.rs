//! The profilers that are compared, each as the words before the program's own.

use std::path::Path;

/// A profiler, or none.
pub(super) struct Profiler {
    pub(super) name: &'static str,
    /// It slows programs down so much that it runs in the first round only.
    pub(super) slow: bool,
    words: Vec<String>,
    /// Removed before each run.
    pub(super) output: std::path::PathBuf,
}

/// The interpreter of the programs in Python: not what the `PATH` of a
/// developer finds first, which may be a script.
pub(super) const PYTHON: &str = "/usr/bin/python3";
/// The name of the run without any profiler.
pub(super) const NONE: &str = "alone";
/// Our own name.
pub(super) const WHYSLOW: &str = "whyslow";
/// `perf` with the same events: the clock at the same rate and every switch.
pub(super) const PERF_RECORD: &str = "perf record -g";
/// `perf` that copies stacks, 8 KiB of each, for `perf script` to unwind.
pub(super) const PERF_DWARF: &str = "perf record --call-graph dwarf";

/// Ours by default, of the clock.
pub(super) const DEFAULT_HERTZ: u32 = 299;
/// The rate at which whole stacks are compared.
pub(super) const STACKS_HERTZ: u32 = 499;

impl Profiler {
    fn new(name: &'static str, slow: bool, words: &str, output: &Path) -> Profiler {
        let mut words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        if !words.is_empty() {
            words.push(output.to_string_lossy().into_owned());
        }
        Profiler { name, slow, words, output: output.to_owned() }
    }

    /// The command that records `program`.
    pub(super) fn wrap(&self, program: &[String]) -> Vec<String> {
        // Everything after `--` is the program's; strace and perf know it too.
        let separator = (!self.words.is_empty()).then(|| "--".to_owned());
        self.words.iter().cloned().chain(separator).chain(program.iter().cloned()).collect()
    }
}

/// No profiler, ours, and the others.
pub(super) fn all(whyslow: &Path, folder: &Path) -> Vec<Profiler> {
    let output = |name: &str| folder.join(name);
    vec![
        Profiler::new(NONE, false, "", &output("none")),
        self::whyslow(whyslow, folder),
        perf_record(DEFAULT_HERTZ, folder),
        Profiler::new("perf trace -s", true, "perf trace -s -o", &output("trace.txt")),
        Profiler::new("strace -f -c", true, "strace -f -c -o", &output("strace.txt")),
    ]
}

/// No profiler, and those that sample, at this rate.
pub(super) fn sampling(hertz: u32, whyslow: &Path, folder: &Path) -> Vec<Profiler> {
    vec![
        Profiler::new(NONE, false, "", &folder.join("none")),
        ours(WHYSLOW, &format!("-F {hertz}"), whyslow, &folder.join("bench.whyslow")),
        perf_record(hertz, folder),
        perf_dwarf(hertz, folder),
    ]
}

/// Those that copy stacks: ours as it is, and with the largest copies.
pub(super) fn of_stacks(whyslow: &Path, folder: &Path) -> Vec<Profiler> {
    let rate = format!("-F {STACKS_HERTZ}");
    let largest = format!("{rate} --stack-size 60K");
    vec![
        ours(WHYSLOW, &rate, whyslow, &folder.join("bench.whyslow")),
        ours("whyslow --stack-size 60K", &largest, whyslow, &folder.join("largest.whyslow")),
        perf_dwarf(STACKS_HERTZ, folder),
    ]
}

/// Ours, as it is by default.
pub(super) fn whyslow(whyslow: &Path, folder: &Path) -> Profiler {
    ours(WHYSLOW, "", whyslow, &folder.join("bench.whyslow"))
}

/// Ours, writing a recording as it does by default, and no flamegraph.
fn ours(name: &'static str, options: &str, whyslow: &Path, output: &Path) -> Profiler {
    let words = format!("{} record -q {options} -o", whyslow.display());
    Profiler::new(name, false, &words, output)
}

/// Ours at another rate, with a flamegraph.
pub(super) fn whyslow_at(hertz: u32, whyslow: &Path, folder: &Path) -> Profiler {
    let svg = folder.join("many.svg");
    let words =
        format!("{} record -q --force -F {hertz} -o {} -o", whyslow.display(), svg.display());
    Profiler::new(WHYSLOW, false, &words, &folder.join("many.whyslow"))
}

/// `perf record` with the same events. With `-F` perf would sample the switches too;
/// without, it takes each.
pub(super) fn perf_record(hertz: u32, folder: &Path) -> Profiler {
    let words = format!(
        "perf record -q -g --call-graph fp -e cpu-clock/freq={hertz}/ -e sched:sched_switch -o"
    );
    Profiler::new(PERF_RECORD, false, &words, &folder.join("bench.data"))
}

fn perf_dwarf(hertz: u32, folder: &Path) -> Profiler {
    let words = format!("perf record -q --call-graph dwarf -e cpu-clock/freq={hertz}/ -o");
    Profiler::new(PERF_DWARF, false, &words, &folder.join("dwarf.data"))
}
