//! Files held open: they can be read after their names are gone.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, Metadata, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// Files held open at a time: a quarter of what a process may have by default. The
/// one opened first is closed first, and has then only its name.
const HELD: usize = 256;

/// One file, however many names it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

/// Regular files, each known by the first name it was found under.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    names: HashMap<FileId, PathBuf>,
    held: HashMap<FileId, File>,
    /// Those in `held`, by the time of opening.
    order: VecDeque<FileId>,
}

impl Opened {
    /// Opens the regular file at `path` and holds it open.
    pub(crate) fn open(&mut self, path: &Path) -> Option<FileId> {
        let id = id(&fs::metadata(path).ok().filter(Metadata::is_file)?);
        if !self.held.contains_key(&id) {
            let (opened, file) = open_regular(path)?;
            self.names.insert(opened, path.to_owned());
            self.hold(opened, file);
            return Some(opened);
        }
        Some(id)
    }

    /// A path under which the file can be opened. The next file may close it.
    pub(crate) fn path(&mut self, file: FileId) -> Option<PathBuf> {
        if !self.held.contains_key(&file) {
            let (found, opened) = open_regular(self.names.get(&file)?)?;
            if found != file {
                return None;
            }
            self.hold(file, opened);
        }
        let descriptor = self.held.get(&file)?.as_raw_fd();
        Some(PathBuf::from(format!("/proc/self/fd/{descriptor}")))
    }

    fn hold(&mut self, id: FileId, file: File) {
        if self.held.insert(id, file).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > HELD
            && let Some(oldest) = self.order.pop_front()
        {
            self.held.remove(&oldest);
        }
    }
}

/// A FIFO or a device would block, or worse: it is not opened, and the one
/// that takes the file's place in that instant does not block.
fn open_regular(path: &Path) -> Option<(FileId, File)> {
    fs::metadata(path).ok().filter(Metadata::is_file)?;
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let metadata = file.metadata().ok().filter(Metadata::is_file)?;
    Some((id(&metadata), file))
}

fn id(metadata: &Metadata) -> FileId {
    FileId { device: metadata.dev(), inode: metadata.ino() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(opened: &mut Opened, file: FileId) -> Option<String> {
        opened.path(file).map(|path| fs::read_to_string(path).unwrap())
    }

    #[test]
    fn a_file_outlives_its_name_and_is_not_taken_for_the_next_of_that_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut opened = Opened::default();
        fs::write(&path, "first").unwrap();
        let first = opened.open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(contents(&mut opened, first).as_deref(), Some("first"));
        fs::write(&path, "second").unwrap();
        let second = opened.open(&path).unwrap();
        assert_eq!(contents(&mut opened, first).as_deref(), Some("first"));
        assert_eq!(contents(&mut opened, second).as_deref(), Some("second"));
    }

    #[test]
    fn of_too_many_the_oldest_are_closed_and_opened_again_when_they_are_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let mut opened = Opened::default();
        let mut file = |number: usize| {
            let path = directory.path().join(number.to_string());
            fs::write(&path, number.to_string()).unwrap();
            opened.open(&path).unwrap()
        };
        let files: Vec<FileId> = (0..HELD + 2).map(&mut file).collect();
        assert_eq!((opened.held.len(), opened.order.len()), (HELD, HELD));
        fs::remove_file(directory.path().join("0")).unwrap();
        assert_eq!(contents(&mut opened, files[0]), None, "only its name was left");
        for (number, file) in files.iter().enumerate().skip(1) {
            assert_eq!(contents(&mut opened, *file), Some(number.to_string()));
            assert!(opened.held.len() <= HELD);
        }
    }
}
