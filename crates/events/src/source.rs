//! A stream of events in time order, live or replayed.

use crate::{Event, Header, Ns, Timed, recording::ReadError};

/// Why a source could not give its next event.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The recording is damaged from here on; what came before is good.
    #[error(transparent)]
    Recording(#[from] ReadError),
}

/// Events in time order, after one header.
pub trait EventSource {
    /// What is known before the first event.
    fn header(&self) -> &Header;

    /// The next event, `None` at the end.
    ///
    /// # Errors
    /// When the source is damaged; the events before it are valid, and no
    /// further call gives any.
    fn next_event(&mut self) -> Result<Option<Timed>, SourceError>;

    /// Whether the events can be had again.
    fn is_repeatable(&self) -> bool {
        false
    }

    /// Goes back to the first event, where [`EventSource::is_repeatable`] says so.
    ///
    /// # Errors
    /// When what is read cannot be read from its beginning.
    fn repeat(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
}

/// A source that plays events from memory: for tests and generated streams.
#[derive(Clone, Debug)]
pub struct InMemory {
    header: Header,
    events: Vec<Timed>,
    given: usize,
}

impl InMemory {
    /// Plays `events`, (time, event) pairs in ns, in the order given.
    #[must_use]
    pub fn new(header: Header, events: Vec<(u64, Event)>) -> Self {
        let events: Vec<Timed> =
            events.into_iter().map(|(time, event)| Timed { time: Ns(time), event }).collect();
        InMemory { header, events, given: 0 }
    }
}

impl EventSource for InMemory {
    fn header(&self) -> &Header {
        &self.header
    }

    fn next_event(&mut self) -> Result<Option<Timed>, SourceError> {
        let next = self.events.get(self.given).cloned();
        self.given += usize::from(next.is_some());
        Ok(next)
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    fn repeat(&mut self) -> Result<(), SourceError> {
        self.given = 0;
        Ok(())
    }
}
