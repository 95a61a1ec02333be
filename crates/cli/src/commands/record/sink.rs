//! The recording as it is written: events as they come, and at the end the
//! names of what stands in the stacks.

use std::fs::File;
use std::io::{self, BufWriter};
use std::time::{Duration, Instant};

use whyslow_events::recording::Writer;
use whyslow_events::{Event, Header, Ns, Timed};
use whyslow_symbols::Symbolizer;

/// What a killed recorder loses at most.
const FLUSH_INTERVAL: Duration = Duration::from_millis(250);

/// Writes a recording and learns its symbols.
pub struct Sink {
    writer: Writer<BufWriter<File>>,
    symbolizer: Symbolizer,
    flushed: Instant,
    /// The end of the window, kept back until the symbols stand before it.
    end: Option<Timed>,
    last: Ns,
}

impl Sink {
    /// Starts the recording.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn new(file: File, header: &Header) -> io::Result<Self> {
        Ok(Sink {
            writer: Writer::new(BufWriter::new(file), header)?,
            symbolizer: Symbolizer::new(header.facts),
            flushed: Instant::now(),
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
        self.symbolizer.observe(&timed.event);
        if matches!(timed.event, Event::End { .. }) {
            self.end = Some(timed.clone());
            return Ok(());
        }
        self.writer.push(timed)?;
        if self.flushed.elapsed() >= FLUSH_INTERVAL {
            self.flushed = Instant::now();
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
        for event in self.symbolizer.resolve() {
            self.writer.push(&Timed { time: self.last, event })?;
        }
        if let Some(end) = &self.end {
            self.writer.push(end)?;
        }
        self.writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)
    }
}
