//! The labelled suite: what `fixtures/workloads/manifest.toml` says, and how to
//! get a workload ready to run. What is measured on them lives elsewhere.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::run;

/// How whyslow meets a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// It starts it.
    Launch,
    /// It finds it running.
    Attach,
}

impl Mode {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Mode::Launch => "launch",
            Mode::Attach => "attach",
        }
    }
}

/// One workload; the manifest explains the fields.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Workload {
    pub(crate) id: String,
    pub(crate) about: String,
    pub(crate) file: PathBuf,
    #[serde(default = "only_seconds")]
    pub(crate) args: Vec<String>,
    pub(crate) foreign: Option<String>,
    pub(crate) class: String,
    pub(crate) cause: String,
    #[serde(default)]
    pub(crate) pin: bool,
    #[serde(default)]
    pub(crate) beside: u32,
    pub(crate) quota: Option<f64>,
    #[serde(default = "both_modes")]
    pub(crate) modes: Vec<Mode>,
    #[serde(default = "yes")]
    pub(crate) shares: bool,
    pub(crate) remainder: Option<String>,
}

fn only_seconds() -> Vec<String> {
    vec!["{seconds}".into()]
}

fn both_modes() -> Vec<Mode> {
    vec![Mode::Launch, Mode::Attach]
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct Manifest {
    workload: Vec<Workload>,
}

/// Every workload, in the order of the manifest.
pub(crate) fn all() -> Result<Vec<Workload>> {
    let path = folder().join("manifest.toml");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let manifest: Manifest = toml::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(manifest.workload)
}

/// Where the workloads are.
pub(crate) fn folder() -> PathBuf {
    run::root().join("fixtures/workloads")
}

/// Turns a workload's file into the words that start it.
#[derive(Clone)]
pub(crate) struct Programs {
    binaries: PathBuf,
    python: String,
}

impl Programs {
    /// Compiled programs go under `cache`.
    pub(crate) fn new(cache: &Path) -> Result<Self> {
        fs::create_dir_all(cache)?;
        Ok(Self { binaries: cache.to_owned(), python: interpreter()? })
    }

    /// The command without the arguments; compiles the program where it has to.
    pub(crate) fn command(&self, file: &Path) -> Result<Vec<String>> {
        let source = folder().join(file);
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("py") => Ok(vec![self.python.clone(), text(&source)]),
            Some("c") => {
                let binary = self.binaries.join(file.with_extension(""));
                compile(&source, &binary)?;
                Ok(vec![text(&binary)])
            }
            _ => bail!("{}: neither C nor Python", source.display()),
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The interpreter itself: `python3` can be a script that looks for it.
fn interpreter() -> Result<String> {
    let output = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .context("cannot start python3")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn compile(source: &Path, binary: &Path) -> Result<()> {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let newest = modified(source).max(modified(&folder().join("truth.h")));
    if modified(binary) > newest {
        return Ok(());
    }
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu11", "-O2", "-g", "-pthread", "-Wall", "-Wextra", "-Wno-unused-function"]);
    cc.arg("-o").arg(binary).arg(source);
    run::check(cc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_names_files_that_exist_and_each_id_once() {
        let mut ids = Vec::new();
        for workload in all().unwrap() {
            assert!(folder().join(&workload.file).is_file(), "{:?}", workload.file);
            ids.push(workload.id);
        }
        assert!(ids.len() >= 24, "{}", ids.len());
        ids.sort();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }
}
