//! A program that runs on and tells its pace, while profilers come and go.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

use super::overhead::median;
use crate::run;

/// A profiler attaches once, and the program runs for hours: what begins with
/// it is left out.
const SETTLES: Duration = Duration::from_millis(600);
const WATCHED: Duration = Duration::from_millis(1100);
/// The first moments of a program.
const BEGINS: Duration = Duration::from_millis(500);
/// A profiler that falls behind goes on for minutes.
const LONGEST: &str = "30";

/// The program; it is killed when this is dropped.
pub(super) struct Running {
    child: Child,
    lines: Receiver<Line>,
}

/// What it says now and then.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    /// By the monotonic clock, as the other times in ns.
    at: u64,
    done: f64,
    took: u64,
    cpu: u64,
}

/// What a piece of its work takes, ns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) time: f64,
    /// Of the program's CPU time.
    pub(super) cpu: f64,
}

impl Running {
    pub(super) fn start<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Running> {
        let mut command = run::command(words.next().context("no program")?);
        let mut child = command.args(words).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("standard output is piped")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.filter_map(|line| read(&line)).try_for_each(|line| sender.send(line))
        });
        let running = Running { child, lines };
        running.pace(BEGINS)?;
        Ok(running)
    }

    /// Its pace from now on.
    pub(super) fn alone(&self) -> Result<Pace> {
        self.pace(WATCHED)
    }

    /// Its pace while `profiler` records it, where its pid replaces `PID`.
    pub(super) fn beside(&self, profiler: &str) -> Result<Pace> {
        let words = profiler.replace("PID", &self.child.id().to_string());
        let mut command = run::command("timeout");
        command.args(["--signal=KILL", LONGEST]).args(words.split_whitespace());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        thread::sleep(SETTLES);
        let pace = self.pace(WATCHED);
        if child.try_wait()?.is_some() {
            bail!("{words}: it ended too early");
        }
        child.wait()?;
        // A profiler that stops its target and is killed may leave it so.
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGCONT)?;
        pace
    }

    /// For a time from now on: the median of what it says, for now and then something
    /// else has the machine.
    fn pace(&self, during: Duration) -> Result<Pace> {
        let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?).as_nanos() as u64;
        let begin = Instant::now();
        let mut lines = vec![];
        while begin.elapsed() < during || lines.is_empty() {
            let line = self.lines.recv().context("the program ended")?;
            if line.at.saturating_sub(line.took) >= now && line.done > 0.0 {
                lines.push(line);
            }
        }
        let middle =
            |of: fn(&Line) -> u64| median(lines.iter().map(|it| of(it) as f64 / it.done).collect());
        Ok(Pace { time: middle(|it| it.took), cpu: middle(|it| it.cpu) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// When it was, pieces done since the line before, the time and the CPU time they took.
fn read(line: &str) -> Option<Line> {
    let mut words = line.split_whitespace();
    let at = words.next()?.parse().ok()?;
    let done = words.next()?.parse().ok()?;
    let mut next = || words.next()?.parse().ok();
    Some(Line { at, done, took: next()?, cpu: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_four_numbers() {
        assert_eq!(read("9 0.5 7 6"), Some(Line { at: 9, done: 0.5, took: 7, cpu: 6 }));
        assert_eq!(read("9 8 7"), None);
        assert_eq!(read("x 8 7 6"), None);
    }

    #[test]
    fn the_pace_is_that_of_the_time_that_was_watched_but_for_disturbances() {
        let script = "i=0; while :; do i=$((i+1)); sleep 0.01; \
                      [ $((i % 4)) = 0 ] && took=9000000 || took=1000000; \
                      echo $(sed 's/ .*//; s/\\.//; s/$/0000000/' /proc/uptime) 5 $took 500000; done";
        let running = Running::start(["sh", "-c", script].into_iter()).unwrap();
        let Pace { time, cpu } = running.pace(Duration::from_millis(100)).unwrap();
        assert!((time - 200_000.0).abs() < 1e-6, "{time}");
        assert!((cpu - 100_000.0).abs() < 1e-6, "{cpu}");
    }
}
