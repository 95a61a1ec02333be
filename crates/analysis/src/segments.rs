//! The way through a recording of any length in bounded memory. What was done is
//! judged segment by segment, each as long as its detail has room, and dropped; what
//! stays are sums. Some of it only the whole recording tells, so one that has several
//! segments is surveyed before each of them is judged: where it has two, both are kept
//! until then, and where it has more, it is read twice. The last one stays, for those
//! analyses that need detail.

use whyslow_events::{Event, EventSource, Timed};

use crate::account::{Account, Accountant, Endings};
use crate::lending::Lending;
use crate::quota::Quotas;
use crate::tables::Tables;
use crate::timeline::{Builder, Lent, Survey, Timeline};
use crate::totals::Totals;

/// Events of threads in a segment. An interval takes some hundred bytes with all
/// that is made of it, and an event makes hardly more than one.
pub(crate) const SEGMENT: usize = 2 << 20;

/// No recording is longer, in ns: the times of thousands of threads sum to less than 64 bits hold.
const LONGEST: u64 = 1 << 52;

/// A recording, judged.
pub(crate) struct Judged {
    pub(crate) tables: Tables,
    pub(crate) totals: Totals,
    /// The last segment, or all.
    pub(crate) recent: Timeline,
    pub(crate) accounts: Vec<Vec<Account>>,
    /// The sums of the last segment, where that is not all.
    pub(crate) apart: Option<Totals>,
    pub(crate) disagreements: u64,
    /// On-CPU time, ours and the kernel's, of what can be compared, ns.
    pub(crate) compared: (u64, u64),
    /// Why the recording ended early, if it did.
    pub(crate) damage: Option<String>,
}

/// Reads `source` to its end and judges it in segments of so many events.
pub(crate) fn judged(source: &mut dyn EventSource, events: usize) -> Judged {
    let source = &mut Lending::new(source);
    let events = if source.is_repeatable() { events } else { usize::MAX };
    let mut tables = Tables::new(source.header().clone());
    let (mut survey, mut endings) = (Survey::default(), Endings::default());
    let mut stream = Stream::new(source, events);
    let mut before = Before::None;
    let (timeline, damage) = loop {
        match stream.next(&mut |event| tables.define(event)) {
            Segment::Cut(timeline) => {
                survey.add(&tables, &timeline);
                endings.add(&tables, &timeline);
                before = before.and(timeline, &mut stream);
            }
            Segment::Last(timeline, damage) => break (timeline, damage),
        }
    };
    survey.add(&tables, &timeline);
    drop(stream);
    let lent = source.lent();
    if let Before::None = before {
        return Judged { damage, ..in_one(tables, survey, timeline) }.with(lent);
    }
    endings.add(&tables, &timeline);
    let window = [source.header().start.0, timeline.end];
    let (segments, again) = match before {
        Before::One(first) => (Segments::Kept(vec![*first, timeline].into_iter()), Ok(())),
        _ => {
            drop(timeline);
            let again = source.repeat();
            (Segments::Read(Box::new(Stream::new(source, events))), again)
        }
    };
    let damage = damage.or(again.err().map(|error| error.to_string()));
    Judged { damage, ..in_many((tables, survey, endings), window, segments) }.with(lent)
}

impl Judged {
    fn with(mut self, lent: Lent) -> Judged {
        self.totals.roll.lent = lent;
        self
    }
}

/// The segments before the one that is read for the first time.
enum Before {
    None,
    One(Box<Timeline>),
    /// They are not kept.
    More,
}

impl Before {
    fn and(self, next: Timeline, stream: &mut Stream<'_>) -> Before {
        if let Before::None = self {
            return Before::One(Box::new(next));
        }
        stream.reuse(next);
        Before::More
    }
}

fn in_one(mut tables: Tables, survey: Survey, mut recent: Timeline) -> Judged {
    let mut whole = survey.finish(&mut tables);
    whole.settle(&mut recent, &mut tables);
    let quotas = Quotas::of_one(&tables, &recent);
    let mut accountant = Accountant::of(&tables, &recent);
    let accounts = accountant.accounts(&tables, &recent, &quotas);
    let mut totals = Totals::new(recent.start, recent.end);
    totals.add(&recent, &quotas, &accounts);
    let (disagreements, compared) = (accountant.disagreements(), whole.compared());
    tables.header.fallbacks.extend(whole.fallback());
    Judged { tables, totals, recent, accounts, apart: None, disagreements, compared, damage: None }
}

