//! Gives a recording the symbols it lacks: a recorder that was killed had no
//! time to resolve its own.

use std::collections::VecDeque;

use whyslow_events::{Event, EventSource, Header, Ns, SourceError, Timed};
use whyslow_symbols::Symbolizer;

/// Plays `source`, and at its end the names of the addresses in it, unless the
/// recording holds names or comes from another machine.
pub(crate) struct Symbolized<S> {
    source: S,
    symbolizer: Option<Symbolizer>,
    last: Ns,
    /// Set when `source` ended: what remains to be given.
    rest: Option<Rest>,
}

struct Rest {
    events: VecDeque<Event>,
    /// How the source ended, given after its symbols.
    end: Option<SourceError>,
}

impl<S: EventSource> Symbolized<S> {
    /// Wraps a recording that is read from its start.
    #[must_use]
    pub(crate) fn new(source: S) -> Self {
        let header = source.header();
        let symbolizer = is_this_machine(header).then(|| Symbolizer::new(header.facts));
        Symbolized { source, symbolizer, last: Ns(0), rest: None }
    }

    fn next_of_source(&mut self) -> Result<Option<Timed>, SourceError> {
        let next = self.source.next_event();
        match &next {
            Ok(Some(timed)) => {
                self.last = timed.time;
                if matches!(timed.event, Event::Symbols(_)) {
                    self.symbolizer = None;
                } else if let Some(symbolizer) = &mut self.symbolizer {
                    symbolizer.observe(&timed.event);
                }
                next
            }
            _ => {
                let symbols = self.symbolizer.take().map_or(Vec::new(), |mut s| s.resolve());
                self.rest = Some(Rest { events: symbols.into(), end: next.err() });
                self.next_event()
            }
        }
    }
}

impl<S: EventSource> EventSource for Symbolized<S> {
    fn header(&self) -> &Header {
        self.source.header()
    }

    fn next_event(&mut self) -> Result<Option<Timed>, SourceError> {
        let Some(rest) = &mut self.rest else { return self.next_of_source() };
        match (rest.events.pop_front(), rest.end.take()) {
            (Some(event), end) => {
                rest.end = end;
                Ok(Some(Timed { time: self.last, event }))
            }
            (None, Some(error)) => Err(error),
            (None, None) => Ok(None),
        }
    }
}

/// Elsewhere the same addresses hold other code.
fn is_this_machine(header: &Header) -> bool {
    nix::sys::utsname::uname().is_ok_and(|here| {
        here.nodename() == header.host.as_str() && here.release() == header.kernel.as_str()
    })
}
