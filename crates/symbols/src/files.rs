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

use crate::mappings::{Backing, Mapping};
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
    by_mapping: HashMap<(Option<Pid>, u64), Option<FileId>>,
    foreign: HashMap<Pid, Whereabouts>,
    paths: HashMap<FileId, PathBuf>,
}

/// How a process names files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whereabouts {
    /// It is gone; assume that it named them as we do.
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
            foreign: HashMap::new(),
            paths: HashMap::new(),
        }
    }

    /// The regular file behind `mapping`.
    pub(crate) fn locate(&mut self, space: &Space, mapping: &Mapping) -> Option<FileId> {
        if mapping.backing() != Backing::File {
            return None;
        }
        let key = (space.pid, mapping.start);
        if let Some(known) = self.by_mapping.get(&key) {
            return *known;
        }
        let found = match space.pid.map(|pid| (pid, self.whereabouts(pid))) {
            None | Some((_, Whereabouts::Gone)) => self.by_name(mapping),
            Some((pid, whereabouts)) => self.of_living(pid, whereabouts, mapping),
        };
        self.by_mapping.insert(key, found);
        found
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
        match self.map_file(pid, mapping) {
            Some(mapped) if named == identity(&mapped) => named,
            Some(mapped) => self.regular(&mapped),
            None => named,
        }
    }

    /// The entry for exactly this mapping, if the process still has it.
    fn map_file(&self, pid: Pid, mapping: &Mapping) -> Option<PathBuf> {
        let range = format!("{:x}-{:x}", mapping.start, mapping.end);
        let entry = self.proc.join(format!("{pid}/map_files/{range}"));
        let target = fs::read_link(&entry).ok()?;
        let target = target.to_str()?;
        let (path, _) = mapping.path_and_deleted();
        // Seen from here, a path in another root has that root before it.
        target.strip_suffix(" (deleted)").unwrap_or(target).ends_with(path).then_some(entry)
    }

    fn whereabouts(&mut self, pid: Pid) -> Whereabouts {
        let proc = &self.proc;
        *self.foreign.entry(pid).or_insert_with(|| {
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
