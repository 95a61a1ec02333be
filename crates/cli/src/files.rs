//! The one place that creates files.
//!
//! Every file is readable by its owner alone, gets its name when it is whole,
//! and replaces another only when that was asked for. No link is followed. The
//! recording alone is written in place, from its header on, so that a killed
//! recorder leaves what it had.

mod draft;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};

pub(crate) use draft::Draft;

/// Read and write for the owner, nothing for others.
const PRIVATE: u32 = 0o600;
/// A name of a process is at most 15 bytes; this leaves room for others.
const LONGEST_NAME: usize = 40;

/// What to do where a file is already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Fail.
    Keep,
    /// Put the new one in its place.
    Replace,
}

/// Makes sure that `path` can be written later.
///
/// # Errors
/// When it is taken or its folder cannot be written; says what to do.
pub(crate) fn check(path: &Path, existing: Existing) -> anyhow::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() && !found.is_symlink() => {
            bail!("cannot write {}: it is not a regular file", path.display())
        }
        Ok(_) if existing == Existing::Keep => {
            bail!("{} exists\nuse --force to replace it", path.display())
        }
        _ => check_folder(folder(path)),
    }
}

/// Makes sure that files can be created in `folder`.
///
/// # Errors
/// When they cannot.
pub(crate) fn check_folder(folder: &Path) -> anyhow::Result<()> {
    new_draft(folder).map(drop)
}

/// Writes the file `path` with what `render` gives.
///
/// # Errors
/// When it cannot be written; then nothing is there.
pub(crate) fn write(
    path: &Path,
    existing: Existing,
    render: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    let whole = || -> io::Result<()> {
        let draft = Draft::in_folder(folder(path))?;
        let mut file = BufWriter::new(draft.file());
        render(&mut file)?;
        file.flush()?;
        drop(file);
        draft.publish(path, existing).map(drop)
    };
    whole().with_context(|| format!("cannot write {}", path.display()))
}

/// A file for a recording: at `path` in the end, or nowhere.
///
/// # Errors
/// When it cannot be written; says what to do.
pub(crate) fn draft_recording(path: Option<&Path>) -> anyhow::Result<Draft> {
    match path {
        Some(path) => new_draft(folder(path)),
        None => Draft::nowhere().context("cannot create a temporary file for the recording"),
    }
}

/// Gives a recording its name.
///
/// # Errors
/// When it is taken, and to be kept.
pub(crate) fn publish_recording(
    draft: Draft,
    path: &Path,
    existing: Existing,
) -> anyhow::Result<File> {
    check(path, existing)?;
    draft.publish(path, existing).with_context(|| format!("cannot create {}", path.display()))
}

fn new_draft(folder: &Path) -> anyhow::Result<Draft> {
    Draft::in_folder(folder).map_err(|error| {
        let folder = folder.display();
        anyhow!("cannot write in the folder {folder}: {error}\nuse -o to choose another")
    })
}

/// A path in `folder`, without extension, that is free for each of `extensions`:
/// `whyslow-<name>-<pid>-<UTC time>`.
#[must_use]
pub(crate) fn free_stem(
    folder: &Path,
    name: &str,
    pid: u32,
    start_unix_ns: i64,
    extensions: &[&str],
) -> PathBuf {
    let start = jiff::Timestamp::from_nanosecond(start_unix_ns.into()).unwrap_or_default();
    let stem = format!("whyslow-{}-{pid}-{}", harmless(name), start.strftime("%Y%m%dT%H%M%SZ"));
    let is_free = |stem: &String| {
        extensions.iter().all(|extension| {
            fs::symlink_metadata(folder.join(format!("{stem}.{extension}"))).is_err()
        })
    };
    let numbered = (2..).map(|n: u64| format!("{stem}-{n}"));
    let free = [stem.clone()].into_iter().chain(numbered).find(is_free);
    folder.join(free.unwrap_or(stem))
}

/// `name` without what has a meaning to a shell or a file system.
fn harmless(name: &str) -> String {
    let safe: String = name
        .chars()
        .take(LONGEST_NAME)
        .map(|c| if c.is_alphanumeric() || matches!(c, '_' | '.' | '+') { c } else { '_' })
        .collect();
    if safe.is_empty() { "unnamed".into() } else { safe }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::tempdir;

    use super::*;

    fn put(path: &Path, existing: Existing, text: &str) -> anyhow::Result<()> {
        write(path, existing, |out| out.write_all(text.as_bytes()))
    }

    #[test]
    fn a_file_is_private_and_not_replaced_unless_asked() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("x.svg");
        put(&path, Existing::Keep, "one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert!(put(&path, Existing::Keep, "two").is_err());
        assert!(check(&path, Existing::Keep).unwrap_err().to_string().contains("--force"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        put(&path, Existing::Replace, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    }

    #[test]
    fn a_failed_render_leaves_nothing() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("x.svg");
        let failed = write(&path, Existing::Keep, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("no"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_is_replaced_and_never_followed() {
        let folder = tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link.whyslow"));
        fs::write(&target, "precious").unwrap();
        symlink(&target, &link).unwrap();
        let publish = |existing| {
            let draft = draft_recording(Some(&link)).unwrap();
            draft.file().write_all(b"new").unwrap();
            publish_recording(draft, &link, existing)
        };
        assert!(publish(Existing::Keep).is_err());
        publish(Existing::Replace).unwrap();
        assert_eq!(fs::read_to_string(&link).unwrap(), "new");
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        assert!(!fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn devices_and_folders_are_refused_even_by_force() {
        assert!(check(Path::new("/dev/null"), Existing::Replace).is_err());
        let null = Path::new("/dev/null");
        assert!(publish_recording(Draft::nowhere().unwrap(), null, Existing::Replace).is_err());
        let folder = tempdir().unwrap();
        assert!(check(folder.path(), Existing::Replace).is_err());
    }

    #[test]
    fn a_missing_folder_is_noticed_before() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("none/x.svg");
        let error = check(&path, Existing::Keep).unwrap_err();
        let message = format!("{error:#}");
        let (what, remedy) = message.split_once('\n').unwrap();
        assert!(what.contains("none: No such file or directory (os error 2)"), "{what}");
        assert!(remedy.starts_with("use -o"), "{remedy}");
    }

    #[test]
    fn default_names_say_what_and_when_and_are_free() {
        let folder = tempdir().unwrap();
        let stem = || {
            let path = free_stem(
                folder.path(),
                "my/app;x",
                7,
                1_795_446_335 * 1_000_000_000,
                &["svg", "whyslow"],
            );
            path.strip_prefix(folder.path()).unwrap().display().to_string()
        };
        assert_eq!(stem(), "whyslow-my_app_x-7-20261123T150535Z");
        fs::write(folder.path().join(stem() + ".whyslow"), "").unwrap();
        assert_eq!(stem(), "whyslow-my_app_x-7-20261123T150535Z-2");
        assert_eq!(harmless(""), "unnamed");
    }
}
