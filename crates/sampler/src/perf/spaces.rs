//! Address spaces and the executable memory in them.
//!
//! A forked child starts with its parent's mappings and usually executes
//! another program at once, so a space is reported only when something in it
//! is: a stack or a site.

use std::rc::Rc;

use rustc_hash::FxHashMap;
use whyslow_events::{Event, Pid, SpaceId};

/// A piece of executable memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) file_offset: u64,
    pub(crate) path: String,
}

#[derive(Debug)]
struct Space {
    pid: Pid,
    mappings: Rc<Vec<Mapping>>,
    reported: bool,
}

/// All spaces of the target.
#[derive(Debug, Default)]
pub(crate) struct Spaces {
    spaces: FxHashMap<SpaceId, Space>,
    next: u32,
}

impl Spaces {
    /// A new, empty space of `pid`.
    pub(crate) fn create(&mut self, pid: Pid) -> SpaceId {
        self.insert(pid, Rc::default())
    }

    /// A copy of `parent` for `pid`.
    pub(crate) fn fork(&mut self, parent: SpaceId, pid: Pid) -> SpaceId {
        let mappings = self.spaces.get(&parent).map(|space| Rc::clone(&space.mappings));
        self.insert(pid, mappings.unwrap_or_default())
    }

    /// Forgets the mappings of a space that is gone.
    pub(crate) fn remove(&mut self, space: SpaceId) {
        self.spaces.remove(&space);
    }

    fn insert(&mut self, pid: Pid, mappings: Rc<Vec<Mapping>>) -> SpaceId {
        let id = SpaceId(self.next);
        self.next += 1;
        self.spaces.insert(id, Space { pid, mappings, reported: false });
        id
    }

    /// Adds a mapping; the event that says so when the space is reported already.
    pub(crate) fn map(&mut self, id: SpaceId, mapping: Mapping) -> Option<Event> {
        let space = self.spaces.get_mut(&id)?;
        let event = space.reported.then(|| mapping_event(id, &mapping));
        Rc::make_mut(&mut space.mappings).push(mapping);
        event
    }

    /// The events that define a space, the first time it is asked for.
    pub(crate) fn report(&mut self, id: SpaceId) -> Vec<Event> {
        match self.spaces.get_mut(&id) {
            Some(space) if !space.reported => {
                space.reported = true;
                let define = Event::Space { space: id, pid: space.pid };
                let mappings = space.mappings.iter().map(|mapping| mapping_event(id, mapping));
                std::iter::once(define).chain(mappings).collect()
            }
            _ => vec![],
        }
    }
}

fn mapping_event(space: SpaceId, mapping: &Mapping) -> Event {
    Event::Mapping {
        space,
        start: mapping.start,
        end: mapping.end,
        file_offset: mapping.file_offset,
        path: mapping.path.clone(),
        // Those who read the files know. The kernel would tell, too, but then marks
        // the records of other profilers as having one (Linux 6.18).
        build_id: vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(start: u64) -> Mapping {
        Mapping { start, end: start + 1, file_offset: 0, path: "/bin/true".into() }
    }

    #[test]
    fn a_child_has_its_parents_mappings_and_its_own() {
        let mut spaces = Spaces::default();
        let parent = spaces.create(Pid(1));
        assert!(spaces.map(parent, mapping(1)).is_none());
        let child = spaces.fork(parent, Pid(2));
        spaces.map(child, mapping(2));
        assert_eq!(spaces.report(parent).len(), 2);
        assert_eq!(spaces.report(child).len(), 3);
        assert!(spaces.report(child).is_empty());
        assert!(spaces.map(child, mapping(3)).is_some());
    }
}
