//! Where on this host the bytes of a mapped file can be read.
//!
//! The target names its files as it sees them, perhaps in another root, and
//! the name may by now belong to another file or to none. While the process
//! lives, `/proc/PID/map_files` holds the very file that is mapped.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use whyslow_events::Pid;

use crate::mappings::{Backing, Mapping, split_deleted};
use crate::space::Space;

/// One file, however many names it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

/// Finds mapped files, each question asked once.
#[derive(Debug)]
pub(crate) struct Files {
    proc: PathBuf,
    by_name: HashMap<Arc<str>, Option<FileId>>,
    by_mapping: HashMap<(Pid, Mapping), Option<FileId>>,
    whereabouts: HashMap<Pid, Whereabouts>,
    paths: HashMap<FileId, PathBuf>,
}

/// How a process names files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whereabouts {
    /// It is gone, or not ours to look at: assume that it named them as we do.
    Gone,
    /// As we do.
    Here,
    /// In a root or mount namespace of its own.
    Elsewhere,
}

impl Default for Files {
    fn default() -> Self {
        Files::with_proc(PathBuf::from("/proc"))
    }
}

impl Files {
    pub(crate) fn with_proc(proc: PathBuf) -> Self {
        Files {
            proc,
            by_name: HashMap::new(),
            by_mapping: HashMap::new(),
            whereabouts: HashMap::new(),
            paths: HashMap::new(),
        }
    }

    /// The regular file behind `mapping`.
    pub(crate) fn locate(&mut self, space: &Space, mapping: &Mapping) -> Option<FileId> {
        if mapping.backing() != Backing::File {
            return None;
        }
        match space.pid.map(|pid| (pid, self.whereabouts(pid))) {
            None | Some((_, Whereabouts::Gone)) => self.by_name(mapping),
            Some((pid, whereabouts)) => {
                let key = (pid, mapping.clone());
                if let Some(known) = self.by_mapping.get(&key) {
                    return *known;
                }
                let found = self.of_living(pid, whereabouts, mapping);
                self.by_mapping.insert(key, found);
                found
            }
        }
    }

    /// A name under which the file can be opened.
    pub(crate) fn path(&self, file: FileId) -> Option<&Path> {
        self.paths.get(&file).map(PathBuf::as_path)
    }

    fn by_name(&mut self, mapping: &Mapping) -> Option<FileId> {
        if let Some(known) = self.by_name.get(&mapping.path) {
            return *known;
        }
        let (path, deleted) = mapping.path_and_deleted();
        let found = if deleted { None } else { self.regular(Path::new(path)) };
        self.by_name.insert(mapping.path.clone(), found);
        found
    }

    fn of_living(
        &mut self,
        pid: Pid,
        whereabouts: Whereabouts,
        mapping: &Mapping,
    ) -> Option<FileId> {
        let (path, _) = mapping.path_and_deleted();
        let named = match whereabouts {
            Whereabouts::Elsewhere => {
                let root = self.proc.join(format!("{pid}/root"));
                self.regular(&root.join(path.trim_start_matches('/')))
            }
            Whereabouts::Here | Whereabouts::Gone => self.by_name(mapping),
        };
        let Some((entry, deleted)) = self.map_file(pid, mapping) else { return named };
        // Opening the entry takes more privilege than reading where it points.
        self.regular(&entry).or(if deleted { None } else { named })
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

    fn whereabouts(&mut self, pid: Pid) -> Whereabouts {
        let proc = &self.proc;
        *self.whereabouts.entry(pid).or_insert_with(|| {
            let theirs = proc.join(pid.to_string());
            let root = |of: &Path| fs::metadata(of.join("root/")).ok().map(|found| id(&found));
            let mounts = |of: &Path| fs::read_link(of.join("ns/mnt")).ok();
            match (root(&theirs), root(&proc.join("self"))) {
                (None, _) => Whereabouts::Gone,
                (a, b) if a != b || mounts(&theirs) != mounts(&proc.join("self")) => {
                    Whereabouts::Elsewhere
                }
                _ => Whereabouts::Here,
            }
        })
    }

    /// The file at `path`, to be opened by the first name it was found under.
    /// Only a regular file is ever opened: a FIFO or device would block.
    fn regular(&mut self, path: &Path) -> Option<FileId> {
        let found = identity(path)?;
        self.paths.entry(found).or_insert_with(|| path.to_owned());
        Some(found)
    }
}

fn identity(path: &Path) -> Option<FileId> {
    fs::metadata(path).ok().filter(Metadata::is_file).map(|found| id(&found))
}

fn id(metadata: &Metadata) -> FileId {
    FileId { device: metadata.dev(), inode: metadata.ino() }
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
            let mapping = Mapping { start: 0x1000, end: 0x2000, file_offset: 0, path: path.into() };
            space.mappings.insert(mapping.clone());
            let mut files = Files::with_proc(self.at("proc"));
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
