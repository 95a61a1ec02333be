//! A program that runs on and tells its speed, while profilers come and go.

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

use crate::run;

/// A profiler attaches once, and the program runs for hours: what begins with
/// it is left out.
const SETTLES: Duration = Duration::from_millis(700);
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    /// By the monotonic clock, as the other times in ns.
    at: u64,
    done: u64,
    took: u64,
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
        running.speed(BEGINS)?;
        Ok(running)
    }

    /// Its speed from now on, in pieces a second.
    pub(super) fn alone(&self) -> Result<f64> {
        self.speed(WATCHED)
    }

    /// Its speed while `profiler` records it, where its pid replaces `PID`.
    pub(super) fn beside(&self, profiler: &str) -> Result<f64> {
        let words = profiler.replace("PID", &self.child.id().to_string());
        let mut command = run::command("timeout");
        command.args(["--signal=KILL", LONGEST]).args(words.split_whitespace());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        self.speed(SETTLES)?;
        let speed = self.speed(WATCHED);
        if child.try_wait()?.is_some() {
            bail!("{words}: it ended too early");
        }
        child.wait()?;
        // A profiler that stops its target and is killed may leave it so.
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGCONT)?;
        speed
    }

    /// In pieces a second, for a time from now on.
    fn speed(&self, during: Duration) -> Result<f64> {
        let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?).as_nanos() as u64;
        let begin = Instant::now();
        let (mut done, mut took) = (0, 0);
        while begin.elapsed() < during || took == 0 {
            let line = self.lines.recv().context("the program ended")?;
            if line.at.saturating_sub(line.took) >= now {
                done += line.done;
                took += line.took;
            }
        }
        Ok(done as f64 * 1e9 / took as f64)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// When it was, pieces done since the line before, and the time they took.
fn read(line: &str) -> Option<Line> {
    let mut numbers = line.split_whitespace().map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some(Line { at: next()?, done: next()?, took: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_three_numbers() {
        assert_eq!(read("9 8 7"), Some(Line { at: 9, done: 8, took: 7 }));
        assert_eq!(read("9 8"), None);
        assert_eq!(read("x 8 7"), None);
    }

    #[test]
    fn the_speed_is_that_of_the_time_that_was_watched() {
        let script = "i=0; while :; do i=$((i+1)); sleep 0.01; \
                      echo $(sed 's/ .*//; s/\\.//; s/$/0000000/' /proc/uptime) 5 1000000; done";
        let running = Running::start(["sh", "-c", script].into_iter()).unwrap();
        let speed = running.speed(Duration::from_millis(50)).unwrap();
        assert!((speed - 5000.0).abs() < 1e-6, "{speed}");
    }
}
