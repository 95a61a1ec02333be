//! A line on standard error that says how a long recording goes.
//! Nothing is drawn unless standard error is a terminal.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::render::units::{count, span};

/// A recording shorter than this needs no line.
const PATIENCE: Duration = Duration::from_secs(2);
const REDRAWS_PER_SECOND: u8 = 4;
const BETWEEN_REDRAWS: Duration = Duration::from_millis(1000 / REDRAWS_PER_SECOND as u64);

/// The progress line.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// When the line is worded next: nobody reads it more often.
    next: Cell<Duration>,
}

impl Progress {
    /// Gets ready; draws nothing yet.
    #[must_use]
    pub(crate) fn start(quiet: bool) -> Self {
        Self::on(!quiet && std::io::stderr().is_terminal())
    }

    fn on(shown: bool) -> Self {
        let target = match shown {
            true => ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        // Without a template the style is valid by construction.
        if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
            bar.set_style(style);
        }
        Progress { bar, next: Cell::new(PATIENCE) }
    }

    /// Says how far the recording is.
    pub(crate) fn tick(&self, elapsed: Duration, events: u64, threads: usize) {
        if elapsed >= self.next.get() {
            self.next.set(elapsed + BETWEEN_REDRAWS);
            self.bar.set_message(line(elapsed, events, threads));
        }
    }

    /// Takes the line away.
    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

fn line(elapsed: Duration, events: u64, threads: usize) -> String {
    let elapsed = span(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
    let plural = if threads == 1 { "" } else { "s" };
    format!("recording {elapsed} · {threads} thread{plural} · {} events", count(events))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_time_threads_and_events() {
        assert_eq!(
            line(Duration::from_millis(12_345), 1_234_567, 9),
            "recording 12.3 s · 9 threads · 1.23M events"
        );
        assert_eq!(line(Duration::from_secs(3), 5, 1), "recording 3.00 s · 1 thread · 5 events");
    }

    #[test]
    fn nothing_is_said_of_a_short_recording() {
        let progress = Progress::on(false);
        progress.tick(Duration::from_millis(1_999), 1, 1);
        assert_eq!(progress.bar.message(), "");
        progress.tick(PATIENCE, 1, 1);
        assert!(progress.bar.message().starts_with("recording 2.00 s"));
        progress.finish();
    }
}
