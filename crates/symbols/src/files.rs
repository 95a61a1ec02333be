//! Where on this host the bytes of a mapped file can be read.
//!
//! The target names its files as it sees them, perhaps in another root, and
//! the name may by now belong to another file or to none. While the process
//! lives, `/proc/PID/map_files` holds the very file that is mapped. What was
//! found once is held open, so that it outlives its name and its process.

mod opened;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use whyslow_events::Pid;

pub(crate) use self::opened::FileId;
use self::opened::Opened;
use crate::elf::{self, ElfFile};
use crate::mappings::{Backing, Mapping, split_deleted};
use crate::space::Space;

/// Finds mapped files, each question asked once. Clones share what they know
/// and what they hold open.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    inner: Rc<RefCell<Inner>>,
}

/// Where a file is, as its process names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The root of the process, seen from here.
    pub(crate) root: PathBuf,
    /// The path in that root.
    pub(crate) path: PathBuf,
}

#[derive(Debug)]
struct Inner {
    proc: PathBuf,
    located: HashMap<(Option<Pid>, Mapping), Option<FileId>>,
    build_ids: HashMap<FileId, Option<Rc<[u8]>>>,
    opened: Opened,
}

impl Default for Files {
    fn default() -> Self {
        Files::with_proc(PathBuf::from("/proc"))
    }
}

impl Files {
    pub(crate) fn with_proc(proc: PathBuf) -> Self {
        let (located, build_ids, opened) = Default::default();
        Files { inner: Rc::new(RefCell::new(Inner { proc, located, build_ids, opened })) }
    }

    /// The regular file behind `mapping`. Asked while the process lives, the
    /// answer holds afterwards.
    pub(crate) fn locate(&self, space: &Space, mapping: &Mapping) -> Option<FileId> {
        self.inner.borrow_mut().locate(space, mapping)
    }

    /// `mapping` with the build id of its file, when it has none yet and the
    /// file has one.
    pub(crate) fn identify(&self, space: &Space, mapping: &Mapping) -> Option<Mapping> {
        if !mapping.build_id.is_empty() {
            return None;
        }
        let mut inner = self.inner.borrow_mut();
        let file = inner.locate(space, mapping)?;
        let build_id = inner.build_id(file)?.as_ref().into();
        let identified = Mapping { build_id, ..mapping.clone() };
        inner.located.insert((space.pid, identified.clone()), Some(file));
        Some(identified)
    }

    /// A path under which the file can be opened until the next question is
    /// asked.
    pub(crate) fn path(&self, file: FileId) -> Option<PathBuf> {
        self.inner.borrow_mut().opened.path(file)
    }

    /// Where the file of `mapping` is, or was.
    pub(crate) fn place(&self, space: &Space, mapping: &Mapping) -> Place {
        let inner = self.inner.borrow();
        let process = space.process(&inner.proc);
        let root = process.map_or(PathBuf::from("/"), |process| process.root.clone());
        Place { root, path: mapping.path_and_deleted().0.into() }
    }

    /// The regular file that has this name here.
    pub(crate) fn open(&self, path: &Path) -> Option<FileId> {
        self.inner.borrow_mut().opened.open(path)
    }

    /// The GNU build id that the file says it has.
    pub(crate) fn build_id(&self, file: FileId) -> Option<Rc<[u8]>> {
        self.inner.borrow_mut().build_id(file)
    }

    /// Where `/proc` is.
    pub(crate) fn proc(&self) -> PathBuf {
        self.inner.borrow().proc.clone()
    }
}

impl Inner {
    fn locate(&mut self, space: &Space, mapping: &Mapping) -> Option<FileId> {
        if mapping.backing() != Backing::File {
            return None;
        }
        let key = (space.pid, mapping.clone());
        if let Some(known) = self.located.get(&key) {
            return *known;
        }
        let found = self.look(space, mapping);
        self.located.insert(key, found);
        found
    }

    fn look(&mut self, space: &Space, mapping: &Mapping) -> Option<FileId> {
        if let Some((entry, deleted)) = space.pid.and_then(|pid| self.map_file(pid, mapping)) {
            let mapped = self.opened.open(&entry);
            // Opening the entry takes more privilege than reading where it points.
            if mapped.is_some() || deleted {
                return mapped;
            }
        }
        let root = space.process(&self.proc).map_or(Path::new("/"), |process| &process.root);
        self.by_name(root, mapping)
    }

    /// The file that has the name now, unless its build id tells that it is
    /// another than the mapped one.
    fn by_name(&mut self, root: &Path, mapping: &Mapping) -> Option<FileId> {
        let (path, deleted) = mapping.path_and_deleted();
        if deleted {
            return None;
        }
        let found = self.opened.open(&root.join(path.trim_start_matches('/')))?;
        let known = &mapping.build_id;
        let same = known.is_empty() || self.build_id(found).is_some_and(|id| *id == **known);
        same.then_some(found)
    }

