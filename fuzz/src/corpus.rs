//! Known inputs: those made in code, and the files under `corpus/<target>`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::targets::Target;

/// Every known input of `target`.
pub(crate) fn load(target: &Target) -> Result<Vec<Vec<u8>>> {
    let mut corpus = (target.seeds)();
    let folder = folder(target);
    if folder.is_dir() {
        let mut paths = fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()?;
        paths.sort();
        for path in paths {
            corpus.push(fs::read(path)?);
        }
    }
    if corpus.is_empty() {
        bail!("{}: no known inputs", target.name);
    }
    Ok(corpus)
}

/// Where the known inputs of `target` are kept.
pub(crate) fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::TARGETS;

    #[test]
    fn every_target_takes_every_input_known_to_it() {
        for target in TARGETS {
            for input in load(target).unwrap() {
                (target.feed)(&input);
            }
        }
    }

    #[test]
    fn every_folder_belongs_to_a_target() {
        let Ok(entries) = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")) else {
            return;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            assert!(TARGETS.iter().any(|target| folder(target) == path), "{}", path.display());
        }
    }
}
