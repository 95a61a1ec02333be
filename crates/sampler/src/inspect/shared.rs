//! Memory that several processes share: the same place has another address in each, and
//! the same inode and offset.

use procfs::process::{MMPermissions, MemoryMap};
use rustc_hash::FxHashMap;

use crate::proc::Proc;

/// Pages that are remembered: threads that end are waited for in memory of their own.
const REMEMBERED: usize = 1 << 12;
const PAGE: u64 = 4096;

/// Pages that were asked for.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Of a process: the inode, and the page's offset in it.
    pages: FxHashMap<(u32, u64), Option<(u64, u64)>>,
}

impl Shared {
    /// Inode and offset of what is mapped at `address`, if others may map it, too.
    pub(super) fn at(&mut self, proc: &Proc, pid: u32, address: u64) -> Option<(u64, u64)> {
        let (page, within) = (address / PAGE, address % PAGE);
        if self.pages.len() >= REMEMBERED {
            self.pages.clear();
        }
        let found = self.pages.entry((pid, page)).or_insert_with(|| {
            let maps = proc.process(pid)?.maps().ok()?;
            maps.iter().find_map(|map| shared(map, page * PAGE))
        });
        found.map(|(inode, offset)| (inode, offset + within))
    }
}

fn shared(map: &MemoryMap, address: u64) -> Option<(u64, u64)> {
    let (start, end) = map.address;
    let here = (start..end).contains(&address) && map.perms.contains(MMPermissions::SHARED);
    here.then(|| (map.inode, map.offset + (address - start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_told_by_where_it_is_in_what_is_mapped() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("7")).unwrap();
        let maps = "7f0000000000-7f0000004000 rw-s 00002000 00:01 4711 /dev/zero (deleted)\n\
                    7f0000004000-7f0000008000 rw-p 00000000 00:00 0 \n";
        std::fs::write(root.path().join("7/maps"), maps).unwrap();
        let proc = Proc::at(root.path());
        let mut shared = Shared::default();
        let mut at = |address| shared.at(&proc, 7, address);
        assert_eq!(at(0x7f00_0000_1234), Some((4711, 0x3234)));
        assert_eq!(at(0x7f00_0000_1238), Some((4711, 0x3238)));
        assert_eq!([0x7f00_0000_4000, 0x1000].map(at), [None; 2]);
    }
}