    /// The entry for exactly this mapping, if the process still has it, and
    /// whether its name is gone.
    fn map_file(&self, pid: Pid, mapping: &Mapping) -> Option<(PathBuf, bool)> {
        let range = format!("{:x}-{:x}", mapping.start, mapping.end);
        let entry = self.proc.join(format!("{pid}/map_files/{range}"));
        let target = fs::read_link(&entry).ok()?;
        let (target, deleted) = split_deleted(target.to_str()?);
        let (path, _) = mapping.path_and_deleted();
        // Seen from here, a path in another root has that root before it.
        target.ends_with(path).then_some((entry, deleted))
    }

    fn build_id(&mut self, file: FileId) -> Option<Rc<[u8]>> {
        let opened = &mut self.opened;
        let read = || {
            let bytes = elf::open(&opened.path(file)?)?;
            ElfFile::parse(&bytes)?.build_id().map(Rc::from)
        };
        self.build_ids.entry(file).or_insert_with(read).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    const PID: Pid = Pid(77);

    /// A `/proc` of our making: `self` in one root, [`PID`] perhaps in another.
    struct Host {
        directory: TempDir,
    }

    impl Host {
        fn new() -> Host {
            let host = Host { directory: tempfile::tempdir().unwrap() };
            host.process("self", "ours");
            host
        }

        fn at(&self, path: &str) -> PathBuf {
            self.directory.path().join(path)
        }

        fn process(&self, name: &str, root: &str) {
            fs::create_dir_all(self.at(root)).unwrap();
            fs::create_dir_all(self.at(&format!("proc/{name}/ns"))).unwrap();
            fs::create_dir_all(self.at(&format!("proc/{name}/map_files"))).unwrap();
            symlink(self.at(root), self.at(&format!("proc/{name}/root"))).unwrap();
            symlink("mnt:[1]", self.at(&format!("proc/{name}/ns/mnt"))).unwrap();
        }

        fn map_file(&self, target: &str) {
            symlink(target, self.at("proc/77/map_files/1000-2000")).unwrap();
        }

        fn write(&self, path: &str) -> String {
            fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
            fs::write(self.at(path), path).unwrap();
            self.at(path).to_str().unwrap().to_owned()
        }

        /// What is read for `path`, mapped into the process.
        fn contents(&self, path: &str) -> Option<String> {
            let mut space = Space { pid: Some(PID), ..Space::default() };
            let mapping = Mapping {
                start: 0x1000,
                end: 0x2000,
                file_offset: 0,
                path: path.into(),
                build_id: [].into(),
            };
            space.mappings.insert(mapping.clone());
            let files = Files::with_proc(self.at("proc"));
            let found = files.locate(&space, &mapping);
            assert_eq!(files.locate(&space, &mapping), found, "asked twice");
            found.map(|file| fs::read_to_string(files.path(file).unwrap()).unwrap())
        }
    }

    #[test]
    fn a_process_in_another_root_has_its_own_files() {
        let host = Host::new();
        host.process("77", "theirs");
        host.write("theirs/lib/libc.so");
        assert_eq!(host.contents("/lib/libc.so").as_deref(), Some("theirs/lib/libc.so"));
    }

    #[test]
    fn a_process_in_another_mount_namespace_has_its_own_files() {
        let host = Host::new();
        host.process("77", "ours");
        let mounts = host.at("proc/77/ns/mnt");
        fs::remove_file(&mounts).unwrap();
        symlink("mnt:[2]", mounts).unwrap();
        let visible_to_us = host.write("libc.so");
        assert_eq!(host.contents(&visible_to_us), None);
    }

    #[test]
    fn a_process_that_is_gone_named_files_as_we_do() {
        let host = Host::new();
        let path = host.write("libc.so");
        assert_eq!(host.contents(&path).as_deref(), Some("libc.so"));
        assert_eq!(host.contents(&format!("{path} (deleted)")), None);
    }

    #[test]
    fn the_mapped_file_wins_over_the_one_that_has_its_name() {
        let host = Host::new();
        host.process("77", "ours");
        let path = host.write("libc.so");
        assert_eq!(host.contents(&path).as_deref(), Some("libc.so"), "no entry for the mapping");
        // Ends in the same name, as the path from another root would.
        let mapped = host.write(&format!("elsewhere{path}"));
        host.map_file(&mapped);
        assert_eq!(host.contents(&path), Some(format!("elsewhere{path}")));
    }

    #[test]
    fn another_mapping_at_the_same_addresses_is_not_taken_for_this_one() {
        let host = Host::new();
        host.process("77", "ours");
        let (path, other) = (host.write("libc.so"), host.write("other.so"));
        host.map_file(&other);
        assert_eq!(host.contents(&path).as_deref(), Some("libc.so"));
    }

    #[test]
    fn without_the_privilege_to_open_the_mapped_file_its_name_must_still_hold() {
        let host = Host::new();
        host.process("77", "ours");
        let path = host.write("libc.so");
        // Leads nowhere, as if we were not allowed to follow it.
        host.map_file(&format!("/nowhere{path}"));
        assert_eq!(host.contents(&path).as_deref(), Some("libc.so"));
        fs::remove_file(host.at("proc/77/map_files/1000-2000")).unwrap();
        host.map_file(&format!("/nowhere{path} (deleted)"));
        assert_eq!(host.contents(&path), None);
    }
}
