//! A file that has no name yet. Whoever is killed before it gets one leaves
//! nothing behind.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::linkat;
use tempfile::{NamedTempFile, TempPath};

use super::{Existing, PRIVATE, folder};

/// A file on its way to its place.
#[derive(Debug)]
pub(crate) struct Draft {
    file: File,
    /// Its name for now, where the file system has no files without one.
    hidden: Option<TempPath>,
}

impl Draft {
    /// Makes one that can get a name in `folder`.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub(crate) fn in_folder(folder: &Path) -> io::Result<Self> {
        let nameless = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(PRIVATE)
            .custom_flags(OFlag::O_TMPFILE.bits())
            .open(folder);
        match nameless {
            // Without `/proc` it could not get a name.
            Ok(file) if open_file(&file).exists() => Ok(Draft { file, hidden: None }),
            Err(error) if !has_no_nameless_files(&error) || !folder.is_dir() => Err(error),
            _ => {
                let (file, path) = names().tempfile_in(folder)?.into_parts();
                Ok(Draft { file, hidden: Some(path) })
            }
        }
    }

    /// Makes one that never gets a name. Where no file can be written, memory
    /// has to do.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(crate) fn nowhere() -> io::Result<Self> {
        let in_memory = || io::Result::Ok(memfd_create("whyslow", MFdFlags::MFD_CLOEXEC)?.into());
        let file = tempfile::tempfile().or_else(|_: io::Error| in_memory())?;
        Ok(Draft { file, hidden: None })
    }

    /// What to write to.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// When that is taken and to be kept, or the folder is gone.
    pub(crate) fn publish(self, path: &Path, existing: Existing) -> io::Result<File> {
        match (self.hidden, existing) {
            (Some(hidden), Existing::Keep) => hidden.persist_noclobber(path)?,
            (Some(hidden), Existing::Replace) => hidden.persist(path)?,
            (None, Existing::Keep) => link(&self.file, path)?,
            (None, Existing::Replace) => {
                // What is there is replaced in one step, or stays.
                let linked: NamedTempFile<()> =
                    names().make_in(folder(path), |path| link(&self.file, path))?;
                linked.persist(path)?;
            }
        }
        Ok(self.file)
    }
}

fn names() -> tempfile::Builder<'static, 'static> {
    let mut names = tempfile::Builder::new();
    names.prefix(".whyslow-");
    names
}

/// What file systems say that cannot have a file without a name, and old kernels.
fn has_no_nameless_files(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::ENOENT))
}

fn link(file: &File, path: &Path) -> io::Result<()> {
    // By number: only the privileged may link a descriptor itself.
    linkat(AT_FDCWD, &open_file(file), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)?;
    Ok(())
}

fn open_file(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
