//! Rules for every text file: nothing of the machine it was written on.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::run::root;

/// A text file of the repository.
pub(super) struct File {
    /// Relative to the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

/// Paths that exist on one developer's machine only. Split, so that this file passes.
const MACHINE_PATHS: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/tmp/tar", "get"),
];

/// Every text file, `target` and hidden version control left out.
pub(super) fn all() -> Result<Vec<File>> {
    let mut files = Vec::new();
    walk(root(), &mut files)?;
    Ok(files)
}

fn walk(folder: &Path, files: &mut Vec<File>) -> Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        // In a worktree `.git` is a file.
        if matches!(entry.file_name().to_str(), Some("target" | ".git" | "__pycache__")) {
            continue;
        }
        if kind.is_dir() {
            walk(&path, files)?;
        } else if kind.is_file() {
            let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
            let relative = path.strip_prefix(root()).expect("the walk starts at the root");
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(File { path: relative.to_string_lossy().into_owned(), text });
            }
        }
    }
    Ok(())
}

/// What in `file` breaks the rules.
pub(super) fn check(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        for path in MACHINE_PATHS.iter().filter(|path| starts_a_path(line, path)) {
            found.push(format!("{}:{number}: machine path {path}", file.path));
        }
        if file.path == "Cargo.lock" && line.starts_with("source = ") && !is_public(line) {
            found.push(format!("{}:{number}: not from crates.io", file.path));
        }
    }
    found
}

/// Whether `path` stands in `line` as the beginning of a path: `/proc/1/root/` has another.
fn starts_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before
            .is_some_and(|c| c.is_alphanumeric() || matches!(c, '/' | '}' | '.' | '_' | '>' | ']'))
    })
}

fn is_public(source: &str) -> bool {
    source == r#"source = "registry+https://github.com/rust-lang/crates.io-index""#
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_inside_another_is_not_the_machine_s() {
        assert!(starts_a_path("open(\"/srv/x\")", "/srv/"));
        assert!(starts_a_path("/srv/x", "/srv/"));
        assert!(!starts_a_path("/proc/{pid}/srv/x", "/srv/"));
    }

    #[test]
    fn only_the_public_registry_passes() {
        let lock = |source: &str| File {
            path: "Cargo.lock".into(),
            text: format!("source = \"{source}\"\n"),
        };
        assert_eq!(check(&lock("registry+https://example.org/index")).len(), 1);
        assert!(check(&lock("registry+https://github.com/rust-lang/crates.io-index")).is_empty());
    }
}
