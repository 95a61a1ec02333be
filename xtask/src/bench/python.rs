//! What profilers take from Python programs, the profilers of Python beside
//! ours, each at its usual rate or at 100 samples a second.
//!
//! The machine changes its speed from second to second by more than a profiler
//! costs. So one program runs on, and tells its pace many times a second, while
//! the profilers come and go; each visit is compared with the second before it or, in
//! turn, with the one after it. Not with the mean of both: that is disturbed more often
//! than a visit is, and visits of nobody would seem to speed the program up. Nobody
//! comes as often as we do, and shows what the measure is worth.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::{
    overhead::{lost, median, quality, remove},
    pairs::Pairs,
    profilers::{PYTHON, WHYSLOW},
    running::{Pace, Running},
};
use crate::run;

/// Of the package index; the newest that runs with the C library of Debian 12.
const PACKAGES: [&str; 2] = ["py-spy==0.4.1", "austin-dist==3.7.0"];
/// Ours, with what it may cost.
pub(super) const LIMITED: &str = "whyslow --max-overhead 1%";
/// Whyslow and nobody visit so many times while each of the others visits once.
const VISITS: usize = 5;
/// So often another profiler may end at once, which has not found its way into a program that
/// goes on meanwhile.
const AGAIN: usize = 2;
/// Who does nothing.
const NOBODY: &str = "nobody";

/// One program with all profilers.
#[derive(Serialize)]
pub(super) struct Slowdowns {
    pub(super) program: &'static str,
    /// Whether it has to be within the goal.
    pub(super) is_goal: bool,
    /// Time of a piece of work, ns, alone: the median.
    pub(super) alone: f64,
    pub(super) profilers: Vec<Slowdown>,
    /// Records the kernel dropped, summed over the visits of whyslow.
    pub(super) lost: u64,
}

/// One profiler with one program.
#[derive(Serialize)]
pub(super) struct Slowdown {
    pub(super) profiler: &'static str,
    /// The time of a piece of work beside it, in times of one alone before or after.
    pub(super) times: Pairs,
    /// The same of the CPU time that the program takes for it.
    pub(super) cpu: Pairs,
}

impl Slowdowns {
    pub(super) fn of(&self, profiler: &str) -> Option<&Slowdown> {
        self.profilers.iter().find(|it| it.profiler == profiler)
    }
}

impl Slowdown {
    fn new(profiler: &'static str) -> Slowdown {
        Slowdown { profiler, times: Pairs::default(), cpu: Pairs::default() }
    }

    fn push(&mut self, beside: Pace, alone: Pace) {
        self.times.push(beside.time, alone.time);
        self.cpu.push(beside.cpu, alone.cpu);
    }
}

struct Program {
    name: &'static str,
    words: &'static [&'static str],
    is_goal: bool,
}

const PROGRAMS: [Program; 4] = [
    Program {
        name: "Python, computing in deep calls",
        words: &["fixtures/bench/calls.py"],
        is_goal: true,
    },
    Program {
        name: "Python, 200 threads, requests of 5 ms",
        words: &["fixtures/bench/server.py", "5000"],
        is_goal: true,
    },
    Program {
        name: "the same, its clients think: how long requests take",
        words: &["fixtures/bench/server.py", "5000", "140"],
        is_goal: false,
    },
    Program {
        name: "Python, 200 threads, requests of 10 µs",
        words: &["fixtures/bench/server.py", "10"],
        is_goal: false,
    },
];

/// A profiler that attaches to `PID`, and what it writes.
struct Visitor {
    name: &'static str,
    command: String,
    output: PathBuf,
}

/// Runs the Python programs with every profiler of Python.
pub(super) fn measure(whyslow: &Path, folder: &Path, rounds: usize) -> Result<Vec<Slowdowns>> {
    let tools = install(&folder.join("python"))?;
    let visitors = visitors(whyslow, &tools, folder);
    PROGRAMS.iter().map(|it| measure_one(it, &visitors, whyslow, folder, rounds)).collect()
}

