//! Gives a recording the symbols it lacks: a recorder that was killed had no
//! time to name everything itself.

use std::collections::VecDeque;

use whyslow_events::{Event, EventSource, Header, Ns, SourceError, Timed};
use whyslow_sampler::boot_id;
use whyslow_symbols::Symbolizer;

use crate::debuginfod;

/// Plays `source`, and at its end the names of the addresses that it did not
/// name, unless it is whole or comes from another machine.
pub(crate) struct Symbolized<S> {
    source: S,
    symbolizer: Option<Symbolizer>,
    /// The source held names of its own.
    named: bool,
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
        let new = || Symbolizer::new(header.facts).with_servers(debuginfod::from_environment());
        let symbolizer = is_this_machine(header).then(new);
        Symbolized { source, symbolizer, named: false, last: Ns(0), rest: None }
    }

    fn next_of_source(&mut self) -> Result<Option<Timed>, SourceError> {
        let next = self.source.next_event();
        let Ok(Some(timed)) = &next else {
            self.rest = Some(self.rest(next.err()));
            return self.next_event();
        };
        self.last = timed.time;
        self.named |= matches!(timed.event, Event::Symbols(_));
        if let Some(symbolizer) = &mut self.symbolizer {
            symbolizer.observe_at(timed.time, &timed.event);
        }
        next
    }

    fn rest(&mut self, end: Option<SourceError>) -> Rest {
        let whole = self.named && end.is_none();
        let symbolizer = self.symbolizer.take().filter(|_| !whole);
        let events = symbolizer.map_or(Vec::new(), |mut symbolizer| symbolizer.resolve());
        Rest { events: events.into(), end }
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

    fn is_repeatable(&self) -> bool {
        self.source.is_repeatable()
    }

    /// The names were given.
    fn repeat(&mut self) -> Result<(), SourceError> {
        (self.symbolizer, self.rest) = (None, None);
        self.source.repeat()
    }
}

/// Elsewhere, or after the next boot, the same addresses hold other code.
fn is_this_machine(header: &Header) -> bool {
    !header.boot_id.is_empty()
        && header.boot_id == boot_id()
        && nix::sys::utsname::uname().is_ok_and(|here| here.nodename() == header.host.as_str())
}

#[cfg(test)]
mod tests {
    use whyslow_events::recording::Reader;
    use whyslow_events::{Frame, InMemory, SymbolKey};

    use super::*;
    use crate::testing::{header, recording};

    /// All events up to the end, and how it ended.
    fn play(mut source: impl EventSource) -> (Vec<Timed>, Option<SourceError>) {
        let mut events = Vec::new();
        loop {
            match source.next_event() {
                Ok(Some(timed)) => events.push(timed),
                Ok(None) => return (events, None),
                Err(error) => return (events, Some(error)),
            }
        }
    }

    fn has_names(events: &[Timed]) -> bool {
        events.iter().any(|timed| matches!(timed.event, Event::Symbols(_)))
    }

    #[test]
    fn a_recording_without_names_gets_them_at_its_end() {
        let bytes = recording();
        let (plain, _) = play(Reader::new(bytes.as_slice()).unwrap());
        let (named, end) = play(Symbolized::new(Reader::new(bytes.as_slice()).unwrap()));
        assert!(end.is_none() && !has_names(&plain) && has_names(&named));
        assert!(named.starts_with(&plain));
    }

    #[test]
    fn a_cut_recording_gets_names_and_is_still_cut() {
        let bytes = recording();
        let cut = &bytes[..bytes.len() - 6];
        let (named, end) = play(Symbolized::new(Reader::new(cut).unwrap()));
        assert!(end.is_some() && has_names(&named));
    }

    #[test]
    fn names_that_are_there_are_kept() {
        let key = SymbolKey { space: None, address: 1 };
        let events = vec![(0, Event::Symbols(vec![(key, vec![Frame::default()])]))];
        let (named, _) = play(Symbolized::new(InMemory::new(header(), events)));
        assert_eq!(named.len(), 1);
    }

    #[test]
    fn a_recording_of_another_machine_or_boot_is_not_named_by_this_one() {
        let elsewhere = Header { host: "elsewhere".into(), ..header() };
        let before = Header { boot_id: "before".into(), ..header() };
        let unknown = Header { boot_id: String::new(), ..header() };
        let stack = Event::Stack {
            id: whyslow_events::StackId(0),
            space: whyslow_events::SpaceId(0),
            kernel: vec![1],
            user: vec![1],
            end: whyslow_events::StackEnd::Complete,
            script: vec![],
        };
        let named = |header| {
            has_names(&play(Symbolized::new(InMemory::new(header, vec![(0, stack.clone())]))).0)
        };
        assert!(named(header()));
        assert!(!named(elsewhere) && !named(before) && !named(unknown));
    }
}
