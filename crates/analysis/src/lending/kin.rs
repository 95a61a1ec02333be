//! Which threads are alike: those that wait at the same calls. The main thread of a server
//! polls, and its pool never does: what the pool was not seen at is nothing that only the
//! main thread does.

use rustc_hash::FxHashMap;
use whyslow_events::{Entry, Site, SiteId};

/// A call of the code, whatever it waits for there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place(u32);

/// The places of all sites.
#[derive(Debug, Default)]
pub(super) struct Places {
    known: FxHashMap<(Entry, u64), Place>,
    of: FxHashMap<SiteId, Place>,
}

impl Places {
    pub(super) fn learn(&mut self, id: SiteId, site: &Site) {
        let next = Place(u32::try_from(self.known.len()).unwrap_or(u32::MAX));
        let place = *self.known.entry((site.entry.clone(), site.pc)).or_insert(next);
        self.of.insert(id, place);
    }

    pub(super) fn of(&self, site: SiteId) -> Option<Place> {
        self.of.get(&site).copied()
    }
}

/// The places of a process, in groups: those of one thread are in one.
#[derive(Debug, Default)]
pub(super) struct Kin {
    /// Another of the group, up to the one that stands for it.
    above: FxHashMap<Place, Place>,
}

impl Kin {
    /// One thread waits at both.
    pub(super) fn join(&mut self, one: Place, other: Place) {
        let (one, other) = (self.group(one), self.group(other));
        if one != other {
            self.above.insert(other, one);
        }
    }

    /// Whether threads that wait at the one are like those that wait at the other.
    pub(super) fn are_alike(&self, one: Place, other: Place) -> bool {
        self.group(one) == self.group(other)
    }

    fn group(&self, mut place: Place) -> Place {
        while let Some(above) = self.above.get(&place) {
            place = *above;
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_one_thread_belong_together_and_so_do_those_of_the_next() {
        let mut kin = Kin::default();
        let [poll, lock, queue, disk] = [0, 1, 2, 3].map(Place);
        kin.join(lock, queue);
        assert!(kin.are_alike(queue, lock) && !kin.are_alike(queue, poll));
        kin.join(queue, disk);
        kin.join(disk, lock);
        assert!(kin.are_alike(lock, disk) && !kin.are_alike(disk, poll));
        kin.join(poll, disk);
        assert!([lock, queue, disk].into_iter().all(|it| kin.are_alike(it, poll)));
    }
}
