//! Reads a source in a thread of its own, a little ahead of who judges its events.

use std::collections::VecDeque;
use std::mem;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

use whyslow_events::{EventSource, Header, SourceError, Timed};

/// Events that are handed over together: so many are not dear to hand over, and stay in
/// the caches of a CPU until they are judged.
const TOGETHER: usize = 1024;
/// How many times as many are read ahead.
const AHEAD: usize = 4;

/// The events of a source that another thread reads.
pub(crate) struct Ahead<S> {
    header: Header,
    is_repeatable: bool,
    reading: Reading<S>,
    /// What was handed over and not given yet.
    batch: Batch,
}

enum Reading<S> {
    There(Thread<S>),
    /// No thread could be had.
    Here(S),
    /// It failed and cannot go on.
    Nowhere,
}

struct Thread<S> {
    /// Gives the source back.
    handle: JoinHandle<Option<S>>,
    batches: Receiver<Batch>,
    /// Takes empty batches back.
    used: Sender<VecDeque<Timed>>,
}

#[derive(Default)]
struct Batch {
    events: VecDeque<Timed>,
    /// How the source ended after these, if it did.
    end: Option<Result<(), SourceError>>,
}

impl<S: EventSource + Send + 'static> Ahead<S> {
    /// Begins to read.
    pub(crate) fn new(source: S) -> Self {
        Ahead {
            header: source.header().clone(),
            is_repeatable: source.is_repeatable(),
            reading: Reading::of(source),
            batch: Batch::default(),
        }
    }

    fn next_batch(&mut self) -> Result<Option<Timed>, SourceError> {
        if let Some(end) = self.batch.end.take() {
            self.batch.end = Some(Ok(()));
            return end.map(|()| None);
        }
        match &mut self.reading {
            Reading::Here(source) => source.next_event(),
            Reading::Nowhere => Ok(None),
            Reading::There(thread) => {
                if let Ok(batch) = thread.batches.recv() {
                    let used = mem::replace(&mut self.batch, batch).events;
                    // Of no use to a thread that has ended.
                    let _ = thread.used.send(used);
                    return self.next_event();
                }
                // It says how it ends, unless it panics.
                self.take_back();
                Ok(None)
            }
        }
    }

    fn take_back(&mut self) -> Option<S> {
        match mem::replace(&mut self.reading, Reading::Nowhere) {
            Reading::There(Thread { handle, batches, .. }) => {
                drop(batches);
                handle.join().unwrap_or_else(|panic| resume_unwind(panic))
            }
            Reading::Here(source) => Some(source),
            Reading::Nowhere => None,
        }
    }
}

impl<S: EventSource + Send + 'static> Reading<S> {
    fn of(source: S) -> Self {
        let (give, take) = channel::<S>();
        let (to, batches) = sync_channel(AHEAD);
        let (used, from) = channel();
        let read = move || {
            let mut source = take.recv().ok()?;
            read(&mut source, &to, &from);
            Some(source)
        };
        let Ok(handle) = Builder::new().name("whyslow-read".to_owned()).spawn(read) else {
            return Reading::Here(source);
        };
        match give.send(source) {
            Ok(()) => Reading::There(Thread { handle, batches, used }),
            Err(back) => Reading::Here(back.0),
        }
    }
}

/// Until the source ends, or nobody wants more.
fn read(source: &mut dyn EventSource, to: &SyncSender<Batch>, used: &Receiver<VecDeque<Timed>>) {
    loop {
        let events = used.try_recv().unwrap_or_else(|_| VecDeque::with_capacity(TOGETHER));
        let mut batch = Batch { events, end: None };
        while batch.events.len() < TOGETHER && batch.end.is_none() {
            match source.next_event() {
                Ok(Some(event)) => batch.events.push_back(event),
                Ok(None) => batch.end = Some(Ok(())),
                Err(error) => batch.end = Some(Err(error)),
            }
        }
        let is_last = batch.end.is_some();
        if to.send(batch).is_err() || is_last {
            return;
        }
    }
}

impl<S: EventSource + Send + 'static> EventSource for Ahead<S> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn next_event(&mut self) -> Result<Option<Timed>, SourceError> {
        match self.batch.events.pop_front() {
            None => self.next_batch(),
            event => Ok(event),
        }
    }

    fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    fn repeat(&mut self) -> Result<(), SourceError> {
        self.batch = Batch::default();
        let Some(mut source) = self.take_back() else { return Ok(()) };
        let repeated = source.repeat();
        self.reading = Reading::of(source);
        repeated
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use whyslow_events::recording::Reader;
    use whyslow_events::{Event, InMemory};

    use super::*;
    use crate::testing::{header, recording};

    const MANY: u64 = 10 * TOGETHER as u64 + 7;

    fn many() -> InMemory {
        let late = |time| (time, Event::Late { records: time });
        InMemory::new(header(), (0..MANY).map(late).collect())
    }

    /// The times of all events.
    fn times(source: &mut impl EventSource) -> Vec<u64> {
        std::iter::from_fn(|| source.next_event().unwrap()).map(|timed| timed.time.0).collect()
    }

    #[test]
    fn what_is_read_ahead_comes_whole_and_in_order_and_again() {
        let mut ahead = Ahead::new(many());
        assert!(ahead.is_repeatable());
        assert_eq!(times(&mut ahead), (0..MANY).collect::<Vec<_>>());
        assert!(ahead.next_event().unwrap().is_none(), "after the end");
        ahead.repeat().unwrap();
        assert_eq!(ahead.next_event().unwrap().unwrap().time.0, 0);
        ahead.repeat().unwrap();
        assert_eq!(times(&mut ahead).len() as u64, MANY, "from the middle, too");
    }

    #[test]
    fn without_a_thread_it_is_read_here() {
        let mut ahead = Ahead::new(InMemory::new(header(), vec![]));
        ahead.reading = Reading::Here(many());
        assert_eq!(times(&mut ahead).len() as u64, MANY);
    }

    #[test]
    fn a_source_that_breaks_off_says_so_once_after_its_events() {
        let whole = recording();
        let cut = whole[..whole.len() - 6].to_vec();
        let mut plain = Reader::new(cut.as_slice()).unwrap();
        let mut ahead = Ahead::new(Reader::repeatable(Cursor::new(cut.clone())).unwrap());
        loop {
            match (plain.next_event(), ahead.next_event()) {
                (Ok(Some(expected)), Ok(Some(event))) => assert_eq!(expected, event),
                (Err(expected), Err(error)) => {
                    assert_eq!(expected.to_string(), error.to_string());
                    break;
                }
                (expected, found) => panic!("{expected:?} and not {found:?}"),
            }
        }
        assert!(ahead.next_event().unwrap().is_none());
    }
}
