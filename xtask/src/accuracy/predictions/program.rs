//! The programs of `fixtures/predictions/manifest.toml`, and running them.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{run, workloads::Programs};

/// One program; the manifest explains the fields.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Program {
    pub(super) id: String,
    pub(super) about: String,
    file: PathBuf,
    #[serde(default = "sequential")]
    pub(super) now: String,
    pub(super) workers: u32,
    pub(super) server: Option<u32>,
    #[serde(default)]
    pub(super) data: bool,
    pub(super) shows: Option<String>,
    #[serde(default = "every_model")]
    pub(super) models: Vec<String>,
}

fn sequential() -> String {
    "sequential".to_owned()
}

fn every_model() -> Vec<String> {
    ["threads", "asyncio", "multiprocessing"].map(str::to_owned).to_vec()
}

#[derive(Deserialize)]
struct Manifest {
    program: Vec<Program>,
}

/// All of them, in the order of the manifest.
pub(super) fn all() -> Result<Vec<Program>> {
    let path = folder().join("manifest.toml");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let manifest: Manifest = toml::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(manifest.program)
}

fn folder() -> PathBuf {
    run::root().join("fixtures/predictions")
}

/// A program and what it needs around it.
pub(super) struct Running<'a> {
    pub(super) programs: &'a Programs,
    pub(super) program: &'a Program,
    pub(super) variables: Vec<(&'static str, String)>,
}

impl Running<'_> {
    /// Runs it to its end, behind the words of `prefix`.
    pub(super) fn command(
        &self,
        prefix: &[PathBuf],
        model: &str,
        workers: u32,
    ) -> Result<ExitStatus> {
        let mut words = prefix.to_vec();
        let program = self.programs.command(&folder().join(&self.program.file))?;
        words.extend(program.into_iter().map(PathBuf::from));
        words.extend([model.into(), workers.to_string().into()]);
        let (first, rest) = words.split_first().context("no command")?;
        let mut command = Command::new(first);
        command.args(rest).stdin(Stdio::null()).stdout(Stdio::null());
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        command.status().with_context(|| format!("cannot start {words:?}"))
    }
}

/// `server.py`; it runs until it is dropped.
pub(super) struct Server {
    child: Child,
    pub(super) port: String,
}

impl Server {
    pub(super) fn start(programs: &Programs, delay: u32) -> Result<Self> {
        let words = programs.command(Path::new(&folder().join("server.py")))?;
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .arg(delay.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {words:?}"))?;
        let output = child.stdout.take().expect("standard output is piped");
        let mut server = Self { child, port: String::new() };
        let read = BufReader::new(output).read_line(&mut server.port)?;
        ensure!(read > 0, "the server did not get ready");
        server.port.truncate(server.port.trim_end().len());
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_names_programs_that_exist() {
        let all = all().unwrap();
        assert!(all.len() >= 8, "{}", all.len());
        assert!(all.iter().all(|program| folder().join(&program.file).is_file()));
    }
}