fn in_many(
    (mut tables, survey, endings): (Tables, Survey, Endings),
    [start, end]: [u64; 2],
    mut segments: Segments<'_>,
) -> Judged {
    let mut whole = survey.finish(&mut tables);
    let mut accountant = endings.accountant(&tables);
    let quotas = Quotas::of_many(&tables, &whole, end - start);
    let mut totals = Totals::new(start, end);
    loop {
        let (mut recent, is_last) = segments.next();
        whole.settle(&mut recent, &mut tables);
        let accounts = accountant.accounts(&tables, &recent, &quotas);
        totals.add(&recent, &quotas, &accounts);
        if !is_last {
            segments.reuse(recent);
            continue;
        }
        recent.renumber();
        let mut apart = Totals::new(recent.start, recent.end);
        apart.add(&recent, &quotas, &accounts);
        let (disagreements, compared) = (accountant.disagreements(), whole.compared());
        tables.header.fallbacks.extend(whole.fallback());
        let apart = Some(apart);
        return Judged {
            tables,
            totals,
            recent,
            accounts,
            apart,
            disagreements,
            compared,
            damage: None,
        };
    }
}

/// The segments of a surveyed recording.
enum Segments<'a> {
    /// All that there are.
    Kept(std::vec::IntoIter<Timeline>),
    /// Read once more.
    Read(Box<Stream<'a>>),
}

impl Segments<'_> {
    /// The next one, and whether it is the last.
    fn next(&mut self) -> (Timeline, bool) {
        match self {
            Segments::Kept(rest) => (rest.next().unwrap_or_default(), rest.len() == 0),
            Segments::Read(stream) => match stream.next(&mut drop) {
                Segment::Cut(timeline) => (timeline, false),
                Segment::Last(timeline, _) => (timeline, true),
            },
        }
    }

    /// The memory of a segment that is no longer needed.
    fn reuse(&mut self, segment: Timeline) {
        if let Segments::Read(stream) = self {
            stream.reuse(segment);
        }
    }
}

/// The timeline of a source, a segment at a time.
struct Stream<'a> {
    source: &'a mut dyn EventSource,
    builder: Option<Builder>,
    /// In a segment.
    events: usize,
    /// The first of the next segment.
    next: Option<Timed>,
}

enum Segment {
    Cut(Timeline),
    /// And why the recording ended early.
    Last(Timeline, Option<String>),
}

impl<'a> Stream<'a> {
    fn new(source: &'a mut dyn EventSource, events: usize) -> Self {
        let builder = Some(Builder::new(source.header()));
        Stream { source, builder, events, next: None }
    }

    /// The memory of a segment that is no longer needed.
    fn reuse(&mut self, segment: Timeline) {
        if let Some(builder) = &mut self.builder {
            builder.reuse(segment);
        }
    }

    /// The next segment. `see` is given every event of it.
    fn next(&mut self, see: &mut dyn FnMut(Event)) -> Segment {
        let header = self.source.header().clone();
        let mut builder = self.builder.take().unwrap_or_else(|| Builder::new(&header));
        let damage = loop {
            let next = self.next.take().map_or_else(|| self.source.next_event(), |it| Ok(Some(it)));
            match next {
                Ok(Some(timed)) if timed.time.since(header.start) > LONGEST => {
                    break Some(
                        "recording is corrupt: an event is months after its start".to_owned(),
                    );
                }
                Ok(Some(timed)) => {
                    if builder.taken() >= self.events && builder.is_past(timed.time.0) {
                        self.next = Some(timed);
                        let cut = builder.cut();
                        self.builder = Some(builder);
                        return Segment::Cut(cut);
                    }
                    builder.event(&timed);
                    see(timed.event);
                }
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        Segment::Last(builder.finish(), damage)
    }
}

/// The settled timeline of a stream, with what the stream defines.
#[cfg(test)]
pub(crate) fn read(source: &mut dyn EventSource) -> (Tables, Timeline, Option<String>) {
    let Judged { tables, recent, damage, .. } = judged(source, usize::MAX);
    (tables, recent, damage)
}
