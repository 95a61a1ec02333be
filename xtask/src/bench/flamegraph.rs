//! The commands that make a flamegraph of a finished recording.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::run::{cargo, check, root};

/// What inferno reads, without what `sched_switch` says beside the stack.
const PERF_FIELDS: &str = "comm,pid,tid,time,event,ip,sym,dso";

/// The programs that read recordings, and the picture they make.
pub(super) struct Flamegraph<'a> {
    whyslow: &'a Path,
    inferno: PathBuf,
    svg: PathBuf,
}

impl<'a> Flamegraph<'a> {
    /// With inferno, which is built the first time.
    pub(super) fn new(whyslow: &'a Path, folder: &Path) -> Result<Flamegraph<'a>> {
        Ok(Flamegraph { whyslow, inferno: inferno(folder)?, svg: folder.join("bench.svg") })
    }

    /// From a recording of ours.
    pub(super) fn of_whyslow(&self, recording: &Path) -> Vec<String> {
        [self.whyslow, Path::new("report"), recording, Path::new("-q")]
            .into_iter()
            .chain([Path::new("--force"), Path::new("-o"), &self.svg])
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    }

    /// From one of `perf record`.
    pub(super) fn of_perf(&self, recording: &Path) -> Vec<String> {
        let pipeline = format!(
            "perf script -F {PERF_FIELDS} -i '{}' | '{}' | '{}' > '{}'",
            recording.display(),
            self.inferno.join("inferno-collapse-perf").display(),
            self.inferno.join("inferno-flamegraph").display(),
            self.svg.display(),
        );
        vec!["sh".into(), "-c".into(), pipeline]
    }
}

/// Where inferno's programs are; builds them the first time, in the version that
/// `Cargo.lock` names for us.
fn inferno(folder: &Path) -> Result<PathBuf> {
    let tools = folder.join("tools");
    let programs = tools.join("bin");
    if !programs.join("inferno-flamegraph").is_file() {
        let version = locked_version("inferno")?;
        let mut install = cargo(&format!("install inferno --version ={version} --locked"));
        install.arg("--root").arg(&tools);
        check(install)?;
    }
    Ok(programs)
}

fn locked_version(package: &str) -> Result<String> {
    let metadata = cargo_metadata::MetadataCommand::new().current_dir(root()).exec()?;
    let found = metadata.packages.iter().find(|found| found.name.as_str() == package);
    Ok(found.with_context(|| format!("{package} is not in Cargo.lock"))?.version.to_string())
}
