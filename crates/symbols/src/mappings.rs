//! What is mapped where in an address space: the last mapping of a byte wins.

use std::collections::BTreeMap;
use std::sync::Arc;

use whyslow_events::{Event, SpaceId};

/// Mappings kept per space; further ones are dropped. Four times what the
/// kernel lets a process have by default.
const LIMIT: usize = 1 << 18;

/// Suffix by which the kernel says that the file's name is gone.
const DELETED: &str = " (deleted)";

/// A run of executable memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mapping {
    /// First address.
    pub(crate) start: u64,
    /// One past the last address.
    pub(crate) end: u64,
    /// Offset in the file that `start` shows.
    pub(crate) file_offset: u64,
    /// As the target names it.
    pub(crate) path: Arc<str>,
    /// The file's GNU build id; empty when not known.
    pub(crate) build_id: Arc<[u8]>,
}

/// What kind of thing a mapping shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backing {
    /// A file, or what once was one.
    File,
    /// The kernel's own shared object.
    Vdso,
    /// Memory without a file.
    Memory,
}

impl Mapping {
    pub(crate) fn backing(&self) -> Backing {
        match &*self.path {
            "[vdso]" => Backing::Vdso,
            path if path.starts_with('/') && !path.starts_with("//") => Backing::File,
            _ => Backing::Memory,
        }
    }

    /// What an event defines, and in which space.
    pub(crate) fn of(event: &Event) -> Option<(SpaceId, Mapping)> {
        let Event::Mapping { space, start, end, file_offset, path, build_id } = event else {
            return None;
        };
        let mapping = Mapping {
            start: *start,
            end: *end,
            file_offset: *file_offset,
            path: path.as_str().into(),
            build_id: build_id.as_slice().into(),
        };
        Some((*space, mapping))
    }

    /// The event that defines it.
    pub(crate) fn event(&self, space: SpaceId) -> Event {
        Event::Mapping {
            space,
            start: self.start,
            end: self.end,
            file_offset: self.file_offset,
            path: (*self.path).to_owned(),
            build_id: self.build_id.to_vec(),
        }
    }

    /// Whether it shows the same of the same file as `other`, where both are.
    pub(crate) fn continues(&self, other: &Mapping) -> bool {
        let ids = [&self.build_id, &other.build_id];
        let same_build = ids.iter().any(|id| id.is_empty()) || self.build_id == other.build_id;
        let same_place = self.offset_of(other.start) == other.file_offset;
        self.path_and_deleted().0 == other.path_and_deleted().0 && same_build && same_place
    }

    pub(crate) fn holds(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// Memory a runtime may have compiled code into: without a file, or with
    /// one that only names memory.
    pub(crate) fn is_memory(&self) -> bool {
        self.backing() == Backing::Memory || self.path.starts_with("/memfd:")
    }

    /// Where in the file `address` is; wraps on nonsense.
    pub(crate) fn offset_of(&self, address: u64) -> u64 {
        address.wrapping_sub(self.start).wrapping_add(self.file_offset)
    }

    /// The path without the kernel's note that it is gone, and whether it is.
    pub(crate) fn path_and_deleted(&self) -> (&str, bool) {
        split_deleted(&self.path)
    }

    /// The name a reader knows it by: the file name, `[vdso]`, `[anon]`.
    pub(crate) fn module(&self) -> &str {
        let (path, _) = self.path_and_deleted();
        match self.backing() {
            Backing::File => path.rsplit('/').next().unwrap_or(path),
            Backing::Vdso => path,
            Backing::Memory if path.starts_with('[') => path,
            Backing::Memory => "[anon]",
        }
    }
}

/// A path without the kernel's note that it is gone, and whether it is.
pub(crate) fn split_deleted(path: &str) -> (&str, bool) {
    match path.strip_suffix(DELETED) {
        Some(path) => (path, true),
        None => (path, false),
    }
}

/// All mappings of an address space, none overlapping.
#[derive(Debug, Default)]
pub(crate) struct Mappings {
    by_start: BTreeMap<u64, Mapping>,
}

impl Mappings {
    /// Adds a mapping over whatever is there. One that is empty or upside
    /// down is ignored.
    pub(crate) fn insert(&mut self, new: Mapping) {
        if new.start >= new.end || self.by_start.len() >= LIMIT {
            return;
        }
        self.clear(new.start, new.end);
        self.by_start.insert(new.start, new);
    }

