//! What Ctrl-C and friends do to a recording.
//!
//! On a running target the first ends the recording, and all is written. A
//! launched program gets Ctrl-C from the terminal itself, and we write when it
//! ends; other signals are passed on to it. A second signal writes at once, and
//! a third ends us: whoever reads what we print may not go on reading.
//!
//! A file that may not grow any more is an error of writing, as on a full disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};
use whyslow_sampler::Stop;

use crate::exit::Ending;

/// The signals that were caught.
pub struct Interrupts {
    launched: bool,
    last: Arc<AtomicI32>,
}

impl Interrupts {
    /// Handles the signals that end a program, from now on.
    ///
    /// # Errors
    /// When the handlers or their thread cannot be had.
    pub fn handle(stop: &Stop, launched: bool) -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP])?;
        // Unhandled it would kill us before the write can fail.
        flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        let last = Arc::new(AtomicI32::new(0));
        let (stop, seen) = (stop.clone(), Arc::clone(&last));
        let heeding = std::thread::Builder::new().name("interrupts".into());
        heeding.spawn(move || {
            for (count, signal) in signals.forever().enumerate() {
                seen.store(signal, Ordering::Relaxed);
                if count > 1 {
                    // Should this fail, we write on.
                    let _ = low_level::emulate_default_handler(signal);
                } else if count == 1 {
                    stop.at_once();
                } else if launched && matches!(signal, SIGTERM | SIGHUP) {
                    stop.forward(signal);
                } else {
                    stop.end();
                }
            }
        })?;
        Ok(Interrupts { launched, last })
    }

    /// How to end when no exit status of a program says it: a launched one
    /// that we left behind was not seen to its end.
    #[must_use]
    pub fn ending(&self) -> Ending {
        match self.last.load(Ordering::Relaxed) {
            signal if self.launched && signal != 0 => Ending::Signal(signal),
            _ => Ending::SUCCESS,
        }
    }
}
