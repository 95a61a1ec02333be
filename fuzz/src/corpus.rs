//! Known inputs: those made in code, and the files under `corpus/<target>`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::Target;

/// Every known input of `target`.
///
/// # Errors
/// When the folder cannot be read, or there is no input at all.
pub fn load(target: &Target) -> Result<Vec<Vec<u8>>> {
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

/// Writes the inputs of `target` that are made in code into `folder`.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_seeds(target: &Target, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        fs::write(folder.join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}

/// Where the known inputs of `target` are kept.
#[must_use]
pub fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TARGETS;

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
