//! Who holds the GIL of an interpreter: asked whenever a thread of it is read, in
//! its place among the records.

use rustc_hash::FxHashMap;
use whyslow_events::{Event, GilHolder, GilId, GilPlace, SpaceId, Tid};

use super::Tracker;
use crate::inspect::Process;

/// The GILs that were met.
#[derive(Debug, Default)]
pub(super) struct Gils(FxHashMap<(SpaceId, GilPlace), GilId>);

impl Tracker {
    /// Notes who holds the GIL under which `tid` runs code, and gives the thread if
    /// it is another one.
    pub(super) fn look_at_gil(&mut self, tid: Tid, clock: &impl Fn() -> u64) -> Option<Tid> {
        let pid = self.threads.get(&tid)?.pid;
        let space = self.processes.get(&pid)?.space;
        let process = Process::new(pid.0);
        let (place, holder) = self.scripts.gil(space, tid, &process)?;
        let time = clock();
        let next = GilId(u32::try_from(self.gils.0.len()).unwrap_or(u32::MAX));
        let gil = *self.gils.0.entry((space, place)).or_insert(next);
        if gil == next {
            self.note_at(time, Event::Gil { id: gil, space, place });
        }
        self.note_at(time, Event::GilSeen { tid, gil, holder });
        match holder {
            GilHolder::Other(other) => other,
            GilHolder::Itself | GilHolder::Nobody => None,
        }
    }
}
