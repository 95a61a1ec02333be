//! A program that is not part of the workload: a server, a feeder, a neighbour.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::workloads::Programs;

/// Runs until it is dropped.
pub(super) struct Foreign {
    child: Child,
    /// Where the workload finds it.
    pub(super) address: String,
    _folder: TempDir,
}

impl Foreign {
    /// Starts `foreign.py kind` behind the words of `prefix`, and waits until it is ready.
    pub(super) fn start(programs: &Programs, prefix: &[String], kind: &str) -> Result<Self> {
        let mut words = prefix.to_vec();
        words.extend(programs.command(Path::new("foreign.py"))?);
        words.push(kind.to_owned());
        let folder = tempfile::tempdir()?;
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .env("TMPDIR", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {words:?}"))?;
        let output = child.stdout.take().expect("standard output is piped");
        let mut foreign = Self { child, address: String::new(), _folder: folder };
        let read = BufReader::new(output).read_line(&mut foreign.address)?;
        ensure!(read > 0, "{words:?} did not get ready");
        foreign.address.truncate(foreign.address.trim_end().len());
        Ok(foreign)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // Its standard input ends with it; a signal is for the one that is too busy to see.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