fn visitors(whyslow: &Path, tools: &Path, folder: &Path) -> Vec<Visitor> {
    let visitor = |name, program: &Path, arguments: &str| {
        // Its extension tells whyslow what to write.
        let output = folder.join("visit.whyslow");
        let command = format!("{} {arguments} {}", program.display(), output.display());
        Visitor { name, command, output }
    };
    let py_spy = "record --rate 100 --format raw --duration 2 --pid PID";
    let [py_spy_program, austin] = ["py-spy", "austin"].map(|name| tools.join(name));
    let nobody =
        Visitor { name: NOBODY, command: "sleep 3".to_owned(), output: folder.join("nothing") };
    vec![
        nobody,
        visitor(WHYSLOW, whyslow, "record -q --force -d 2 -p PID -o"),
        visitor(LIMITED, whyslow, "record --max-overhead 1% -q --force -d 2 -p PID -o"),
        visitor("py-spy", &py_spy_program, &format!("{py_spy} --output")),
        visitor(
            "py-spy --nonblocking",
            &py_spy_program,
            &format!("{py_spy} --nonblocking --output"),
        ),
        visitor("austin", &austin, "--interval 10000 --exposure 2 --pid PID --output"),
    ]
}

fn measure_one(
    program: &Program,
    visitors: &[Visitor],
    whyslow: &Path,
    folder: &Path,
    rounds: usize,
) -> Result<Slowdowns> {
    let words = || std::iter::once(&PYTHON).chain(program.words).copied();
    let running = Running::start(words())?;
    let mut slowdowns: Vec<Slowdown> = visitors.iter().map(|it| Slowdown::new(it.name)).collect();
    let mut paces = vec![running.alone()?];
    let mut lost_records = 0;
    for round in 0..rounds * VISITS {
        for (visitor, slowdown) in visitors.iter().zip(&mut slowdowns) {
            let ours = [WHYSLOW, LIMITED].contains(&visitor.name);
            if !ours && visitor.name != NOBODY && round % VISITS > 0 {
                continue;
            }
            eprintln!("{}, {}, visit {}", program.name, visitor.name, round + 1);
            remove(&visitor.output)?;
            let beside = || running.beside(&visitor.command);
            let again = if ours { 0 } else { AGAIN };
            let beside = (0..again).find_map(|_| beside().ok()).map_or_else(beside, Ok)?;
            let before = paces[paces.len() - 1];
            let after = running.alone()?;
            paces.push(after);
            slowdown.push(beside, if slowdown.times.len() % 2 == 0 { before } else { after });
            if ours {
                lost_records += lost(&quality(whyslow, &visitor.output)?)?;
            }
        }
    }
    drop(running);
    let middle = |of: fn(&Pace) -> f64| median(paces.iter().map(of).collect());
    let alone = Pace { time: middle(|it| it.time), cpu: middle(|it| it.cpu) };
    let inside = Running::start(inside(words(), folder).iter().map(String::as_str))?;
    let mut profiled = Slowdown::new("cProfile");
    profiled.push(inside.alone()?, alone);
    slowdowns.push(profiled);
    Ok(Slowdowns {
        program: program.name,
        is_goal: program.is_goal,
        alone: alone.time,
        profilers: slowdowns,
        lost: lost_records,
    })
}

/// The same with `cProfile`, which cannot attach.
fn inside<'a>(words: impl Iterator<Item = &'a str>, folder: &Path) -> Vec<String> {
    let output = folder.join("cProfile.out").display().to_string();
    let mut words: Vec<String> = words.map(str::to_owned).collect();
    words.splice(1..1, ["-m".to_owned(), "cProfile".to_owned(), "-o".to_owned(), output]);
    words
}

/// The folder of the profilers' programs, in an environment of their own.
fn install(environment: &Path) -> Result<PathBuf> {
    let programs = environment.join("bin");
    if PACKAGES.iter().all(|package| programs.join(command_of(package)).is_file()) {
        return Ok(programs);
    }
    let mut create = run::command(PYTHON);
    create.args(["-m", "venv"]).arg(environment);
    run::check(create).context("needs the package python3-venv")?;
    let mut install = run::command(programs.join("pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
    run::check(install).context("cannot install the profilers of Python")?;
    if let Some(missing) = PACKAGES.iter().find(|it| !programs.join(command_of(it)).is_file()) {
        bail!("{missing} brings no program of its name");
    }
    Ok(programs)
}

/// `austin-dist==3.7.0` brings `austin`.
fn command_of(package: &str) -> &str {
    let name = package.split("==").next().unwrap_or(package);
    name.strip_suffix("-dist").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_after_their_programs() {
        assert_eq!(PACKAGES.map(command_of), ["py-spy", "austin"]);
    }

    #[test]
    fn c_profile_is_a_part_of_the_interpreter() {
        let words = inside(["python", "x.py", "1"].into_iter(), Path::new("/f"));
        assert_eq!(words.join(" "), "python -m cProfile -o /f/cProfile.out x.py 1");
    }
}
