//! The recording as it is written: events as they come, names of code that may
//! soon be gone, and at the end the names of all else that stands in the stacks.

use std::fs::File;
use std::io::{self, BufWriter};

use whyslow_events::recording::Writer;
use whyslow_events::{Event, Header, Ns, Timed};
use whyslow_symbols::Symbolizer;

/// What a killed recorder loses at most, ns.
const FLUSH_INTERVAL: u64 = 250_000_000;

/// How often runtimes are asked what they have compiled, ns.
const REFRESH_INTERVAL: u64 = 1_000_000_000;

/// The same when a thread has ended, after which the whole process may be gone, ns.
const REFRESH_AT_EXIT: u64 = 100_000_000;

/// Writes a recording and learns its symbols.
pub struct Sink {
    writer: Writer<BufWriter<File>>,
    symbolizer: Symbolizer,
    /// By the times of the events: asking a clock at each costs more than the
    /// event itself.
    flushed: Ns,
    refreshed: Ns,
    /// The end of the window, kept back until the symbols stand before it.
    end: Option<Timed>,
    last: Ns,
}

impl Sink {
    /// Starts the recording, whose addresses `symbolizer` names.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn new(file: File, header: &Header, symbolizer: Symbolizer) -> io::Result<Self> {
        Ok(Sink {
            writer: Writer::new(BufWriter::new(file), header)?,
            symbolizer,
            flushed: header.start,
            refreshed: header.start,
            end: None,
            last: header.start,
        })
    }

    /// Adds an event.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn push(&mut self, timed: &Timed) -> io::Result<()> {
        self.last = timed.time;
        self.symbolizer.observe_at(timed.time, &timed.event);
        if matches!(timed.event, Event::End { .. }) {
            self.end = Some(timed.clone());
            return Ok(());
        }
        self.writer.push(timed)?;
        let exit = matches!(timed.event, Event::Exit { .. });
        let interval = if exit { REFRESH_AT_EXIT } else { REFRESH_INTERVAL };
        if timed.time.since(self.refreshed) >= interval {
            self.refreshed = timed.time;
            let names = self.symbolizer.refresh();
            self.write(names)?;
        }
        if timed.time.since(self.flushed) >= FLUSH_INTERVAL {
            self.flushed = timed.time;
            self.writer.flush()?;
        }
        Ok(())
    }

    /// Writes the symbols and the end.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(mut self) -> io::Result<File> {
        // What was seen is safe before we set out to name it.
        self.writer.flush()?;
        let names = self.symbolizer.resolve();
        self.write(names)?;
        if let Some(end) = &self.end {
            self.writer.push(end)?;
        }
        self.writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)
    }

    fn write(&mut self, names: Vec<Event>) -> io::Result<()> {
        let mut names = names.into_iter().map(|event| Timed { time: self.last, event });
        names.try_for_each(|timed| self.writer.push(&timed))
    }
}
