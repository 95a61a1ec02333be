//! Waits on what was gone before anybody could look at it, such as a set that `epoll`
//! watches for one request only. They are taken to be on what others waited on that
//! came to the same system call from the same place in the code of their process, where
//! nearly all of these waited for things of one kind.

mod waited;

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use whyslow_events::{Entry, Fallback, Pid, ScriptFrame, SiteId, StackId};

use super::{Doing, Thread};
use crate::State;
use crate::account::cause;
use crate::cause::{Cause, by_object};
use crate::tables::Tables;

pub(super) use waited::Waited;

/// Of the time that was seen at a place, less than one part in so many is an exception,
/// and does not make it a place of several kinds.
const EXCEPTION: u64 = 20;

/// From where a system call is made: by which calls of an interpreted program, or else by
/// which native code. What is not known is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    pid: Pid,
    entry: Entry,
    pc: u64,
    user: Vec<u64>,
    script: Vec<ScriptFrame>,
}

/// How long was waited at a place, ns: for each state, and at the site with the most.
type Kinds = BTreeMap<State, (u64, (u64, SiteId))>;

/// Tells what the untold waits are like.
#[derive(Debug, Default)]
pub(super) struct Untold {
    /// The site that stands for its place, where all are of one kind.
    like: FxHashMap<Place, SiteId>,
    known: FxHashMap<(SiteId, Option<StackId>), Found>,
    /// Time of waits of which the object tells, ns.
    seen: u64,
    lent: u64,
    unknown: u64,
}

#[derive(Clone, Copy, Debug)]
enum Found {
    /// It is told, or not for its object to tell.
    Told,
    Like(SiteId),
    Unknown,
}

impl Untold {
    pub(super) fn new(waited: Waited, tables: &Tables) -> Self {
        let mut kinds: FxHashMap<Place, Kinds> = FxHashMap::default();
        let mut seen = 0;
        for ((site, stack), ns) in waited.sums() {
            let told = tables.sites.get(&site).and_then(by_object);
            let Some(Some(state)) = told else { continue };
            seen += ns;
            let Some(exactly) = place(site, stack, tables) else { continue };
            let vaguely = vaguer(&exactly, stack, tables);
            let mut places = vec![exactly];
            places.extend(vaguely);
            places.dedup();
            for place in places {
                let kind = kinds.entry(place).or_default().entry(state);
                let (sum, most) = kind.or_insert((0, (0, site)));
                *sum += ns;
                *most = larger(*most, (ns, site));
            }
        }
        let like = kinds.into_iter().filter_map(|(place, kinds)| Some((place, usual(&kinds)?)));
        Untold { like: like.collect(), seen, ..Untold::default() }
    }

    /// Gives the untold waits of `thread` the sites that they are like.
    pub(super) fn lend(&mut self, thread: &mut Thread, tables: &Tables) {
        for index in 0..thread.intervals.len() {
            let end = thread.end_of(index);
            let interval = &mut thread.intervals[index];
            let Doing::Blocked(wait) = &mut interval.doing else { continue };
            let Some(site) = wait.site else { continue };
            let key = (site, interval.stack);
            let found = match self.known.get(&key) {
                Some(found) => *found,
                None => self.find(key, tables),
            };
            match found {
                Found::Told => {}
                Found::Like(like) => {
                    wait.site = Some(like);
                    self.lent += end - interval.start;
                }
                Found::Unknown => self.unknown += end - interval.start,
            }
        }
    }

    fn find(&mut self, (site, stack): (SiteId, Option<StackId>), tables: &Tables) -> Found {
        let found = match tables.sites.get(&site).and_then(by_object) {
            // The kernel's frames may tell.
            Some(None) => match cause(tables, Some(site), stack) {
                Cause::State(State::Unknown | State::IoOther) => {
                    self.like(site, stack, tables).map_or(Found::Unknown, Found::Like)
                }
                _ => Found::Told,
            },
            _ => Found::Told,
        };
        self.known.insert((site, stack), found);
        found
    }

    fn like(&self, site: SiteId, stack: Option<StackId>, tables: &Tables) -> Option<SiteId> {
        let place = place(site, stack, tables)?;
        let like = self.like.get(&place).copied();
        // Native code is the same for all calls of an interpreted program.
        let nowhere = || {
            let somewhere = !place.script.is_empty() || !tables.is_python(place.pid);
            let nowhere = Place { user: vec![], ..place };
            if somewhere { None } else { self.like.get(&nowhere).copied() }
        };
        like.or_else(nowhere)
    }

    /// How much was lent, if anything was.
    pub(super) fn said(&self) -> Option<Fallback> {
        let all = (self.seen + self.lent + self.unknown).max(1) as f64;
        let percent = |ns: u64| 100.0 * ns as f64 / all;
        let got = format!(
            "{:.1} % of the time looked at, {:.1} % taken to be on the like of what else is \
             waited on there, {:.1} % unknown",
            percent(self.seen),
            percent(self.lent),
            percent(self.unknown),
        );
        (self.lent > 0).then(|| Fallback {
            wanted: "what is behind each descriptor that is waited on".to_owned(),
            got,
            errno: Fallback::NO_ERROR.to_owned(),
            remedy: "what is closed as soon as the wait is over cannot be looked at".to_owned(),
        })
    }
}

fn place(site: SiteId, stack: Option<StackId>, tables: &Tables) -> Option<Place> {
    let site = tables.sites.get(&site)?;
    let (user, script) = match stack.and_then(|stack| tables.stacks.get(&stack)) {
        None => (vec![], vec![]),
        Some(stack) if stack.script.is_empty() => (stack.user.clone(), vec![]),
        Some(stack) => (vec![], stack.script.clone()),
    };
    Some(Place { pid: site.pid, entry: site.entry.clone(), pc: site.pc, user, script })
}

/// The same place as it is where less is known of it.
fn vaguer(place: &Place, stack: Option<StackId>, tables: &Tables) -> [Place; 2] {
    let user = stack.and_then(|stack| tables.stacks.get(&stack)).map(|stack| stack.user.clone());
    let nowhere = Place { user: vec![], script: vec![], ..place.clone() };
    [Place { user: user.unwrap_or_default(), ..nowhere.clone() }, nowhere]
}

/// The site with the most time of the kind that nearly all are of.
fn usual(kinds: &Kinds) -> Option<SiteId> {
    let all: u64 = kinds.values().map(|(ns, _)| ns).sum();
    let (ns, (_, site)) = kinds.values().max_by_key(|(ns, _)| *ns)?;
    ((all - ns).saturating_mul(EXCEPTION) < all).then_some(*site)
}

/// With as much, the one that was defined first.
fn larger(one: (u64, SiteId), other: (u64, SiteId)) -> (u64, SiteId) {
    if (other.0, one.1.0) > (one.0, other.1.0) { other } else { one }
}