    /// The mapping that covers `address`.
    pub(crate) fn find(&self, address: u64) -> Option<&Mapping> {
        let (_, mapping) = self.by_start.range(..=address).next_back()?;
        (address < mapping.end).then_some(mapping)
    }

    /// The parts of files under `new` that show something else than it will.
    pub(crate) fn other_than(&self, new: &Mapping) -> Mappings {
        let first = self.find(new.start).map_or(new.start, |mapping| mapping.start);
        let under = self.by_start.range(first..new.end.max(first)).map(|(_, mapping)| mapping);
        let others = under.filter(|old| !old.is_memory() && !old.continues(new));
        Mappings { by_start: others.map(|old| (old.start, old.clone())).collect() }
    }

    /// All of them, by address.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.by_start.values()
    }

    fn clear(&mut self, start: u64, end: u64) {
        let first = self.find(start).map_or(start, |mapping| mapping.start);
        let hit: Vec<u64> = self.by_start.range(first..end).map(|(key, _)| *key).collect();
        for key in hit {
            let Some(mapping) = self.by_start.remove(&key) else { continue };
            if mapping.end > end {
                let file_offset = mapping.offset_of(end);
                self.by_start.insert(end, Mapping { start: end, file_offset, ..mapping.clone() });
            }
            if mapping.start < start {
                self.by_start.insert(mapping.start, Mapping { end: start, ..mapping });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(start: u64, end: u64, path: &str) -> Mapping {
        Mapping { start, end, file_offset: start * 2, path: path.into(), build_id: [].into() }
    }

    fn at(mappings: &Mappings, address: u64) -> Option<(&str, u64)> {
        mappings.find(address).map(|m| (&*m.path, m.offset_of(address)))
    }

    /// Every byte belongs to the last mapping over it, whatever the order.
    #[test]
    fn the_last_mapping_of_a_byte_wins() {
        let ranges =
            [(10, 20), (40, 60), (15, 45), (20, 30), (0, 12), (44, 50), (10, 60), (25, 26)];
        let mut mappings = Mappings::default();
        for (count, _) in ranges.iter().enumerate() {
            let (start, end) = ranges[count];
            mappings.insert(mapping(start, end, &format!("/{count}")));
            for address in 0..70 {
                let covering = ranges[..=count].iter().rposition(|r| (r.0..r.1).contains(&address));
                let expected = covering.map(|index| {
                    (format!("/{index}"), address - ranges[index].0 + ranges[index].0 * 2)
                });
                let found = at(&mappings, address).map(|(path, offset)| (path.to_owned(), offset));
                assert_eq!(found, expected, "address {address} after {count} more mappings");
            }
        }
    }

    #[test]
    fn a_mapping_that_is_empty_or_upside_down_is_ignored() {
        let mut mappings = Mappings::default();
        mappings.insert(mapping(5, 5, "/empty"));
        mappings.insert(mapping(9, 3, "/reversed"));
        assert_eq!(mappings.iter().count(), 0);
        mappings.insert(Mapping { file_offset: u64::MAX, ..mapping(0, u64::MAX, "/all") });
        assert_eq!(at(&mappings, 3), Some(("/all", 2)), "the offset wraps");
        assert_eq!(at(&mappings, u64::MAX), None);
    }

    #[test]
    fn modules_are_named_for_the_reader() {
        let module = |path| mapping(0, 1, path).module().to_owned();
        assert_eq!(module("/usr/lib/libc.so.6"), "libc.so.6");
        assert_eq!(module("/usr/lib/libc.so.6 (deleted)"), "libc.so.6");
        assert_eq!(module("/memfd:jit (deleted)"), "memfd:jit");
        assert_eq!(module("[vdso]"), "[vdso]");
        assert_eq!(module("[heap]"), "[heap]");
        assert_eq!(module("//anon"), "[anon]");
        assert_eq!(module(""), "[anon]");
    }
}
