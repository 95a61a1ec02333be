//! The waits for a GIL. CPython asks again every few milliseconds: the slices of
//! one attempt are one wait, at one line. It lasts as the program sees it: waking
//! up to ask again, and getting a CPU once it is one's turn, are parts of it.

use rustc_hash::FxHashMap;
use whyslow_events::{GilId, GilPart, Object, SiteId, StackId};

use crate::State;
use crate::account::Account;
use crate::tables::Tables;
use crate::timeline::{Doing, Thread, Timeline, Wait, Waker};

/// Who computes longer than this has got the GIL, ns: asking again takes microseconds.
const ASKING: u64 = 1_000_000;

/// A stretch of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// Index into [`Timeline::threads`].
    pub(super) thread: u32,
    /// `None` when the lock was never looked at.
    pub(super) gil: Option<GilId>,
    pub(super) start: u64,
    /// When it was woken, or gave up for now.
    pub(super) woken: u64,
    /// When it ran again or, if it then asked again, when it did.
    pub(super) end: u64,
    pub(super) part: GilPart,
    pub(super) waker: Waker,
    /// It had the GIL at `end`: it went on to something else.
    pub(super) got: bool,
    /// Slices of one wait have the same.
    pub(super) wait: u32,
    /// Where the thread was, if anybody looked.
    pub(super) stack: Option<StackId>,
}

impl Slice {
    pub(super) fn length(&self) -> u64 {
        self.end - self.start
    }
}

/// All slices, by thread and in order of time.
pub(super) fn slices(
    tables: &Tables,
    timeline: &Timeline,
    accounts: &[Vec<Account>],
) -> Vec<Slice> {
    let mut slices = Vec::new();
    let mut kinds = FxHashMap::default();
    let mut waits = 0;
    for (thread, accounts) in (0..).zip(accounts) {
        let of = &timeline.threads[thread as usize];
        let mut asker = Asker::default();
        for ((start, end, interval), account) in of.spans().zip(accounts) {
            match interval.doing {
                Doing::Blocked(Wait { site, waker, .. }) if account.state == State::LockGil => {
                    let (gil, part) = *kinds.entry(site).or_insert_with(|| kind(tables, of, site));
                    if !asker.again(start, slices.last_mut()) {
                        waits += 1;
                    }
                    let (wait, stack, got) = (waits, interval.stack, false);
                    let slice = Slice {
                        thread,
                        gil,
                        start,
                        woken: end,
                        end,
                        part,
                        waker,
                        got,
                        wait,
                        stack,
                    };
                    asker.waits(&slice);
                    slices.push(slice);
                }
                Doing::Runq { .. } => {
                    if let (Some(0), Some(slice)) = (asker.ran, slices.last_mut()) {
                        slice.end = end;
                    }
                }
                Doing::OnCpu { .. } => asker.runs(end - start, slices.last_mut()),
                _ => asker.leaves(slices.last_mut()),
            }
        }
    }
    slices
}

/// A thread that may still ask for what it asked for before.
#[derive(Debug, Default)]
struct Asker {
    /// Nobody handed it over so far.
    asks: bool,
    /// CPU time since it last waited; `None` when that wait is over.
    ran: Option<u64>,
}

impl Asker {
    /// Whether the wait that begins at `start` continues the one before.
    fn again(&self, start: u64, before: Option<&mut Slice>) -> bool {
        let again = self.asks && self.ran.is_some();
        if let Some(before) = before.filter(|_| again) {
            before.end = start;
        }
        again
    }

    fn waits(&mut self, slice: &Slice) {
        self.asks = !(slice.part == GilPart::Queue && matches!(slice.waker, Waker::Thread(_)));
        self.ran = Some(0);
    }

    fn runs(&mut self, ns: u64, before: Option<&mut Slice>) {
        self.ran = self.ran.map(|ran| ran + ns);
        if self.ran.is_some_and(|ran| ran >= ASKING) {
            self.leaves(before);
        }
    }

    /// It does something else: it has got it.
    fn leaves(&mut self, before: Option<&mut Slice>) {
        if let (Some(_), Some(before)) = (self.ran.take(), before) {
            before.got = before.part == GilPart::Queue;
        }
    }
}

/// Which GIL is waited for at a site, and on which part of it.
fn kind(tables: &Tables, thread: &Thread, site: Option<SiteId>) -> (Option<GilId>, GilPart) {
    let site = site.and_then(|site| tables.sites.get(&site));
    let Some(Object::Futex { address, .. }) = site.map(|site| &site.object) else {
        return (None, GilPart::Queue);
    };
    match tables.gil_at(thread.pid, *address) {
        Some((id, gil)) => (Some(id), gil.place.part(*address)),
        None => (None, GilPart::Queue),
    }
}
